"""Other light: a smooth field of brightness between two images, without an outline of its own.

The field is a polynomial fitted to the logarithm of the cells' brightness, robust against what was changed. Its degree
is too low for outlines, so that light is what such a field explains.
"""

import dataclasses
import math

import numpy as np
from numpy.polynomial.legendre import legvander2d

from latentedit.photo import warp
from latentedit.photo.warp import LUMA, Array, Mask, cv2, gray, median, quantile, smoothed
from latentedit.pixels.tones import Values, consensus

_CELLS = 64  # cells along the longer side, and the least shorter side in pixels
_COVERED = 0.9  # share of a cell that both images show, from which on it counts
_DARK = 2.0  # levels added to both
_NOISY = 16.0  # levels below which noise is light, so that they say less
# The polynomial that tells light from changes, and the last one, for a spot of light.
_DEGREE = 6
_STIFF = 4e-6  # weight of the fourth power of a term's degree: no waves where nothing counts
_LAST_DEGREE = 10
_LAST_STIFF = 4e-8
_ROUNDS = 6  # fits, each with the weights by which the one before missed
_LEAST_MISS = 0.02  # least usual miss of the logarithm
_OUTLIER = 4.0  # multiple of the usual miss from which on a cell was changed and has no say
_LIT_LEVELS = 6.0  # levels from which on a cell is lit anew, or changed
# Light that is undone leaves few of the changed cells, or little of what the others differ by: so did three of 225
# pairs by editors, one relit on request, one colored, and an apple with its shadow taken off.
_CHANGED_LEFT = 0.6  # share of the changed cells
_LEFT = 0.1  # product of it and the share of the levels by which the cells that have a say differ
_FADES = 0.6  # share of the light's slope that these have; .1 to .4 beside a soft edge, which the light only rounds off
_NEARLY_ALL = 0.98  # share of the image that the strongest light exceeds
_CUT_OFF = 0.96  # share of the brightest level of a channel from which on what was brighter may have been cut off
_CUT_OFF_WEIGHT = 0.1  # weight of such a channel where the light is brighter


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

    def compared(self, edited: Array, original: Array) -> Array:
        """`undone`, and as bright as the original where the edited image's white is cut off, up to that white."""
        undone, shown = self.undone(edited), ((original - self.offsets) / self.gains).astype(np.float32)
        return np.where(_cut_off(edited), np.maximum(undone, np.minimum(shown, edited)), undone)

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
    lit = gray(edited) > gray(original) + _LIT_LEVELS
    counted = np.where(_cut_off(edited) & lit[..., None], np.float32(_CUT_OFF_WEIGHT), np.float32(1))
    counts = warp.resized(counted, size).clip(_CUT_OFF_WEIGHT).astype(np.float64)
    here, there = (warp.resized(image * counted, size) / counts for image in (original, edited))
    total = counts @ LUMA
    luma = (here * counts) @ LUMA / total + _DARK
    sure, terms = chosen * total * (luma / (luma + _NOISY)) ** 2, _terms(luma.shape, _DEGREE, _STIFF)

    def toned(light: Light) -> Values:
        """The edited image's brightness in this light's colors."""
        return np.maximum(((there * light.gains + light.offsets) * counts) @ LUMA / total, 0) + _DARK

    def in_its_colors(light: Light) -> Light:
        gains, offsets = consensus(here[chosen], light.undone(there)[chosen].astype(np.float64))
        return dataclasses.replace(light, gains=gains, offsets=offsets)

    def fitted(light: Light) -> tuple[Light, Values, Values]:
        """The light in the colors of this one, what it fits, and the weights of the cells."""
        ratio = np.log(toned(light) / luma)
        field, weight = _fitted(ratio, sure, sure, chosen, terms)
        return dataclasses.replace(light, field=field - median(field[chosen])), ratio, weight

    def missed(light: Light, weight: Values) -> Values:
        """Levels by which a cell and those around it miss the original: neither blur nor drift counts."""
        levels = smoothed(weight * (toned(light) * np.exp(-light.field) - luma), 1.0)
        return np.abs(levels) / np.maximum(smoothed(weight, 1.0), 1e-3)

    def left(light: Light, weight: Values) -> tuple[float, float]:
        """The share of the cells that differ, and the levels of those that have a say."""
        share = (missed(light, chosen.astype(np.float64))[chosen] > _LIT_LEVELS).mean()
        return float(share), math.sqrt((weight * missed(light, weight) ** 2).sum())

    # The light first: few levels, as of one material, take it for other contrast of the colors.
    same = Light(np.zeros_like(luma), np.ones(3), np.zeros(3), 0.0)
    light, ratio, weight = fitted(in_its_colors(fitted(same)[0]))
    (share, levels), (shares, all_levels) = left(light, weight), left(in_its_colors(same), weight)
    # Next to cells that have no say, there is no slope.
    slopes, of_field = np.gradient(ratio), np.gradient(light.field)
    inner = cv2.erode(weight, np.ones((3, 3)))
    fades = (inner * slopes * of_field).sum() > _FADES * (inner * np.square(of_field)).sum()
    most = quantile((luma * np.abs(np.expm1(light.field)))[chosen], _NEARLY_ALL)
    is_left = share > _CHANGED_LEFT * shares or share * levels > _LEFT * shares * all_levels
    if most < _LIT_LEVELS or is_left or not fades:
        return None
    field, _ = _fitted(ratio, weight, sure, chosen, _terms(luma.shape, _LAST_DEGREE, _LAST_STIFF))
    field -= median(field[chosen])
    # A ratio that the whole image shares may be the light's or the colors'. The light gets as much of it as it has
    # anywhere: darkened corners darken no middle.
    brighter = math.log(max((toned(light) - _DARK)[chosen].mean(), 1) / max((there @ LUMA)[chosen].mean(), 1))
    part = np.clip(brighter, field[chosen].min(), field[chosen].max())
    factor = np.exp(part)
    return Light((field - part).astype(np.float32), light.gains / factor, light.offsets / factor, most)


def _cut_off(edited: Array) -> Mask:
    """Where each channel is so bright that what was brighter may have been cut off."""
    return edited > _CUT_OFF * edited.max(axis=(0, 1)).clip(0, 255)


def _terms(shape: tuple[int, ...], degree: int, stiff: float) -> tuple[Values, Values]:
    """The terms of a polynomial ``[cells, terms]``, and the weight that holds each at zero."""
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    values = legvander2d(rows, columns, [degree] * 2).reshape(rows.size, -1).astype(np.float64)
    degrees = np.indices([degree + 1] * 2).sum(axis=0).ravel()
    taken = degrees <= degree
    return values[:, taken], stiff * degrees[taken] ** 4.0 + 1e-9


def _fitted(
    values: Values, weight: Values, sure: Values, chosen: Mask, terms: tuple[Values, Values]
) -> tuple[Values, Values]:
    """The robust fit of values ``[rows, columns]``, and the weights, under which changed cells have no say."""
    (basis, stiff), field = terms, values
    for _ in range(_ROUNDS):
        weighted = basis * (weight.ravel() / weight.size)[:, None]
        normal = weighted.T @ basis + np.diag(stiff)
        field = (basis @ np.linalg.solve(normal, weighted.T @ values.ravel())).reshape(values.shape)
        miss = np.abs(values - field)
        usual = max(_LEAST_MISS, 1.48 * median(miss[chosen]))
        weight = np.maximum(1 - (miss / (_OUTLIER * usual)) ** 2, 0) ** 2 * sure
    return field, weight
