"""One case: what `latentedit.keep` makes of it, what others make of it, and how far each is from the truth."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit_bench.known_pairs.baselines import (
    THRESHOLDS,
    above_threshold,
    aligned_by_features,
    pasted,
    pasted_by_poisson,
    resized,
)
from latentedit_bench.known_pairs.cases import VERDICTS, Case
from latentedit_bench.known_pairs.photographs import Pixels
from latentedit_keep.api import KeepResult, keep
from latentedit_keep.composite import composite, levels
from latentedit_keep.registration import distance_px
from latentedit_keep.sharpness import fit_sharpening
from latentedit_keep.tones import fit_tones
from latentedit_keep.warp import cv2, depth_inside, scaling, warped

FAR_PX = 12
"""From the change on, pixels should be the original's bit for bit."""

MOST_DB = 99.0
"""Stands for pictures that are the same."""

Row = dict[str, str | int | float | None]


def measured(case: Case) -> Row:
    """The row of one case; what makes no sense for its kind is None."""
    found = keep(Image.fromarray(case.original), Image.fromarray(case.edited))
    row: Row = {
        "case": case.index,
        "kind": case.kind,
        "what": case.what,
        "picture": case.picture,
        "side": max(case.original.shape[:2]),
        "codec": "" if case.damage is None else case.damage.codec,
        "area": float(case.mask.mean()),
        "verdict": found.verdict,
        "right": int(found.verdict == VERDICTS[case.kind]),
        "shift_error_px": None,
        "uncertainty_px": found.uncertainty_px,
    }
    if case.damage is not None:
        size, edited = case.original.shape[1::-1], case.edited.shape[1::-1]
        back = scaling(edited, size)
        row["shift_error_px"] = distance_px(back @ found.matrix, back @ case.damage.matrix, size)
    if case.kind in ("local", "unchanged", "reframed"):
        row |= _outside(case, np.asarray(found.image), "keep") | _outside(case, _raw(case), "editor")
    if case.kind == "local":
        row |= _inside(case, found)
    return row


def psnr(picture: NDArray[Any], truth: NDArray[Any], where: NDArray[np.bool_]) -> float | None:
    """Agreement in dB, at most 99; None where there is no such pixel."""
    if not where.any():
        return None
    error = float(np.mean((picture[where].astype(np.float64) - truth[where]) ** 2))
    return MOST_DB if error == 0 else min(MOST_DB, 10 * math.log10(255**2 / error))


def soft_iou(mask: NDArray[Any], truth: NDArray[Any]) -> float:
    """Sum of the smaller over sum of the larger of two soft masks; 1 where both are empty."""
    larger = float(np.maximum(mask, truth).sum())
    return 1.0 if larger == 0 else float(np.minimum(mask, truth).sum()) / larger


def _raw(case: Case) -> Pixels:
    return resized(case.edited, (case.original.shape[1], case.original.shape[0]))


def _outside(case: Case, result: Pixels, name: str) -> Row:
    """Agreement where nothing was changed, and pixels far from the change that are not the original's."""
    far = cv2.distanceTransform((case.mask <= 0).astype(np.uint8), cv2.DIST_L2, 5) > FAR_PX
    if not (case.mask > 0).any():
        far = np.ones(case.mask.shape, dtype=bool)
    touched = (result != case.original).any(axis=2)
    return {
        f"{name}_outside_db": psnr(result, case.truth, case.mask == 0),
        f"{name}_far_touched": int((touched & far).sum()),
    }


def _inside(case: Case, found: KeepResult) -> Row:
    """Masks and agreement inside the change, of ours, of the bound and of the baselines."""
    assert case.damage is not None
    size = case.original.shape[1::-1]
    shown = _shown(case)
    inside = (case.mask > 0.5) & shown
    mask = np.asarray(found.mask) / np.float32(255)
    row: Row = {
        "shown": float(case.mask[shown].sum() / case.mask.sum()),
        "keep_iou": soft_iou(mask[shown], case.mask[shown]),
        "keep_inside_db": psnr(np.asarray(found.image), case.truth, inside),
    }
    row |= {"editor_inside_db": psnr(_raw(case), case.truth, inside)}
    edited, original = levels(case.edited), levels(case.original)
    aligned = np.rint(warped(edited, found.matrix, size)).clip(0, 255).astype(np.uint8)
    row["aligned_inside_db"] = psnr(aligned, case.truth, inside)
    disc = np.ones((9, 9), np.uint8)
    unchanged = cv2.dilate((case.mask > 0).astype(np.uint8), disc) == 0
    there = warped(edited, case.damage.matrix, size)
    tones = fit_tones(original, there, unchanged)
    sharpening = fit_sharpening(tones.limited(original), tones.apply(there), unchanged)
    matrix = case.damage.matrix
    bound = composite(case.original, case.edited, case.mask, matrix=matrix, tones=tones, sharpening=sharpening)
    row["bound_inside_db"] = psnr(bound, case.truth, inside)
    row |= _of(case, pasted_by_poisson(case.original, _raw(case), case.mask), case.mask, "poisson")
    for name, moving in (("threshold", _raw(case)), ("sift", aligned_by_features(case.original, case.edited))):
        for threshold in THRESHOLDS:
            guess = above_threshold(case.original, moving, threshold)
            row |= _of(case, pasted(case.original, moving, guess), guess, f"{name}{threshold}")
    return row


def _shown(case: Case) -> NDArray[np.bool_]:
    """What of the original's frame the editor's picture shows; what it pushed out cannot come back."""
    assert case.damage is not None
    return depth_inside(case.damage.matrix, case.original.shape[1::-1], case.edited.shape[1::-1]) >= 0


def _of(case: Case, result: Pixels, mask: NDArray[Any], name: str) -> Row:
    shown = _shown(case)
    return {
        f"{name}_iou": soft_iou(mask[shown], case.mask[shown]),
        f"{name}_inside_db": psnr(result, case.truth, (case.mask > 0.5) & shown),
        f"{name}_outside_db": psnr(result, case.truth, case.mask == 0),
    }
