"""Distances between the tangent spaces of different pictures, in models of simple and of complex data."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from latentedit.core.errors import ConfigError, nearest
from latentedit_bench.analysis.base import Analysis, Claim, Conclusion, Item, Row
from latentedit_bench.analysis.plotting import COLOURS, draw_levels, draw_null, panels
from latentedit_bench.analysis.samples import SPACES, Samples
from latentedit_bench.analysis.study import Study
from latentedit_bench.metrics.statistics import Estimate, Table, by_level, drawn_weights, interval

_KINDS = {"pixels-discs": "4 numbers a picture", "pixels-portraits": "12 attributes a picture"}
"""What the pictures of the bundled pixel models are made of."""


@dataclasses.dataclass(frozen=True, slots=True)
class DataSets(Analysis):
    """Rows of a pair of pictures of one model at a level, as those of `Samples`, and with its null level.

    The models should differ in their data only. One network a data set was trained, so what another training of the
    same network would give is not in the intervals: they are of pictures.

    Cost: a basis of each picture an item, some 370 evaluations each at rank 10; none for those that are kept.

    Args:
        order: the models, from simple data to complex data; neighbours are compared.
    """

    name: ClassVar[str] = "datasets"
    title: ClassVar[str] = "Distance between tangent spaces: simple data (4 numbers) and complex data (12 attributes)"
    fewest_models: ClassVar[int] = 2
    models: ClassVar[tuple[str, ...]] = ("pixels-discs", "pixels-portraits")

    order: tuple[str, ...] = ("pixels-discs", "pixels-portraits")

    def items(self, study: Study) -> Sequence[Item]:
        """A level, at which all pairs of one model's pictures are compared.

        Raises:
            ConfigError: a model of which the order says nothing.
        """
        if study.backbone.name not in self.order:
            raise ConfigError(
                f"expected one of the models that are ordered by their data; got {study.backbone.name!r}: "
                f"{nearest(study.backbone.name, self.order)}"
            )
        return Samples().items(study)

    def measure(self, study: Study, item: Item) -> list[Row]:
        """All pairs there."""
        return Samples().measure(study, item)

    def conclude(self, table: Table) -> Conclusion:
        """By how much distances are larger in complex data than in simple data, in feature space.

        Raises:
            ConfigError: no level that they share.
        """
        names = self._ordered(table)
        parts = [
            by_level(part, "distance", members=["first", "second"]).assign(
                model=model, space=space, **part[["null", "null_low", "null_high"]].mean().to_dict()
            )
            for (model, space), part in table.groupby(["model", "space"], sort=False)
        ]
        features, claims, words = table[table["space"] == "h"], list[Claim](), list[str]()
        for simple, complex_ in itertools.pairwise(names):
            first, second = (features[features["model"] == name] for name in (simple, complex_))
            levels = sorted({*first["level"]} & {*second["level"]}, reverse=True)
            if not levels:
                raise ConfigError(f"expected levels that {simple} and {complex_} share; got none. Name the levels")
            first, second = (part[part["level"].isin(levels)] for part in (first, second))
            over_all = difference(second, first)
            places = [("averaged over levels", over_all)]
            for level in levels:
                at_level = (part[part["level"] == level] for part in (second, first))
                places.append((f"at level {level:.2f}", difference(*at_level)))
            claims += [
                Claim.of(
                    "simpler data gives more similar tangent spaces",
                    f"{simple} vs {complex_}",
                    f"distance in h-space of {complex_} less that of {simple}, {place}, share of the largest",
                    found,
                )
                for place, found in places
            ]
            means = [_of_pairs(part)["distance"].mean() for part in (first, second)]
            words.append(f"{simple} {means[0]:.2f}, {complex_} {means[1]:.2f}, difference {over_all.text}")
        line = (
            f"mean distance in h-space as a share of the largest, averaged over levels: {'; '.join(words)} (random: "
            f"{features['null'].mean():.2f}); one network was trained a data set, so training noise is not in the "
            "interval"
        )
        return Conclusion(line=line, claims=tuple(claims), summary=pd.concat(parts, ignore_index=True))

    def draw(self, table: Table, figure: Figure) -> None:
        """A panel a space, a line a model; the random level in grey."""
        titles = [f"{SPACES[space]}, {space}-space" for space in SPACES]
        for axis, space in zip(panels(figure, titles)[0], SPACES, strict=True):
            rows = table[table["space"] == space]
            for colour, model in zip(COLOURS * 9, self._ordered(table), strict=False):
                summary = by_level(rows[rows["model"] == model], "distance", members=["first", "second"])
                kind = f" ({_KINDS[model]})" if model in _KINDS else ""
                draw_levels(axis, summary, label=f"{model}{kind}, 95 %", colour=colour)
            draw_null(axis, *rows[["null", "null_low", "null_high"]].mean().tolist(), label="random subspaces")
            axis.set_ylim(0, 1.02)
            axis.set_ylabel("geodesic distance / largest possible")
            axis.legend(fontsize=7)
        figure.suptitle("Tangent spaces of different pictures, from simple to complex data", fontsize=11)

    def _ordered(self, table: Table) -> list[str]:
        """The models of the table, from simple to complex data."""
        return [name for name in self.order if name in set(table["model"])]


def difference(larger: Table, smaller: Table, *, seed: int = 0) -> Estimate:
    """Mean distance of one set of pictures less that of another; pictures of both are drawn independently.

    As in `statistics`, the bootstrap draws pictures: the distance of a pair (i, j) has the weight ``k_i k_j``.

    Args:
        larger: rows with "first", "second" and "distance"; several rows of one pair are averaged first.
        smaller: likewise, of the other set.
        seed: of the bootstrap.

    Returns:
        With the number of pictures of the smaller set.
    """
    generator = np.random.default_rng(seed)
    sets = [_of_pairs(part) for part in (larger, smaller)]
    drawn = [_drawn_means(part, generator) for part in sets]
    low, high = interval(drawn[0] - drawn[1])
    means = [float(part["distance"].mean()) for part in sets]
    counts = [len({*part["first"], *part["second"]}) for part in sets]
    return Estimate(mean=means[0] - means[1], low=low, high=high, pictures=min(counts))


def _of_pairs(part: Table) -> Table:
    return part.groupby(["first", "second"], as_index=False)["distance"].mean()


def _drawn_means(pairs: Table, generator: np.random.Generator) -> Float[np.ndarray, " draws"]:
    """Weighted means of a set's distances, one a draw of its pictures; nan where one picture alone was drawn."""
    weights = drawn_weights(pairs[["first", "second"]].to_numpy().tolist(), generator)
    total = weights.sum(1)
    return np.where(total > 0, weights @ pairs["distance"].to_numpy() / np.maximum(total, 1), np.nan)
