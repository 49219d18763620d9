"""Means and differences over images, with 95 % intervals that account for values that share an image.

A value belongs to one image or to several (a distance belongs to two). The bootstrap draws images, not values: an
image drawn k times gives a value of its own the weight k, and the value of a pair (i, j) the weight k_i k_j. So pairs
that share an image are not counted as independent.

In a run each item has noise of its own for each seed, and its value is the mean over the seeds. Items that are drawn
bring their noise along, so the interval covers images and seeds.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy.stats import norm, rankdata

FEWEST = 6  # images below which there is no interval: of fewer, all may differ to one side by chance (1 in 32)
SEEDS = 5  # fewest seeds for a comparison; one seed moves a mean over 96 items by as much as good methods differ
_DRAWS = 2000
Table = Any  # a pandas DataFrame, whose own annotations give a union for every selection
Sample = tuple[Sequence[float], Sequence[Sequence[Any]]]  # values, and the images of each
Verdict = Literal["holds", "does not hold", "undecided at this size"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval."""

    mean: float  # the statistic of all values
    low: float  # end of the interval; nan where there are fewer than `FEWEST` images
    high: float  # the other end
    images: int  # number of images

    @property
    def text(self) -> str:
        """Such as "0.42 [0.31, 0.55]"."""
        return f"{self.mean:.2f} {between(self.low, self.high, 2)}".rstrip()


def between(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval such as "[0.310, 0.550]"; empty if there is none."""
    return "" if low is None or math.isnan(low) else f"[{low:.{digits}f}, {high:.{digits}f}]"


def estimate(values: Sequence[float], images: Sequence[Sequence[Any]]) -> Estimate:
    """The mean of values, each of one or more images; see the module. Nan is left out."""
    known = np.isfinite(values)
    kept = np.asarray(values)[known]
    members = [tuple(which) for which, there in zip(images, known, strict=True) if there]
    if not members:
        return Estimate(mean=float("nan"), low=float("nan"), high=float("nan"), images=0)
    weights = _weights(tuple(members))
    return _from_draws(float(kept.mean()), _ratio(weights @ kept, weights.sum(1)), members)


def apart(first: Sample, second: Sample) -> Estimate:
    """The difference of two means whose images are drawn independently; no value is nan."""
    generator = np.random.default_rng(0)
    weights = [drawn_weights(members, generator) for _, members in (first, second)]
    drawn = [_ratio(w @ np.asarray(values), w.sum(1)) for w, (values, _) in zip(weights, (first, second), strict=True)]
    mean = float(np.mean(first[0]) - np.mean(second[0]))
    fewer = min((first[1], second[1]), key=_images)
    return _from_draws(mean, drawn[0] - drawn[1], fewer)


def rank_correlated(
    values: Float[np.ndarray, "columns n"], images: Sequence[Sequence[Any]], *, sign: int = 1
) -> Estimate:
    """Spearman's correlation of two columns without nan, times a sign; of three, the partial one given the third.

    A value of weight k has the ranks of k equal values, so a draw has the correlation of the sample that it repeats.
    """
    members = [tuple(which) for which in images]
    if not members:
        return Estimate(mean=math.nan, low=math.nan, high=math.nan, images=0)
    weights = np.vstack([np.ones(len(members)), _weights(tuple(members))])  # all values, then the draws
    weights = _ratio(weights, weights.sum(1, keepdims=True).repeat(len(members), 1))
    centered: list[Float[np.ndarray, "draws n"]] = []
    for column in values:
        below = (column < column[:, None]) + 0.5 * (column == column[:, None])
        ranks = weights @ below.T
        centered.append((ranks - (weights * ranks).sum(1, keepdims=True)).round(12))  # equal ranks vary by rounding

    def correlation(i: int, j: int) -> Float[np.ndarray, " draws"]:
        products = [(weights * centered[a] * centered[b]).sum(1) for a, b in ((i, j), (i, i), (j, j))]
        return _ratio(products[0], np.sqrt(products[1] * products[2]))

    found = correlation(0, 1)
    if len(values) > 2:
        first, second = correlation(0, 2), correlation(1, 2)
        found = _ratio(found - first * second, np.sqrt((1 - first**2) * (1 - second**2)))
    return _from_draws(sign * float(found[0]), sign * found[1:], members)


def rank_correlated_means(
    values: Float[np.ndarray, "two n"], groups: Sequence[Any], images: Sequence[Sequence[Any]]
) -> Estimate:
    """Spearman's correlation of two columns' means over each group of values; the draws are of images in all groups.

    Values are finite. A draw without any image of a group is left out.
    """
    members = [tuple(which) for which in images]
    weights = np.vstack([np.ones(len(members)), _weights(tuple(members))])
    names = list(dict.fromkeys(groups))
    of_group = np.array([[one == name for name in names] for one in groups], dtype=np.float64)
    counts = weights @ of_group
    means = [_ratio((weights * column) @ of_group, counts) for column in values]
    first, second = (rankdata(mean.round(12), axis=1, nan_policy="propagate") for mean in means)
    first, second = (ranks - ranks.mean(1, keepdims=True) for ranks in (first, second))
    found = _ratio((first * second).sum(1), np.sqrt((first**2).sum(1) * (second**2).sum(1)))
    return _from_draws(float(found[0]), found[1:], members)


def over_groups(values: Table) -> Estimate:
    """The mean of a column whose index has "group"; groups are drawn, as images are. Nan is left out."""
    return estimate(values.astype(float).tolist(), _groups(values))


def ratio_over_groups(top: Table, bottom: Table) -> Estimate:
    """The mean of a column over that of another of the same items, both without nan; see `over_groups`."""
    members, above, below = _groups(top), top.to_numpy(float), bottom.to_numpy(float)
    weights = _weights(tuple(members))
    mean = above.mean() / below.mean() if below.mean() > 0 else float("nan")
    return _from_draws(float(mean), _ratio(weights @ above, weights @ below), members)


def ratio_over_draws(draws: Sequence[Estimate]) -> Estimate:
    """One ratio from that of each draw of items: DerSimonian and Laird's mean of logarithms.

    The rule was written before any number was pooled by it. A draw's own variance ``v`` is that of a normal
    distribution with the interval of its bootstrap over images. Draws that differ by no more than these explain, which
    is Cochran's ``Q <= k - 1``, weigh ``1 / v``. Otherwise draws are the unit: each weighs ``1 / (v + between)``, where
    ``between`` is the variance between draws that explains ``Q``.

    Source: DerSimonian and Laird, "Meta-analysis in clinical trials", 1986.
    """
    wide = float(norm.ppf(0.975))
    logs = np.log([draw.mean for draw in draws])
    own = (np.log([draw.high / draw.low for draw in draws]) / (2 * wide)) ** 2
    weights = 1 / own
    excess = (weights * (logs - np.average(logs, weights=weights)) ** 2).sum() - (len(draws) - 1)
    scale = weights.sum() - (weights**2).sum() / weights.sum()
    between_draws = max(0.0, excess / scale) if len(draws) > 1 else 0.0
    weights = 1 / (own + between_draws)
    mean, half = np.average(logs, weights=weights), wide * weights.sum() ** -0.5
    low, middle, high = np.exp([mean - half, mean, mean + half]).tolist()
    return Estimate(mean=middle, low=low, high=high, images=sum(draw.images for draw in draws))


def _groups(values: Table) -> list[tuple[Any, ...]]:
    return [(group,) for group in values.index.get_level_values("group")]


def by_item(rows: Table, measure: str) -> Table:
    """One row per item, with "group" and "item" in the index; one column per method."""
    return rows.pivot_table(index=["group", "item"], columns="method", values=measure)


def with_numbers(table: Table) -> Table:
    """The table with a numeric type for columns that have no value, which pandas would give the type object."""
    return table.astype({name: float for name in table.columns if table[name].isna().all()})


def decide(found: Estimate, threshold: float = 0.0) -> Verdict:
    """Whether a number exceeds a threshold, by its interval; undecided without an interval."""
    return "holds" if found.low > threshold else "does not hold" if found.high < threshold else "undecided at this size"


def drawn_weights(members: Sequence[Sequence[Any]], generator: np.random.Generator) -> Float[np.ndarray, "draws n"]:
    """The weights of values in each draw of the bootstrap; see the module."""
    names = sorted({image for which in members for image in which})
    place = {name: index for index, name in enumerate(names)}
    places = np.array([[place[image] for image in which] for which in members])
    counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=_DRAWS)
    return counts[:, places].prod(2).astype(np.float64)


@functools.lru_cache(maxsize=4)
def _weights(members: tuple[tuple[Any, ...], ...]) -> Float[np.ndarray, "draws n"]:
    """Weights of `drawn_weights`, once for all measures of the same items."""
    return drawn_weights(members, np.random.default_rng(0))


def _ratio(above: Float[np.ndarray, "*n"], below: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Nan for draws with a zero denominator."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _from_draws(mean: float, draws: Float[np.ndarray, " draws"], members: Sequence[Sequence[Any]]) -> Estimate:
    images, low, high = _images(members), math.nan, math.nan
    if images >= FEWEST and np.isfinite(draws).any():
        low, high = map(float, np.nanpercentile(draws, (2.5, 97.5)))
    return Estimate(mean=mean, low=low, high=high, images=images)


def _images(members: Sequence[Sequence[Any]]) -> int:
    return len({image for which in members for image in which})
