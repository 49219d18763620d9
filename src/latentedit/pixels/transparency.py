"""Transparency: changes of alpha, and opaque edits of transparent originals."""

import numpy as np
from numpy.typing import NDArray

from latentedit.photo.color import Pixels
from latentedit.photo.warp import Array, Mask, cv2, largest, touched

WHITE = np.full(3, 255.0, dtype=np.float32)
_SEEN = 24  # difference of 8-bit alpha from which on it changed
_FAINT = 6  # difference of 8-bit alpha next to such a place, where a soft edge belongs to the change
_WINDOW = np.ones((3, 3), dtype=np.uint8)  # a shift by one pixel
_GROUND_LEVELS = 12.0  # within which a color is the ground's: codecs and casts move it
_ROUNDED = 1.0  # levels by which rounding changes a color that is laid on a ground
_REACH = np.ones((5, 5), dtype=np.uint8)  # neighborhood of soft edges


def alpha_change(original: Array, edited: Array) -> Mask:
    """Where two planes of alpha in one frame differ by more than a shift of one pixel explains."""
    low, high = cv2.erode(original, _WINDOW), cv2.dilate(original, _WINDOW)
    sure = np.maximum(low - edited, edited - high) > _SEEN
    near = cv2.dilate(sure.astype(np.uint8), _REACH) > 0
    return near & (np.abs(original - edited) > _FAINT)


def ground_of(original: NDArray[np.uint8], edited: Array) -> tuple[Array, float]:
    """The color on which an opaque edit shows what is transparent in its original, and the share of that part with it.

    Args:
        original: Alpha ``[height, width]``.
        edited: Of any size, in [0, 255].

    Returns:
        White, black, or the most frequent color of the border, in [0, 255], and a share.
    """
    clear = cv2.resize(original, edited.shape[1::-1], interpolation=cv2.INTER_NEAREST) == 0
    border = np.concatenate([edited[0], edited[-1], edited[:, 0], edited[:, -1]])
    cells, counts = np.unique(border // 8, axis=0, return_counts=True)
    usual = np.median(border[(border // 8 == cells[counts.argmax()]).all(axis=1)], axis=0)
    grounds = [WHITE, 0 * WHITE, usual.astype(np.float32)]
    misses = (largest(np.abs(edited - ground))[clear] for ground in grounds)
    agreeing = [float((miss < _GROUND_LEVELS).mean()) if miss.size else 0.0 for miss in misses]
    return grounds[int(np.argmax(agreeing))], max(agreeing)


def without_ground(original: Pixels, laid: Array, edited: Pixels, shown: Array, ground: Array) -> Pixels:
    """An opaque edit of a transparent original, with the alpha that it would have without its ground.

    What has the ground's color and reaches the transparent part is transparent; what has another color there is paint,
    and opaque. A half-transparent part that touches either is treated alike, or an edge would show. All else keeps the
    original's alpha.

    Args:
        original: ``[height, width, 4]``, in the frame of all others.
        laid: The original's colors on the ground, in [0, 255].
        edited: ``[height, width, 3]``, at the original's depth.
        shown: The same in [0, 255].
        ground: Its color, in [0, 255].
    """
    top = np.iinfo(original.dtype).max
    alpha = original[..., 3]
    like = largest(np.abs(shown - ground)) < _GROUND_LEVELS
    paint = cv2.morphologyEx(((alpha == 0) & ~like).astype(np.uint8), cv2.MORPH_OPEN, _WINDOW) > 0
    erased = like & (largest(np.abs(laid - ground)) > 2 * _GROUND_LEVELS)
    empty = cv2.morphologyEx((like & (erased | (alpha < top))).astype(np.uint8), cv2.MORPH_CLOSE, _WINDOW) > 0
    erased &= touched(empty, like & (alpha == 0))
    soft, other = (alpha > 0) & (alpha < top), largest(np.abs(laid - shown)) > _GROUND_LEVELS
    # Opened, since outlines are thinner than what was erased or drawn.
    faded = cv2.morphologyEx((soft & like).astype(np.uint8), cv2.MORPH_OPEN, _REACH) > 0
    drawn = cv2.morphologyEx((soft & ~like & other).astype(np.uint8), cv2.MORPH_OPEN, _REACH) > 0
    erased, paint = touched(erased | faded, erased), touched(paint | drawn, paint)
    new_alpha = np.where((cv2.dilate(paint.astype(np.uint8), _REACH) > 0) & ~like, top, alpha)
    new_alpha[erased] = 0
    opacity = np.maximum(new_alpha, 1)[..., None] / np.float32(top)
    under = ground * np.float32(top / 255) * (1 - opacity)
    colors = np.rint((edited - under) / opacity).clip(0, top).astype(original.dtype)
    colors = np.where(opacity < 1, colors, edited)
    same = (new_alpha == alpha) & (alpha < top) & (largest(np.abs(laid - shown)) <= _ROUNDED)
    colors[same] = original[same, :3]
    return np.dstack([colors, new_alpha.astype(original.dtype)])
