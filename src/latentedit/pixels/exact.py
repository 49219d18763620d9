"""Pairs that are the same bit for bit but for the change, as after retouching: it is every pixel that differs."""

import numpy as np
from numpy.typing import NDArray

from latentedit.photo.color import GrayValues, Pixels
from latentedit.photo.warp import Array, Mask, cv2, gray, largest
from latentedit.pixels.codec_noise import has_codec_noise
from latentedit.pixels.differing import difference

_REACH_PX = 3  # around an equal pixel, in which all must be equal; its square is the width of the soft rim of a change
_REACH_SHARE = 16  # part of the shorter side that the reach is at most
_STRONG = 8.0  # levels from which on a difference is that of a change, and not of its soft rim or a codec
_SOLID_PX = 11  # side of a square that differs as a whole, which is a change however faint it is
# Beyond the rims of 150 composites, .992 of the equal texture and more had equal surroundings. If a codec encoded both
# images it was up to .978; in images moved by .02 px or more, sharpened, or saved again, .7.
_UNTOUCHED = 0.98
_LEAST = 0.05  # share of the texture that is equal with its surroundings, if these have full reach
_TINY_PX = 32  # longest side up to which nothing can be aligned
# Three tiny images of 43 that were saved as JPEG differed by more than the first, and none by more than the second.
_TINY_LEVELS = 28.0
_TINY_CERTAIN = 44.0  # levels


def exact_change(original: Pixels, edited: Pixels) -> Mask | None:
    """Every pixel that differs to the eye, or None if two images of one size and depth are not the same elsewhere."""
    # Codecs and resampling leave flat parts as they are, but texture only by chance, pixel by pixel.
    amount = difference(original, edited)
    differs = amount > 0
    if not differs.any():
        return differs
    reach = min(_REACH_PX, min(differs.shape) // _REACH_SHARE)
    shown = np.ones_like(differs) if original.shape[2] == 3 else original[..., 3] > 0
    steps, altered = _steps(original), differs
    contrast = steps.max(axis=0)
    if reach == 0 and max(amount.max(), contrast.max()) < _STRONG:  # a codec leaves so few pixels by chance
        return None
    usual = np.median(contrast[shown]) if shown.any() else 0
    texture = shown & (contrast >= max(1, usual))
    if reach == 0 or not texture.any():
        texture = shown
    elif usual == 0 and differs.mean() <= 1 - _LEAST:  # flat boxes and letters that were recolored keep their outlines
        altered = differs & _grown(((steps > 0) != (_steps(edited) > 0)).any(axis=0), 1)
    solid = cv2.morphologyEx(altered.astype(np.uint8), cv2.MORPH_OPEN, np.ones([_SOLID_PX] * 2, dtype=np.uint8)) > 0
    equal = texture & ~altered & ~_grown(altered & ((amount >= _STRONG) | solid), reach**2)
    untouched = equal & ~_grown(altered, reach)
    least = _LEAST * len(_square(_REACH_PX)) / len(_square(reach)) * texture.sum()  # in tiny images, more is chance
    if untouched.sum() < max(1, least, _UNTOUCHED * equal.sum()):
        return None
    if has_codec_noise(original, edited):
        return None
    return differs


def tiny_change(original: GrayValues, edited: GrayValues) -> tuple[Mask, bool] | None:
    """Differences of two tiny images that are more than JPEG leaves, and whether for certain; None for larger ones."""
    if max(original.shape) > _TINY_PX:
        return None
    amount = np.abs(gray(edited - original))  # JPEG keeps less of colors
    return amount > _TINY_LEVELS, bool(amount.max() > _TINY_CERTAIN)


def _steps(pixels: Pixels) -> Array:
    """Difference of each pixel from the one to its right, and from the one below; ``[2, height, width]``."""
    colors = pixels[..., :3]
    after = np.concatenate([colors[:, 1:], colors[:, -1:]], axis=1), np.concatenate([colors[1:], colors[-1:]])
    return np.stack([largest(cv2.absdiff(colors, one)) for one in after])


def _grown(mask: Mask, reach: int) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), _square(reach)) > 0


def _square(reach: int) -> NDArray[np.uint8]:
    return np.ones([2 * reach + 1] * 2, dtype=np.uint8)
