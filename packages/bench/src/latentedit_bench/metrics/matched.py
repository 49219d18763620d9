"""Editors compared at equal effect: leakage as a function of effect, along rising strengths.

Each picture has a path: from (0, 0), which no edit gives, through the (effect, leakage) at each strength, in order and
joined by straight lines. `metrics.disentanglement` has both numbers. A path that holds a value that is not
finite gives nan. Effects and leakages are [pictures, strengths] with rising strengths.
"""

import itertools
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, Float64
from numpy.typing import NDArray
from pydantic import Field

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.settings import check

_Effect = Annotated[float, Field(gt=0)]
"""A size of change; 1 is the whole one."""

LEAST_EFFECT = 0.05
"""Best effect of a path up to which it is none: nothing is scaled up from there."""

Paths = Float[np.ndarray, "n k"]
Numbers = Float[np.ndarray, " n"]


def leakage_at(effects: Paths, leakages: Paths, wanted: float) -> tuple[Numbers, Bool[np.ndarray, " n"]]:
    """The leakage at the first point of each path that has the wanted effect, and whether the path gets there.

    Where it does not, the point of the largest effect is scaled from the origin, ``leakage * wanted / effect``: what
    the editor would leak if more strength gave more of the same. That flatters an editor that breaks down beyond its
    range, so report the share that was reached. Infinite where the largest effect is `LEAST_EFFECT` or less.

    From 0 up; lower is better.
    """
    check(_Effect, wanted=wanted)
    along, beside, known = _paths(effects, leakages)
    rows, over = np.arange(len(along)), along >= wanted
    reached = over.any(1) & known
    end = np.where(reached, over.argmax(1), 1)
    start_effect, start_leakage = along[rows, end - 1], beside[rows, end - 1]
    share = (wanted - start_effect) / np.where(reached, along[rows, end] - start_effect, 1)
    crossing = start_leakage + share * (beside[rows, end] - start_leakage)
    found = np.where(reached, crossing, _steepness(along, beside) * wanted)
    return np.where(known, found, np.nan), reached


def matched_error(effects: Paths, leakages: Paths, wanted: float = 1.0) -> Numbers:
    """``(1 - wanted)^2 + leakage_at(wanted)^2``, at most 1: the error to the counterfactual at matched effect.

    That is the `counterfactual_error` of a picture with this effect and this leakage. In [0, 1]; lower is better. 1 is
    what no edit scores; an edit that is worse than none counts as none, since a user would drop it. So one failure
    weighs no more than another. See `leakage_at` for paths that do not get there.
    """
    beside, _ = leakage_at(effects, leakages, wanted)
    return np.minimum((1 - wanted) ** 2 + beside**2, 1)


def curve_area(effects: Paths, leakages: Paths) -> Numbers:
    """``integral from 0 to 1 of min(1, leakage_at(w)) dw``, exact: the curve is of straight pieces.

    In [0, 1]; lower is better. 0 where nothing else changes at any strength, 1 where the edit has no effect or leaks
    as much as was asked for from the start. A straight path of slope a has a / 2, or 1 - 1 / (2 a) above slope 1.

    Trap: only the first way to each effect counts; what a path does when it turns back is not seen.
    """
    along, beside, known = _paths(effects, leakages)
    area, best = np.zeros(len(along)), np.zeros(len(along))
    for i, j in itertools.pairwise(range(along.shape[1])):
        end = np.clip(along[:, j], best, 1.0)
        rising = end > best
        rise = np.where(rising, along[:, j] - along[:, i], 1)
        slope = (beside[:, j] - beside[:, i]) / rise
        first, last = (beside[:, i] + slope * (where - along[:, i]) for where in (best, end))
        area += np.where(rising, (end - best) * _capped_mean(first, last), 0)
        best = end
    steepness = _steepness(along, beside)  # of what follows the best effect; nothing does where that is 1
    endless = np.isinf(steepness)
    steepness = np.where(endless, 0, steepness)
    area += (1 - best) * np.where(endless, 1, _capped_mean(steepness * best, steepness))
    return np.where(known, area, np.nan)


def _paths(
    effects: Float[np.ndarray, "..."], leakages: Float[np.ndarray, "..."]
) -> tuple[Float64[np.ndarray, "n points"], Float64[np.ndarray, "n points"], Bool[np.ndarray, " n"]]:
    """Effects and leakages in float64 with the origin before them, and which paths are finite; others are all 0."""
    if effects.shape != leakages.shape or effects.ndim != 2 or effects.shape[1] == 0:
        raise ShapeError(
            f"effects are {list(effects.shape)} and leakages {list(leakages.shape)}. Give both as [n, strengths]"
        )
    if (leakages < 0).any():
        raise ConfigError(f"a leakage is {np.nanmin(leakages):g}, below 0. Give lengths")
    known: NDArray[np.bool_] = np.asarray(np.isfinite(effects + leakages).all(axis=1))
    along, beside = (
        np.pad(np.where(known[:, None], part, 0).astype(np.float64), ((0, 0), (1, 0))) for part in (effects, leakages)
    )
    return along, beside, known


def _steepness(along: Float64[np.ndarray, "n points"], beside: Float64[np.ndarray, "n points"]) -> Numbers:
    """Leakage by effect at the point of the largest effect; infinite where that is `LEAST_EFFECT` or less."""
    rows, best = np.arange(len(along)), along.argmax(1)
    top = along[rows, best]
    none = top <= LEAST_EFFECT
    return np.where(none, np.inf, beside[rows, best] / np.where(none, 1, top))


def _capped_mean(first: Numbers, last: Numbers) -> Numbers:
    """Mean of ``min(1, y)`` for y that goes straight from one number to the other."""
    low, high = np.minimum(first, last), np.maximum(first, last)
    crosses = (low < 1) & (high > 1)
    under = np.where(crosses, 1 - low, 0) / np.where(crosses, high - low, 1)  # share of the way on which y is below 1
    return np.where(high <= 1, (low + high) / 2, np.where(crosses, under * (low + 1) / 2 + (1 - under), 1.0))
