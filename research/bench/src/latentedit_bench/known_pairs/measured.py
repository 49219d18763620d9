"""`latentedit.keep` and its alternatives on known pairs: distances to the truth."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit import KeepResult, check, keep
from latentedit.batch import UnitResult
from latentedit.core import ConfigError
from latentedit.photo import depth_inside, levels, resized, scaling, warped
from latentedit.pixels import LOCAL, composited, difference, distance_px, fit_sharpening, fit_tones
from latentedit_bench.known_pairs.baselines import baseline
from latentedit_bench.known_pairs.cases import DRAWN, FOUND, SEEDS, Case, Half, Plane, make_case
from latentedit_bench.known_pairs.damages import Damage, Pixels, as_pixels
from latentedit_bench.known_pairs.opencv import cv2
from latentedit_bench.metrics.statistics import Table, over_groups
from latentedit_bench.work import UnitWork

Row = dict[str, Any]

THRESHOLDS = {"threshold": 50, "sift": 25}
"""Levels of 255 from which a baseline treats a pixel as changed: the best of 12, 25 and 50 on calibration cases."""

_FAR_PX = 12  # beyond this distance from the change, pixels should be the original's, bit for bit
_MOST_DB = 99.0  # value for identical images


def _row(half: Half, index: int) -> Row:
    return measured_pairs(make_case(half, index))


def case_work(split: str, count: int, *, seeds: Mapping[Any, int] = SEEDS, row: Callable[..., Row] = _row) -> UnitWork:
    """The first cases of a half as work."""
    if split not in seeds:
        raise ConfigError(f"--split must be calibration or test; got {split!r}")
    if count < 1:
        raise ConfigError(f"--count must be 1 or more; got {count}")
    spec, tasks = {"split": split, "seed": seeds[split]}, {f"{index:04d}": index for index in range(count)}
    return UnitWork(spec=spec, tasks=tasks, measure=functools.partial(_unit, row, split))


def _unit(row: Callable[..., Row], half: str, index: int) -> UnitResult:
    return UnitResult(rows=[row(half, index)])


def measured_pairs(case: Case) -> Row:
    """The row of one case, with the columns that apply to its kind."""
    found = keep(Image.fromarray(case.original), Image.fromarray(case.edited))
    size = case.original.shape[1::-1]
    row: Row = {
        "case": case.index, "kind": case.kind, "what": case.what, "image": case.image, "side": max(size),
        "codec": "" if case.damage is None else case.damage.codec, "found": found.found,
        "right": int(is_expected(case.kind, found)), "contradictions": contradictions(found),
    }  # fmt: skip
    if case.damage is not None:
        back = scaling(case.edited.shape[1::-1], size)
        row["shift_error_px"] = distance_px(back @ found.matrix, back @ case.damage.matrix, size)
    if case.kind in ("local", "unchanged", "reframed"):
        result = np.asarray(found.image)
        row["keep_far_touched"] = far_touched(result, case.original, case.mask)
        for name, pixels in (("keep", result), ("editor", resized(case.edited, size))):
            row[f"{name}_outside_db"] = psnr(pixels, case.truth, case.mask == 0)
    return row | _of_local(case, case.damage, found) if case.kind == "local" and case.damage is not None else row


def is_expected(kind: str, kept: KeepResult) -> bool:
    """Whether both verdicts, on content and colors, are those of a kind of case."""
    return kind == "global" if kept.recolored else kept.found in FOUND[kind]


def contradictions(kept: KeepResult) -> list[str]:
    """In what `keep` and `check` disagree on a pair, and `check` on the result of `keep` with what was kept."""
    report, result = check(kept=kept).report, check(kept.original, kept.kept)
    differs = difference(kept.original.pixels, kept.kept.pixels) > 0
    whole = kept.analysis.is_global
    wrong = {
        "regions": not {one.box for one in report.regions} <= {one.box for one in kept.changes},
        "pixels": not whole and bool((result.changed != differs).any()),
        "rest": not whole and result.report.rest == "differs",
        "next step": result.report.next_step_code == "keep",
    }
    return [name for name, holds in wrong.items() if holds]


def far_touched(result: Pixels, original: Pixels, mask: Plane) -> int:
    """Number of changed pixels that are more than 12 px away from the change; all are if there is none."""
    far = cv2.distanceTransform((mask <= 0).astype(np.uint8), cv2.DIST_L2, 5) > _FAR_PX
    return int(((result != original).any(axis=2) & (far | (not (mask > 0).any()))).sum())


def _of_local(case: Case, damage: Damage, found: KeepResult) -> Row:
    """Agreement with the truth inside the change and masks: `keep`, its parts, the bound and the baselines.

    The bound has the true mask, the true frame and colors fitted on what truly did not change.
    """
    size, edited, original = case.original.shape[1::-1], levels(case.edited), levels(case.original)
    shown = depth_inside(damage.matrix, size, case.edited.shape[1::-1]) >= 0
    unchanged = cv2.dilate((case.mask > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    there = warped(edited, damage.matrix, size)
    tones = fit_tones(original, there, unchanged)
    sharpening = fit_sharpening(tones.limited(original), tones.apply(there), unchanged)
    images = {
        "keep": np.asarray(found.image),
        "editor": resized(case.edited, size),
        "aligned": as_pixels(warped(edited, found.matrix, size)),
        "bound": composited(
            case.original, case.edited, case.mask, matrix=damage.matrix, tones=tones, sharpening=sharpening
        ),
    }
    masks: dict[str, Plane] = {"keep": np.asarray(found.mask) / np.float32(255)}
    row: Row = {}
    for name, threshold in THRESHOLDS.items():
        images[name], masks[name] = baseline(name, case.original, case.edited, threshold)
        row[f"{name}_outside_db"] = psnr(images[name], case.truth, case.mask == 0)
    inside = (case.mask > 0.5) & shown
    row |= {f"{name}_inside_db": psnr(image, case.truth, inside) for name, image in images.items()}
    return row | {f"{name}_iou": soft_iou(mask[shown], case.mask[shown]) for name, mask in masks.items()}


def psnr(image: NDArray[Any], truth: NDArray[Any], where: NDArray[np.bool_]) -> float | None:
    """PSNR in dB, at most 99; None if no pixel is selected."""
    if not where.any():
        return None
    error = float(np.mean((image[where].astype(np.float64) - truth[where]) ** 2))
    return _MOST_DB if error == 0 else min(_MOST_DB, 10 * math.log10(255**2 / error))


def soft_iou(mask: NDArray[Any], truth: NDArray[Any]) -> float:
    """Sum of the minimum over sum of the maximum of two soft masks; 1 if both are empty."""
    larger = float(np.maximum(mask, truth).sum())
    return 1.0 if larger == 0 else float(np.minimum(mask, truth).sum()) / larger


def pair_summary(rows: Table) -> dict[str, Any]:
    """The report; intervals are over photographs, most of which are in many cases, and over portraits."""
    group = rows["image"].where(rows["image"] != DRAWN, rows["case"].astype(str))
    rows = rows.assign(group=group).set_index("group")
    local = rows[rows["kind"] == "local"]
    medians, against = local.select_dtypes("number").median().to_dict(), list[dict[str, Any]]()
    for method in ("keep", "editor", *THRESHOLDS, "bound"):
        known = {name: medians.get(f"{method}_{name}") for name in ("iou", "inside_db", "outside_db")}
        against.append({"method": method, **{name: value for name, value in known.items() if value is not None}})
    parts: dict[str, list[dict[str, Any]]] = {"what": [], "codec": []}
    for column, listed in parts.items():
        for value, some in local.groupby(column):
            below = (some["bound_inside_db"] - some["keep_inside_db"]).median()
            close, iou = (some["keep_iou"].dropna() >= 0.85).mean(), some["keep_iou"].median()
            found = {"iou": iou, "iou_at_least_85": close, "inside_below_bound_db": below}
            listed.append({column: value, "cases": len(some), **found})
    return {
        "cases": len(rows),
        "thresholds": _thresholds(rows, local),
        "against": against,
        "parts": parts,
        "worst": local.nsmallest(10, "keep_iou").to_dict("records"),
    }


def _thresholds(rows: Table, local: Table) -> list[dict[str, Any]]:
    """The share of the cases whose value is at least the required one, and the threshold of that share."""
    outside = local["keep_outside_db"] - local["editor_outside_db"]
    inside, frame, strangers = local["keep_inside_db"], -rows["shift_error_px"], rows[rows["kind"] == "different"]
    wanted = [
        ("outside at least 20 dB better than the editor's image", 0.95, outside, 20),
        ("nothing touched farther than 12 px from the change", 0.99, -rows["keep_far_touched"], 0),
        ("inside at most 1 dB below the bound (true mask, true frame)", 0.5, inside - local["bound_inside_db"], -1),
        ("inside no worse than the aligned image", 0.9, inside - local["aligned_inside_db"], 0),
        ("error of the frame at most 0.03 px", 0.5, frame, -0.03),
        ("error of the frame at most 0.2 px", 0.95, frame, -0.2),
        ("soft IoU of the mask at least 0.95", 0.5, local["keep_iou"], 0.95),
        ("soft IoU of the mask at least 0.85", 0.9, local["keep_iou"], 0.85),
        ("no contradiction between keep and check", 1.0, (rows["contradictions"].str.len() == 0).astype(float), 1),
        ("found as expected", 0.95, rows["right"], 1),
        ("nothing of different images kept", 1.0, (~strangers["found"].isin(LOCAL)).astype(float), 1),
    ]
    found: list[dict[str, Any]] = []
    for statement, threshold, values, least in wanted:
        known = values.dropna()
        share = over_groups(known >= least)
        ends = {"value": share.mean, "low": share.low, "high": share.high}
        verdict = {"threshold": threshold, "cases": len(known), "holds": share.mean >= threshold}
        found.append({"statement": statement, **ends, **verdict})
    return [one for one in found if one["cases"]]
