"""What people do today to keep a change, at equal effort, and one step of it with the change given.

Each takes the original and the editor's picture and gives the result at the original's size, with the mask it used.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentedit_bench.known_pairs.photographs import Pixels
from latentedit_keep.opencv import cv2

Mask = NDArray[np.floating[Any]]

THRESHOLDS = (12, 25, 50)
"""Levels of 255 from which on a pixel counts as changed; the best is chosen on the calibration half."""


def resized(edited: Pixels, size: tuple[int, int]) -> Pixels:
    """The editor's picture at the original's size, and nothing else."""
    shrinks = edited.shape[0] * edited.shape[1] > size[0] * size[1]
    return cv2.resize(edited, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def aligned_by_features(original: Pixels, edited: Pixels) -> Pixels:
    """ORB features, an affine map by RANSAC, and a warp, as node packs do it; only resized where that fails."""
    size = (original.shape[1], original.shape[0])
    moving, detector = resized(edited, size), cv2.ORB_create(4000)
    found = [detector.detectAndCompute(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), None) for one in (original, moving)]
    (points, words), (other_points, other_words) = found
    if words is None or other_words is None or min(len(words), len(other_words)) < 4:
        return moving
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(words, other_words)
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
    """Where two pictures of one size differ by more than a threshold, specks and gaps removed, the edge feathered."""
    difference = np.abs(original.astype(np.int16) - moving).max(axis=2)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    mask = cv2.morphologyEx((difference > threshold).astype(np.uint8), cv2.MORPH_OPEN, disc)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disc)
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)


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
