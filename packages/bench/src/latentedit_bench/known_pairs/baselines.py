"""What people do today to keep a change, at equal effort, and one step of it with the change given.

Each takes the original and the editor's picture and gives the result at the original's size, with the mask it used.
"""

import contextlib
import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentedit.core.errors import ConfigError
from latentedit_bench.known_pairs.photographs import Pixels
from latentedit_keep.warp import cv2

Mask = NDArray[np.floating[Any]]

_REACH = 0.006
"""Of the side: gaps that are closed, and how far the mask reaches beyond what differs."""

THRESHOLDS = (12, 25, 50)
"""Levels of 255 from which on a pixel counts as changed; the best is chosen on the calibration half."""


def resized(edited: Pixels, size: tuple[int, int]) -> Pixels:
    """The editor's picture at the original's size, and nothing else."""
    shrinks = edited.shape[0] * edited.shape[1] > size[0] * size[1]
    return cv2.resize(edited, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def aligned_by_features(original: Pixels, edited: Pixels) -> Pixels:
    """SIFT features, an affine map by RANSAC, and a warp, as node packs do it; only resized where that fails."""
    size = (original.shape[1], original.shape[0])
    moving, detector = resized(edited, size), cv2.SIFT_create(4000)
    found = [detector.detectAndCompute(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), None) for one in (original, moving)]
    (points, words), (other_points, other_words) = found
    if words is None or other_words is None or min(len(words), len(other_words)) < 4:
        return moving
    matches = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(words, other_words)
    if len(matches) < 4:
        return moving
    here = np.array([points[match.queryIdx].pt for match in matches], dtype=np.float32)
    there = np.array([other_points[match.trainIdx].pt for match in matches], dtype=np.float32)
    affine, _ = cv2.estimateAffine2D(here, there, method=cv2.RANSAC, ransacReprojThreshold=3)
    if affine is None:
        return moving
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(moving, affine, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def above_threshold(original: Pixels, moving: Pixels, threshold: int) -> Mask:
    """Where two smoothed pictures of one size differ by more than a threshold, specks and gaps removed, feathered."""
    smooth = [cv2.GaussianBlur(one, (0, 0), 1.0).astype(np.int16) for one in (original, moving)]
    radius = max(2, round(_REACH * min(original.shape[:2])))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    speck = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    mask = (np.abs(smooth[0] - smooth[1]).max(axis=2) > threshold).astype(np.uint8)
    mask = cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_OPEN, speck), cv2.MORPH_CLOSE, disc)
    return cv2.GaussianBlur(cv2.dilate(mask, disc).astype(np.float32), (0, 0), radius / 2)


def merged_by_node(file: Path, original: Pixels, moving: Pixels) -> Pixels:
    """What the ComfyUI node flux-kontext-diff-merge (MIT) makes with its defaults.

    Args:
        file: the node's module, from a clone of safzanpirani/flux-kontext-diff-merge.
        moving: the editor's picture at the original's size.

    Raises:
        ConfigError: there is no such node.
    """
    spec = importlib.util.spec_from_file_location("diff_merge", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ConfigError(f"there is no Python module {file}. Clone safzanpirani/flux-kontext-diff-merge")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    node = module.FluxKontextDiffMerge()
    defaults = {name: given[1]["default"] for name, given in node.INPUT_TYPES()["required"].items() if len(given) > 1}
    images = [torch.from_numpy(one.astype(np.float32) / 255)[None] for one in (original, moving)]
    with contextlib.redirect_stdout(io.StringIO()):  # it tells what it does
        merged, *_ = node.merge_diff(*images, **defaults)
    return np.rint(merged[0].numpy() * 255).astype(np.uint8)


def pasted(original: Pixels, moving: Pixels, mask: Mask) -> Pixels:
    """The moving picture where the mask is."""
    mixed = original + mask[..., None] * (moving.astype(np.float32) - original)
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def pasted_by_poisson(original: Pixels, moving: Pixels, mask: Mask) -> Pixels:
    """Gradients of the moving picture within a mask, solved for the original's colours around it."""
    inner = (mask > 0.5).astype(np.uint8)
    inner[:2], inner[-2:], inner[:, :2], inner[:, -2:] = 0, 0, 0, 0
    left, top, width, height = cv2.boundingRect(inner)
    if width < 3 or height < 3:
        return original
    middle = (left + width // 2, top + height // 2)
    return cv2.seamlessClone(moving, original, 255 * inner, middle, cv2.NORMAL_CLONE)
