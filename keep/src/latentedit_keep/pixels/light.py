"""Other light: a smooth field of brightness between two images, without an outline of its own.

The field is a local linear fit of the logarithm of the cells' brightness, robust against what was changed (derived
here; on the fit see Cleveland 1979, "Robust locally weighted regression and smoothing scatterplots").
"""

import dataclasses
import math

import numpy as np

from latentedit_keep.photo import warp
from latentedit_keep.photo.warp import LUMA, Array, Mask, cv2, gray, median, quantile, smoothed
from latentedit_keep.pixels.tones import Values, consensus

_CELLS = 64  # cells along the longer side, and the least shorter side in pixels
_COVERED = 0.9  # share of a cell that both images show, from which on it counts
_REACH = 0.04  # sigma of the fit, as a share of the shorter side
_FINER = 0.03  # sigma of the last fit
_RIDGE = 0.03  # weight of a level field, where few cells count
_DARK = 2.0  # levels added to both
_NOISY = 16.0  # levels below which noise is light, so that they say less
# Light that hides in few levels, as of one material, is taken for other contrast of the colors.
_LITTLE = 0.8  # contrast below which the light is also fitted before the colors
_LESS = 0.5  # share of what is left unexplained otherwise, up to which that is taken
_ROUNDS = 12
_SETTLED = 4  # rounds from which on what misses the fit was changed
_LEAST_MISS = 0.02  # least usual miss of the logarithm
_OUTLIER = 4.0  # multiple of the usual miss from which on a cell has no say
_CHANGED = 0.2  # share of its weight below which a cell was changed, and those next to it have no say
_AROUND = np.ones((5, 5), dtype=np.uint8)
_LIT_LEVELS = 6.0  # levels from which on a cell is lit anew
# Light explains most of what differs, where it is seen and everywhere. Of 225 pairs by editors, one left less of both
# unexplained; its light had been asked for.
_UNEXPLAINED_LIT = 0.2
_UNEXPLAINED = 0.15
_UNEXPLAINED_LEVELS = 4.0  # least levels of a miss
_UNEXPLAINED_SHARE = 0.35  # share of the light that a miss has
# Light fades. What has an outline is missed where the field is steepest: there, a spot of light is missed by 0 to .3 of
# the cells, the soft edge of a darkened half by .7.
_STEEPEST = 0.95  # quantile of the slopes
_MISSED = 0.2  # share of the strongest light by which a cell is missed
_OUTLINED = 0.35  # share of the steepest cells
_MOST = 1.6  # logarithm of a ratio, above which it is no light: a dark ground became white
_LEAST_LEVELS = 10.0  # levels that the strongest light has at least
_NEARLY_ALL = 0.98  # share of the image that the strongest light exceeds


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Light:
    """The edited image's light over the original's."""

    field: Array  # logarithm of their ratio, ``[rows, columns]``; 0 where the light stayed
    gains: Values  # factors of all colors, from the edited image's to the original's
    offsets: Values
    most: float  # levels by which it changed nearly all of the original at most, beside what all of it shares
    number: int = 0  # number of the separate change that is the light; 0 before it has one

    def undone(self, edited: Array, field: Array | None = None) -> Array:
        """The edited image in the original's light, not clipped; of a part, with the ``field`` there."""
        toned = edited * self.gains + self.offsets + _DARK
        toned *= np.exp(-(warp.resized(self.field, edited.shape[1::-1]) if field is None else field))[..., None]
        return ((toned - _DARK - self.offsets) / self.gains).astype(np.float32)

    def opacity(self, original: Array) -> Array:
        """How much of the light is seen in an image, from 0 to 1; ``[height, width]``."""
        levels = (gray(original) + _DARK) * np.abs(np.expm1(warp.resized(self.field, original.shape[1::-1])))
        return (2 * levels / _LIT_LEVELS - 1).clip(0, 1)


def find_light(original: Array, edited: Array, usable: Mask) -> Light | None:
    """Other light of two aligned images in [0, 255]; None where it is the same, or more was changed. About .1 s."""
    height, width = usable.shape
    size = warp.fitted((width, height), _CELLS, 8)
    chosen = warp.resized(usable.astype(np.float32), size) > _COVERED
    if min(height, width) < _CELLS or not chosen.any():
        return None
    here, there = (warp.resized(image, size).astype(np.float64) for image in (original, edited))
    luma = here @ LUMA + _DARK
    sure, reach = chosen * (luma / (luma + _NOISY)) ** 2, _REACH * min(size)

    def fitted(light: Light) -> tuple[Light, Values, Values, float]:
        """The light in the colors of this one, the logarithm of the ratio that it fits, weights, and what all share."""
        toned = (there * light.gains + light.offsets) @ LUMA
        ratio = np.log((np.maximum(toned, 0) + _DARK) / luma)
        weight = _unchanged(ratio, sure, chosen, reach)
        field = _fitted(ratio, weight, reach)
        shared = median(field[chosen])
        return dataclasses.replace(light, field=field - shared), ratio - shared, weight, shared

    def in_its_colors(light: Light) -> Light:
        gains, offsets = consensus(here[chosen], light.undone(there)[chosen].astype(np.float64))
        return dataclasses.replace(light, gains=gains, offsets=offsets)

    def levels(light: Light) -> Values:
        return luma * np.abs(np.expm1(light.field))

    def missed(light: Light, ratio: Values) -> tuple[Values, Mask]:
        """Levels by which the light is missed, and the cells that it does not explain."""
        misses = luma * np.abs(np.exp(ratio) - np.exp(light.field))
        return misses, misses > np.maximum(_UNEXPLAINED_LEVELS, _UNEXPLAINED_SHARE * levels(light))

    same = Light(np.zeros_like(luma), np.ones(3), np.zeros(3), 0.0)
    light, ratio, weight, shared = fitted(in_its_colors(same))
    if light.gains.min() < _LITTLE:
        other = fitted(in_its_colors(fitted(same)[0]))
        if missed(*other[:2])[1][chosen].mean() < _LESS * missed(light, ratio)[1][chosen].mean():
            light, ratio, weight, shared = other
    (misses, others), lit = missed(light, ratio), levels(light)
    across, down = np.gradient(light.field)
    most, slope = quantile(lit[chosen], _NEARLY_ALL), np.hypot(across, down)
    steepest = misses[chosen & (slope >= quantile(slope[chosen], _STEEPEST))]
    is_light = (
        most >= _LEAST_LEVELS
        and abs(shared) + np.abs(light.field[chosen]).max() < _MOST
        and others[chosen & (lit > _LIT_LEVELS)].mean() < _UNEXPLAINED_LIT
        and others[chosen].mean() < _UNEXPLAINED
        and (steepest > _MISSED * most).mean() < _OUTLINED
    )
    if not is_light:
        return None
    field = _fitted(ratio, weight, _FINER * min(size))
    field -= median(field[chosen])
    # A ratio that the whole image shares may be the light's or the colors'. The light gets as much of it as it has
    # anywhere: darkened corners darken no middle.
    toned = ((there * light.gains + light.offsets) @ LUMA)[chosen].mean()
    brighter = math.log(max(toned, 1) / max((there @ LUMA)[chosen].mean(), 1))
    part = np.clip(brighter, field[chosen].min(), field[chosen].max())
    field, gains, offsets = (field - part).astype(np.float32), light.gains / np.exp(part), light.offsets / np.exp(part)
    return dataclasses.replace(light, field=field, gains=gains, offsets=offsets, most=most)


def _unchanged(ratio: Values, sure: Values, chosen: Mask, reach: float) -> Values:
    """The weights under which cells that were changed, and those next to them, have no say in the fit."""
    weight = sure
    for turn in range(_ROUNDS):
        miss = np.abs(ratio - _fitted(ratio, weight, reach))
        usual = max(_LEAST_MISS, 1.48 * median(miss[chosen]))
        weight = np.maximum(1 - (miss / (_OUTLIER * usual)) ** 2, 0) ** 2 * sure
        if turn >= _SETTLED:
            changed = (chosen & (weight < _CHANGED * sure)).astype(np.uint8)
            changed = cv2.morphologyEx(changed, cv2.MORPH_OPEN, _AROUND[:2, :2])
            weight *= cv2.dilate(changed, _AROUND) == 0
    return weight


def _fitted(values: Values, weight: Values, sigma: float) -> Values:
    """The local linear fit of values ``[rows, columns]`` at each cell, under a Gaussian window."""
    y, x = (place / sigma for place in np.indices(weight.shape))
    one = np.ones_like(x)
    of_one, of_x, of_y, of_xx, of_xy, of_yy = (
        smoothed(weight * plane, sigma) for plane in (one, x, y, x * x, x * y, y * y)
    )
    across, down = of_x - x * of_one, of_y - y * of_one  # moments around each cell
    both = of_xy - x * of_y - y * of_x + x * y * of_one
    normal = np.array([
        [of_one + 1e-4, across, down],
        [across, of_xx - 2 * x * of_x + x * x * of_one + _RIDGE, both],
        [down, both, of_yy - 2 * y * of_y + y * y * of_one + _RIDGE],
    ])  # fmt: skip
    sums, by_x, by_y = (smoothed(values * weight * plane, sigma) for plane in (one, x, y))
    right = np.stack([sums, by_x - x * sums, by_y - y * sums], axis=2)[..., None]
    return np.linalg.solve(np.moveaxis(normal, (0, 1), (2, 3)), right)[:, :, 0, 0].astype(np.float64)
