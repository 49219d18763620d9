"""Transparency: changes of alpha, and opaque edits of transparent originals."""

import numpy as np
from numpy.typing import NDArray

from latentedit_keep.photo.color import Pixels
from latentedit_keep.photo.warp import Array, Mask, cv2, largest, touched

WHITE = np.full(3, 255.0, dtype=np.float32)
_SEEN = 24  # difference of 8-bit alpha from which on it changed
_FAINT = 6  # the same next to such a place, where a soft edge belongs to the change
_WINDOW = np.ones((3, 3), dtype=np.uint8)  # a shift by one pixel
_GROUND_LEVELS = 12.0  # within which a color is the ground's: codecs and casts move it
_ROUNDED = 1.0  # levels by which rounding changes a color that is laid on a ground
_REACH = np.ones((5, 5), dtype=np.uint8)  # of soft edges


def alpha_change(original: Array, edited: Array) -> Mask:
    """Where two planes of alpha in one frame differ by more than a shift of one pixel explains."""
    low, high = cv2.erode(original, _WINDOW), cv2.dilate(original, _WINDOW)
    sure = np.maximum(low - edited, edited - high) > _SEEN
    near = cv2.dilate(sure.astype(np.uint8), _REACH) > 0
    return near & (np.abs(original - edited) > _FAINT)


def ground_of(original: NDArray[np.uint8], edited: Array) -> tuple[Array, float]:
    """The color on which an opaque edit shows what is transparent in its original, and the share of that with it."""
    # It is white, black, or the most frequent color of the border. The original is its alpha; the edit has any size.
    clear = cv2.resize(original, edited.shape[1::-1], interpolation=cv2.INTER_NEAREST) == 0
    border = np.concatenate([edited[0], edited[-1], edited[:, 0], edited[:, -1]])
    cells, counts = np.unique(border // 8, axis=0, return_counts=True)
    usual = np.median(border[(border // 8 == cells[counts.argmax()]).all(axis=1)], axis=0)
    grounds = [WHITE, 0 * WHITE, usual.astype(np.float32)]
    misses = (largest(np.abs(edited - ground))[clear] for ground in grounds)
    agreeing = [float((miss < _GROUND_LEVELS).mean()) if miss.size else 0.0 for miss in misses]
    return grounds[int(np.argmax(agreeing))], max(agreeing)


def without_ground(original: Pixels, laid: Array, edited: Pixels, shown: Array, ground: Array) -> Pixels:
    """An opaque edit of a transparent original, in one frame, with the alpha that it would have without its ground."""
    # The ground's color that reaches the transparent part stays or becomes transparent. Others are paint, which is
    # opaque. Both go on in the soft part, such as a shadow, that they touch: half of one would have a step. All else
    # has the original's alpha. ``laid`` has the original's colors on the ground, ``shown`` the edit's, in [0, 255].
    top = np.iinfo(original.dtype).max
    alpha = original[..., 3]
    like = largest(np.abs(shown - ground)) < _GROUND_LEVELS
    paint = cv2.morphologyEx(((alpha == 0) & ~like).astype(np.uint8), cv2.MORPH_OPEN, _WINDOW) > 0
    erased = like & (largest(np.abs(laid - ground)) > 2 * _GROUND_LEVELS)
    empty = cv2.morphologyEx((like & (erased | (alpha < top))).astype(np.uint8), cv2.MORPH_CLOSE, _WINDOW) > 0
    erased &= touched(empty, like & (alpha == 0))
    soft, other = (alpha > 0) & (alpha < top), largest(np.abs(laid - shown)) > _GROUND_LEVELS
    parts = soft & like, soft & ~like & other  # outlines are thinner
    faded, drawn = (cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_OPEN, _REACH) > 0 for part in parts)
    erased, paint = touched(erased | faded, erased), touched(paint | drawn, paint)
    found = np.where((cv2.dilate(paint.astype(np.uint8), _REACH) > 0) & ~like, top, alpha)
    found[erased] = 0
    opacity = np.maximum(found, 1)[..., None] / np.float32(top)
    under = ground * np.float32(top / 255) * (1 - opacity)
    colors = np.rint((edited - under) / opacity).clip(0, top).astype(original.dtype)
    colors = np.where(opacity < 1, colors, edited)
    same = (found == alpha) & (alpha < top) & (largest(np.abs(laid - shown)) <= _ROUNDED)
    colors[same] = original[same, :3]
    return np.dstack([colors, found.astype(original.dtype)])
