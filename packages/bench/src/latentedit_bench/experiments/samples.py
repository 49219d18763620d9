"""Distances between the tangent spaces of different pictures, over levels; and in models of simple and complex data."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentedit.core.errors import ConfigError, nearest
from latentedit.core.geometry.grassmann import geodesic_distance, random_level
from latentedit.directions.local_basis import LocalBasis
from latentedit_bench.experiments.base import Outcome, Row, Unit
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.geometry import QUICK, RIEMANNIAN, Found, Geometry
from latentedit_bench.experiments.plotting import COLOURS, draw_column, draw_subspace_null, finish, panels
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.statistics import Estimate, Table, by_level, drawn_weights, interval, rise

SPACES = {"h": "feature tangent spaces (u)", "x": "latent tangent spaces (v)"}

DISTANCE = "geodesic distance / largest possible"
"""What plots call the distance."""

_PAIR = ("first", "second")

_KINDS = {"pixels-discs": "4 numbers a picture", "pixels-portraits": "12 attributes a picture"}
"""What the pictures of the bundled pixel models are made of."""


def compared(bases: Sequence[LocalBasis], space: str, *, seed: int) -> Iterator[tuple[int, int, dict[str, float]]]:
    """All pairs of bases in one space: two indices, and what is found of that pair as columns of a row.

    "distance" is the geodesic distance on the Grassmannian as a share of the largest, ``pi / 2 sqrt(r)``; "null",
    "null_low" and "null_high" are the level of random subspaces of the same dimensions, in the same unit.

    Args:
        bases: of one rank, at one site.
        space: one of `SPACES`.
        seed: of the random subspaces.
    """
    sets = [basis.u if space == "h" else basis.v for basis in bases]
    largest = math.pi / 2 * math.sqrt(len(sets[0]))
    null = random_level(sets[0][0].numel(), len(sets[0]), seed=seed)
    levels = {"null": null.mean, "null_low": null.low, "null_high": null.high}
    columns = {name: value / largest for name, value in levels.items()}
    for first, second in itertools.combinations(range(len(sets)), 2):
        yield first, second, {"distance": geodesic_distance(sets[first], sets[second]) / largest, **columns}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Samples(Geometry):
    """Rows of a pair of pictures at a level, in feature space and in latent space.

    "distance" is the geodesic distance on the Grassmannian as a share of the largest, ``pi / 2 sqrt(r)``; the null
    level is that of random subspaces of the same dimensions.
    """

    name: ClassVar[str] = "geometry-samples"
    title: ClassVar[str] = "Distance between the tangent spaces of different pictures"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "tangent spaces of different samples are alike near noise and diverge as the level falls"
    statistic: ClassVar[str] = (
        "growth of the mean geodesic distance between tangent spaces of the features from the highest to the lowest "
        "level, as a share of the largest distance"
    )

    def items(self, study: Study) -> Sequence[Unit]:
        """A level, at which all pairs are compared."""
        return [(level,) for level in study.levels]

    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """All pairs there."""
        level = float(item[0])
        bases = [study.basis(picture, level) for picture in range(len(study))]
        return [
            {"level": level, "space": space, "first": first, "second": second, **found}
            for space in SPACES
            for first, second, found in compared(bases, space, seed=study.seed)
        ]

    def of_model(self, part: Table) -> Found:
        """How much distances grow as the level falls, in each space."""
        found, parts = list[tuple[str, str, Estimate]](), list[Table]()
        for space, rows in part.groupby("space", sort=False):
            levels = _means(rows).assign(space=space)
            parts.append(levels)
            top, low = levels["level"].max(), levels["level"].min()
            grows = rise(rows, "distance", members=_PAIR, start=top, end=low)
            measure = f"growth of the distance in {space}-space from level {top:.2f} to {low:.2f}, share of the largest"
            said = "tangent spaces of different samples diverge as the level falls"
            found.append((said, measure, grows))
        return found, parts

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """A line a space; the random level in grey."""
        for colour, (space, label) in zip(COLOURS, SPACES.items(), strict=False):
            draw_column(axes[0], part[part["space"] == space], "distance", label=label, colour=colour, members=_PAIR)
        draw_subspace_null(axes[0], part)
        finish(axes[0], DISTANCE, unit_range=True)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DataSets(Samples):
    """The rows of `Samples`, in models that should differ in their data only.

    One network a data set was trained, so what another training of the same network would give is not in the
    intervals: they are of pictures.

    Cost: a basis of each picture an item, some 370 evaluations each at rank 10; none for those that are kept.

    Args:
        order: the models, from simple data to complex data; neighbours are compared.
    """

    name: ClassVar[str] = "geometry-datasets"
    title: ClassVar[str] = "Distance between tangent spaces: simple data (4 numbers) and complex data (12 attributes)"
    statement: ClassVar[str] = "simpler data gives more similar tangent spaces"
    statistic: ClassVar[str] = (
        "mean distance between pictures in the model of complex data less that in the model of simple data, in "
        "features, averaged over levels, as a share of the largest distance"
    )
    notes: ClassVar[tuple[str, ...]] = (
        "One network a data set was trained: what another training of it would give is not in the intervals.",
    )
    fewest_models: ClassVar[int] = 2
    smaller: ClassVar[Mapping[str, Any]] = {**QUICK, "models": tuple(_KINDS)}

    models: tuple[str, ...] = tuple(_KINDS)
    order: tuple[str, ...] = tuple(_KINDS)

    def items(self, study: Study) -> Sequence[Unit]:
        """A level, at which all pairs of one model's pictures are compared.

        Raises:
            ConfigError: a model of which the order says nothing.
        """
        if study.backbone.name not in self.order:
            raise ConfigError(
                f"{study.backbone.name!r} is none of the models that are ordered by their data: "
                f"{nearest(study.backbone.name, self.order)}"
            )
        return Samples.items(self, study)

    def conclude(self, rows: Table) -> Outcome:
        """By how much distances are larger in complex data than in simple data, in feature space.

        Raises:
            ConfigError: no level that they share.
        """
        parts = [
            _means(part).assign(model=model, space=space)
            for (model, space), part in rows.groupby(["model", "space"], sort=False)
        ]
        features, claims, words = rows[rows["space"] == "h"], list[Claim](), list[str]()
        for simple, complex_ in itertools.pairwise(self._ordered(rows)):
            first, second = (features[features["model"] == name] for name in (simple, complex_))
            levels = sorted({*first["level"]} & {*second["level"]}, reverse=True)
            if not levels:
                raise ConfigError(f"{simple} and {complex_} have no level in common. Name the levels")
            first, second = (part[part["level"].isin(levels)] for part in (first, second))
            found = {"averaged over levels": difference(second, first)}
            for level in levels:
                at_level = (part[part["level"] == level] for part in (second, first))
                found[f"at level {level:.2f}"] = difference(*at_level)
            claims += [
                Claim.of(
                    "simpler data gives more similar tangent spaces",
                    f"{simple} vs {complex_}",
                    f"distance in h-space of {complex_} less that of {simple}, {place}, share of the largest",
                    one,
                )
                for place, one in found.items()
            ]
            means = [_of_pairs(part)["distance"].mean() for part in (first, second)]
            over_all = found["averaged over levels"].text
            words.append(f"{simple} {means[0]:.2f}, {complex_} {means[1]:.2f}, difference {over_all}")
        line = (
            f"mean distance in h-space as a share of the largest, averaged over levels: {'; '.join(words)} (random: "
            f"{features['null'].mean():.2f}); one network was trained a data set, so training noise is not in the "
            "interval"
        )
        return Outcome(claims=tuple(claims), summary=pd.concat(parts, ignore_index=True), line=line)

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """A panel a space, a line a model; the random level in grey."""
        rows, titles = outcome.rows, [f"{SPACES[space]}, {space}-space" for space in SPACES]
        for axis, space in zip(panels(figure, titles)[0], SPACES, strict=True):
            part = rows[rows["space"] == space]
            for colour, model in zip(COLOURS * 9, self._ordered(rows), strict=False):
                label = f"{model} ({_KINDS[model]})" if model in _KINDS else model
                of_model = part[part["model"] == model]
                draw_column(axis, of_model, "distance", label=label, colour=colour, members=_PAIR)
            draw_subspace_null(axis, part)
            finish(axis, DISTANCE, unit_range=True)
        figure.suptitle("Tangent spaces of different pictures, from simple to complex data", fontsize=11)

    def _ordered(self, rows: Table) -> list[str]:
        """The models of the table, from simple to complex data."""
        return [name for name in self.order if name in set(rows["model"])]


def difference(larger: Table, smaller: Table, *, seed: int = 0) -> Estimate:
    """Mean distance of one set of pictures less that of another; pictures of both are drawn independently.

    As in `statistics`, the bootstrap draws pictures: the distance of a pair (i, j) has the weight ``k_i k_j``.

    Args:
        larger: rows with "first", "second" and "distance"; several rows of one pair are averaged first.
        smaller: of the other set, with the same columns.
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


def _means(rows: Table) -> Table:
    """Over levels, beside what random subspaces have."""
    null = rows[["null", "null_low", "null_high"]].mean().to_dict()
    return by_level(rows, "distance", members=_PAIR).assign(**null)


def _of_pairs(part: Table) -> Table:
    return part.groupby(list(_PAIR), as_index=False)["distance"].mean()


def _drawn_means(pairs: Table, generator: np.random.Generator) -> Float[np.ndarray, " draws"]:
    """Weighted means of a set's distances, one a draw of its pictures; nan where one picture alone was drawn."""
    weights = drawn_weights(pairs[list(_PAIR)].to_numpy().tolist(), generator)
    total = weights.sum(1)
    return np.where(total > 0, weights @ pairs["distance"].to_numpy() / np.maximum(total, 1), np.nan)
