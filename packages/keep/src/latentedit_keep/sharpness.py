"""How sharp the edited picture is against the original: one is blurred for the comparison, the change is sharpened."""

import functools

import numpy as np

from latentedit_keep.warp import Mask, Picture, grey, smoothed

# Blurs in pixels that are tried; negative ones are of the edited picture, which is then the sharper one.
_SIGMAS = (-1.0, -0.7, -0.5, -0.35, 0.0, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 1.0, 1.2, 1.4, 1.7, 2.1, 2.6)
_DETAIL_PX = 1.0  # finer than this is what is lost first
_MOST = 2.0  # times the detail that is left may be added to it


def fit_blur(original: Picture, edited: Picture, unchanged: Mask) -> float:
    """The blur of the original, in pixels, that fits the edited picture best; negative where that one is sharper."""
    if unchanged.sum() < 200:
        return 0.0
    planes = grey(original), grey(edited)

    @functools.cache
    def miss(at: int) -> float:
        first, second = matched(*planes, _SIGMAS[at])
        rest = first - second
        fine = (rest - smoothed(rest, 3.0))[unchanged]
        return float(np.mean(np.minimum(np.abs(fine), 30.0))) + 0.002 * abs(_SIGMAS[at])

    best = min(range(0, len(_SIGMAS), 2), key=miss)
    return _SIGMAS[min(range(max(0, best - 1), min(best + 2, len(_SIGMAS))), key=miss)]


def matched(original: Picture, edited: Picture, blur: float) -> tuple[Picture, Picture]:
    """Both pictures equally sharp."""
    return smoothed(original, blur), smoothed(edited, -blur)


def fit_sharpening(original: Picture, edited: Picture, unchanged: Mask) -> float:
    """How many times the edited picture's finest detail must be added to it to come closest to the original.

    Least squares over what did not change, so made-up detail counts against it; what is soft may be new, so never < 0.
    """
    first, second = grey(original), grey(edited)
    fine = (second - smoothed(second, _DETAIL_PX))[unchanged]
    energy = float(np.sum(fine**2, dtype=np.float64))
    if unchanged.sum() < 200 or energy == 0:
        return 0.0
    return float(np.clip(np.sum((first - second)[unchanged] * fine, dtype=np.float64) / energy, 0, _MOST))


def sharpened(picture: Picture, amount: float) -> Picture:
    """With this many times its finest detail added."""
    return picture + np.float32(amount) * (picture - smoothed(picture, _DETAIL_PX)) if amount else picture
