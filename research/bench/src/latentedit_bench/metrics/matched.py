"""Editors compared at equal effect: leakage as a function of effect, along rising strengths.

Each image has a path: from (0, 0), which no edit gives, through the (effect, leakage) at each strength, in order and
joined by straight lines. `metrics.disentanglement` has both numbers. A path that holds a value that is not
finite gives nan. Effects and leakages are [images, strengths] with rising strengths.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64
from numpy.typing import NDArray

LEAST_EFFECT = 0.05  # best effect of a path up to which it is none: nothing is scaled up from there
Paths = Float[np.ndarray, "n k"]
Numbers = Float[np.ndarray, " n"]


def leakage_at(effects: Paths, leakages: Paths, wanted: float) -> tuple[Numbers, Bool[np.ndarray, " n"]]:
    """The leakage at the first point of each path that has the wanted effect, and whether the path gets there.

    Where it does not, the point of the largest effect is scaled from the origin, ``leakage * wanted / effect``, which
    flatters an editor that breaks down beyond its range. Infinite where that effect is `LEAST_EFFECT` or less.
    """
    effect, leakage, known = _paths(effects, leakages)
    rows, passed = np.arange(len(effect)), effect >= wanted
    reached = passed.any(1) & known
    end = np.where(reached, passed.argmax(1), 1)
    start_effect, start_leakage = effect[rows, end - 1], leakage[rows, end - 1]
    share = (wanted - start_effect) / np.where(reached, effect[rows, end] - start_effect, 1)
    crossing = start_leakage + share * (leakage[rows, end] - start_leakage)
    found = np.where(reached, crossing, _steepness(effect, leakage) * wanted)
    return np.where(known, found, np.nan), reached


def matched_error(effects: Paths, leakages: Paths, wanted: float = 1.0) -> Numbers:
    """``(1 - wanted)^2 + leakage_at(wanted)^2``, at most 1: the error to the counterfactual at matched effect.

    That is the error of an image with this effect and this leakage. In [0, 1]; lower is better. 1 is what no edit
    scores; an edit that is worse than none counts as none, since a user would drop it. So one failure weighs no more
    than another. See `leakage_at` for paths that do not get there.
    """
    leakage, _ = leakage_at(effects, leakages, wanted)
    return np.minimum((1 - wanted) ** 2 + leakage**2, 1)


def linearity(effects: Paths, strengths: Float[np.ndarray, " k"]) -> Numbers:
    """``<e, s>^2 / (|e|^2 |s|^2)``: R^2 of the best line through the origin, in [0, 1]; nan without an effect.

    Its floor is high: a switch that is full on from the least of the strengths .25, .5, .75, 1 has .83.
    """
    explained, whole = (effects @ strengths) ** 2, (effects**2).sum(1) * (strengths**2).sum()
    return np.divide(explained, whole, out=np.full(len(effects), np.nan), where=whole > 0).clip(max=1)


def _paths(
    effects: Float[np.ndarray, "..."], leakages: Float[np.ndarray, "..."]
) -> tuple[Float64[np.ndarray, "n points"], Float64[np.ndarray, "n points"], Bool[np.ndarray, " n"]]:
    """Effects and leakages in float64 with the origin before them, and which paths are finite; others are all 0."""
    known: NDArray[np.bool_] = np.asarray(np.isfinite(effects + leakages).all(axis=1))
    effect, leakage = (
        np.pad(np.where(known[:, None], part, 0).astype(np.float64), ((0, 0), (1, 0))) for part in (effects, leakages)
    )
    return effect, leakage, known


def _steepness(effect: Float64[np.ndarray, "n points"], leakage: Float64[np.ndarray, "n points"]) -> Numbers:
    """Leakage by effect at the point of the largest effect; infinite if that is `LEAST_EFFECT` or less."""
    rows, best = np.arange(len(effect)), effect.argmax(1)
    top = effect[rows, best]
    none = top <= LEAST_EFFECT
    return np.where(none, np.inf, leakage[rows, best] / np.where(none, 1, top))
