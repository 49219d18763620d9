"""How well two aligned images agree where nothing was changed: in levels, structure and detail, and where least."""

import dataclasses
from typing import NamedTuple

import numpy as np

from latentedit.photo import warp
from latentedit.photo.warp import Array, Mask, cv2, gray, smoothed
from latentedit.pixels.detection import CALM, NEAR, everywhere, grown
from latentedit.pixels.tones import PARTED, Tones, parts

GLOBAL_RESIDUAL = 6.0  # coarse difference of the rest in levels above which a change is global; usual are 0.4 to 4.3
_RESIDUAL_PX = 8.0  # least sigma of that difference, over which grain averages out
DETAIL_LEVELS = 4.0  # least fine contrast of a pixel that belongs to detail


# A difference near a change is reported if it exceeds the first three; where the usual one is that of a global change,
# the strongest place is reported.
_LEFT_LEVELS = 10.0
_LEFT_USUAL = 4.0  # multiple of the usual difference
_LEFT_SHARE = 1e-3  # share of the image
_STRONGEST = 2.0  # multiple of the usual difference that the strongest place exceeds


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A part of the rest that differs much more than the others: what is left there of the original may be seen."""

    levels: float
    box: tuple[float, float, float, float]  # left, top, right and bottom as shares of the sides


class Rest(NamedTuple):
    """How what was not changed agrees; the first three as in `DetectedChange`."""

    residual: float
    leftover: Leftover | None
    parted: float
    halves: Array  # -1 and 1 for the two parts, 0 elsewhere


def measured_rest(apart: Array, opacity: Array, inside: Mask, usable: Mask, unchanged: Mask, *, is_small: bool) -> Rest:
    """Measure the rest by its difference; ``is_small`` if next to nothing was changed."""
    if unchanged.sum() < 200:
        return Rest(float("inf"), None, 0.0, np.zeros((1, 1), dtype=np.float32))
    coarse = warp.largest(np.abs(smoothed(apart, max(_RESIDUAL_PX, min(unchanged.shape) / 60))))
    residual = 1.48 * warp.median(coarse[unchanged])
    rest, near = inside & (opacity < 0.5), grown(opacity > 0.5, round(NEAR * min(opacity.shape)))
    leftover = _leftover(apart, rest & near, _LEFT_USUAL * residual)
    if leftover is None and residual >= GLOBAL_RESIDUAL:
        strongest = _leftover(apart, rest, _STRONGEST * residual)
        leftover = strongest or Leftover(levels=residual, box=(0, 0, 1, 1))
    parted, _, halves = parts(apart, rest & usable)
    if leftover is None and parted > PARTED and is_small:
        smaller = 1 if (halves > 0).sum() < (halves < 0).sum() else -1
        leftover = Leftover(levels=parted, box=_box_of(halves == smaller))
    return Rest(residual, leftover, parted, halves)


def _leftover(difference: Array, rest: Mask, usual: float) -> Leftover | None:
    """The heaviest part of the rest whose coarse difference exceeds the usual one."""
    sigma, weight = max(2.0, min(rest.shape) / 100), rest.astype(np.float32)
    coarse = warp.largest(np.abs(smoothed(difference * weight[..., None], sigma))) * weight
    coarse /= np.maximum(smoothed(weight, sigma), 0.5)
    exceeds = coarse > max(_LEFT_LEVELS, usual)
    labels = cv2.connectedComponents(exceeds.view(np.uint8))[1]
    weights = np.bincount(labels[exceeds], weights=coarse[exceeds], minlength=1)
    number = int(weights.argmax())
    area = int(np.count_nonzero(labels == number))
    if not number or area < _LEFT_SHARE * coarse.size:
        return None
    return Leftover(levels=float(weights[number] / area), box=_box_of(labels == number))


def _box_of(part: Mask) -> tuple[float, float, float, float]:
    """Sides of a part as shares of those of its plane."""
    left, top, across, down = cv2.boundingRect(part.astype(np.uint8))
    height, width = part.shape
    return left / width, top / height, (left + across) / width, (top + down) / height


_MISMATCH_SIDE = 0.02  # sigma of the mismatch of colors, as a share of the side
_MISMATCH_MOST = 10.0  # levels at which the mismatch is cut off


def mismatch_of(tones: Tones, original: Array, edited: Array, unchanged: Mask) -> Array:
    """Smooth difference of the unchanged surroundings; subtracting it removes the edge of a regional cast or shade."""
    difference = tones.corrected(edited) - original
    return local_mean(difference.clip(-_MISMATCH_MOST, _MISMATCH_MOST), unchanged.astype(np.float32))


def local_mean(plane: Array, weight: Array) -> Array:
    """Local mean of a plane's pixels with a weight, which fades where none of them is near."""
    sigma = max(2.0, _MISMATCH_SIDE * min(weight.shape))
    return smoothed(plane * weight[..., None], sigma) / np.maximum(smoothed(weight, sigma), 0.3)[..., None]


_GRAIN_PX = 6.0  # sigma of the windows in which grain is measured
_ABOVE_GRAIN = 3.0  # standard deviations of grain from which on there is detail
# Minimum fraction of the image that is detail. The rings of a codec on a flat image reach .018, and
# grain that was added to a smooth one is as little: both would count as redrawn.
_RESTORED_DETAIL = 0.05


def shared_detail(original: Array, edited: Array, unchanged: Mask) -> float:
    """Slope of the original's fine detail over the edited image's, where that is more than noise."""
    first, second = (plane - smoothed(plane, 3.0) for plane in (gray(original), gray(edited)))
    grain = everywhere(smoothed((first - second) ** 2, _GRAIN_PX), unchanged, 0)
    detailed = unchanged & (np.abs(second) > max(DETAIL_LEVELS, _ABOVE_GRAIN * np.sqrt(grain)))
    if detailed.sum() < _RESTORED_DETAIL * unchanged.sum() or detailed.sum() < 200:
        return 1.0
    own = max(float(np.mean(second[detailed] ** 2)) - grain, 1e-3)
    return float(np.mean(first[detailed] * second[detailed])) / own


_STRUCTURE = 2.5  # multiple of the grain's variance from which on a window has structure
_LEAST_STRUCTURE = 16.0  # least variance of such a window in any image
_MOST_STRUCTURE = 100.0  # variance that suffices in any image


def structure(original: Array, toned: Array, unchanged: Mask) -> float:
    """Median local correlation of luma over windows with detail."""
    planes = smoothed(gray(original), 0.8), smoothed(gray(toned), 0.8)
    variance, toned_variance, covariance = warp.moments(*planes, _GRAIN_PX, unchanged)
    grain_variance = warp.quantile(variance[unchanged], CALM) if unchanged.any() else 0.0
    anew = everywhere(variance + toned_variance - 2 * covariance, unchanged, _LEAST_STRUCTURE)
    least = max(np.clip(_STRUCTURE * grain_variance, _LEAST_STRUCTURE, _MOST_STRUCTURE), _STRUCTURE * anew)
    detailed = unchanged & (variance > least)
    if detailed.sum() < 50:
        return 1.0
    correlation = covariance / np.sqrt(np.maximum(variance * toned_variance, 1e-3))
    return warp.median(correlation[detailed])
