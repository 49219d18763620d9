"""Distances between the tangent spaces of different pictures, over levels; and in models of simple and complex data."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentedit.core.errors import ConfigError, nearest
from latentedit_bench.experiments.base import Outcome, Row, Unit
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.controls import NETWORKS, Number, less_control, of_network
from latentedit_bench.experiments.geometry import COVERAGE, QUICK, RIEMANNIAN, Found, Geometry
from latentedit_bench.experiments.plotting import (
    COLOURS,
    draw_column,
    draw_networks,
    draw_subspace_null,
    finish,
    panels,
)
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import DISTANCE, SPACES, at_each_rank, at_fitted_rank, compared
from latentedit_bench.metrics.statistics import Estimate, Table, by_level, drawn_weights, interval, rise

_PAIR = ("first", "second")

_KINDS = {"pixels-discs": "4 numbers a picture", "pixels-portraits": "12 attributes a picture"}
"""What the pictures of the bundled pixel models are made of."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Samples(Geometry):
    """Rows of a pair of pictures at a level, in feature space and in latent space, at each rank of `subspaces.RANKS`.

    "distance" is the geodesic distance on the Grassmannian as a share of the largest, ``pi / 2 sqrt(r)``. The rank
    after which the trained network's singular values fall most decides. The control is the untrained twin of the
    network at the same latents; the level of random subspaces of the same dimensions is beside it.
    """

    name: ClassVar[str] = "geometry-samples"
    minutes: ClassVar[int] = 13
    title: ClassVar[str] = "Distance between the tangent spaces of different pictures"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "tangent spaces of different samples are alike near noise and diverge as the level falls"
    statistic: ClassVar[str] = (
        "growth of the mean geodesic distance between tangent spaces of the features from the highest to the lowest "
        "level, as a share of the largest distance, of the trained network less that of its untrained twin; at the "
        "rank that the spectrum supports"
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
        found, parts = list[Number](), list[Table]()
        top, low = part["level"].max(), part["level"].min()
        for space, rows in part.groupby("space", sort=False):
            own = at_fitted_rank(rows)
            parts += [_means(of_network(own, network)).assign(space=space, network=network) for network in NETWORKS]
            found += at_each_rank(
                rows,
                "distance",
                (*_PAIR, "level"),
                lambda some: rise(some, "distance", members=_PAIR, start=top, end=low),
                "tangent spaces of different samples diverge as the level falls",
                f"growth of the distance in {space}-space from level {top:.2f} to {low:.2f}, share of the largest",
            )
        return found, parts

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """In feature space at the fitted rank: both networks; the random level in grey."""
        own = at_fitted_rank(part[part["space"] == "h"])
        draw_networks(axes[0], own, "distance", members=_PAIR)
        draw_subspace_null(axes[0], own)
        finish(axes[0], f"{DISTANCE}\n(features, rank {own['rank'].iloc[0]:.0f})", unit_range=True)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DataSets(Samples):
    """The rows of `Samples`, in models that should differ in their data only.

    What decides is a difference of differences: of the distance in complex data and that in simple data, trained less
    untrained, for networks on other pictures differ before they are trained. One network a data set was trained, so
    what another training of the same network would give is not in the intervals: they are of pictures.

    Args:
        order: names of the models, from simple data to complex data; neighbours are compared.
        numbers: of which a picture of the simplest data is made; of that rank its tangent spaces can be, and no more.
    """

    name: ClassVar[str] = "geometry-datasets"
    minutes: ClassVar[int] = 10
    title: ClassVar[str] = "Distance between tangent spaces: simple data (4 numbers) and complex data (12 attributes)"
    statement: ClassVar[str] = "simpler data gives more similar tangent spaces"
    statistic: ClassVar[str] = (
        "mean distance between pictures in the model of complex data less that in the model of simple data, each less "
        "that of its untrained twin, in features, averaged over levels, as a share of the largest distance; at the "
        "rank of the simple data, the numbers that a picture is made of"
    )
    notes: ClassVar[tuple[str, ...]] = (
        "One network a data set was trained: what another training of it would give is not in the intervals.",
        (
            "Discs lie anywhere and portraits in the middle, so place differs together with complexity. Sets that "
            "differ in complexity alone (a centred disc, a disc, one portrait, all portraits) ask for networks that "
            "were not trained; the experiment takes folders of models whose domain draws such pictures."
        ),
        COVERAGE,
    )
    fewest_models: ClassVar[int] = 2
    smaller: ClassVar[Mapping[str, Any]] = {**QUICK, "models": tuple(_KINDS)}

    models: tuple[str, ...] = tuple(_KINDS)
    levels: tuple[float, ...] = (0.7, 0.3)
    order: tuple[str, ...] = tuple(_KINDS)
    numbers: int = 4

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
        deciding = min(self.numbers, int(rows["rank"].max()))
        at_rank = rows[rows["rank"] == deciding]
        parts = [
            _means(part).assign(model=model, network=network, space=space)
            for (model, network, space), part in at_rank.groupby(["model", "network", "space"], sort=False)
        ]
        claims, words = list[Claim](), list[str]()
        for simple, complex_ in itertools.pairwise(self._ordered(rows)):
            found = self._numbers(rows[rows["space"] == "h"], (complex_, simple), deciding)
            claims += [
                Claim.of(
                    "simpler data gives more similar tangent spaces",
                    f"{simple} vs {complex_}",
                    f"distance in h-space of {complex_} less that of {simple}, {place}, share of the largest",
                    one,
                )
                for place, one in found.items()
            ]
            words.append(f"{complex_} less {simple}: {next(iter(found.values())).text}")
        line = (
            f"distance in features, trained less untrained, rank {deciding}, share of the largest: {'; '.join(words)}"
        )
        return Outcome(claims=tuple(claims), summary=pd.concat(parts, ignore_index=True), line=line)

    def _numbers(self, features: Table, models: tuple[str, str], deciding: int) -> dict[str, Estimate]:
        """Of two models, the complex one first: what decides; then of each network alone, by level, and by rank."""
        sets = [features[features["model"] == name] for name in models]
        levels = sorted({*sets[0]["level"]} & {*sets[1]["level"]}, reverse=True)
        if not levels:
            raise ConfigError(f"{models[1]} and {models[0]} have no level in common. Name the levels")
        sets = [part[part["level"].isin(levels)] for part in sets]
        less = [less_control(part, "distance", (*_PAIR, "level", "rank")) for part in sets]

        def apart(tables: Sequence[Table], **where: float | str) -> Estimate:
            chosen = [table[(table[list(where)] == list(where.values())).all(axis=1)] for table in tables]
            return difference(*chosen)

        ranks = sorted({*features["rank"]} - {deciding})
        return {
            f"trained less untrained, rank {deciding}": apart(less, rank=deciding),
            **{f"{name}, rank {deciding}": apart(sets, network=name, rank=deciding) for name in NETWORKS},
            **{
                f"trained less untrained, rank {deciding}, level {level:.2f}": apart(less, rank=deciding, level=level)
                for level in levels
            },
            **{f"trained less untrained, rank {rank:.0f}": apart(less, rank=rank) for rank in ranks},
        }

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """A panel a network, a line a model, in feature space; the random level in grey."""
        features = outcome.rows[outcome.rows["space"] == "h"]
        features = features[features["rank"] == min(self.numbers, int(features["rank"].max()))]
        for axis, network in zip(panels(figure, NETWORKS)[0], NETWORKS, strict=True):
            part = of_network(features, network)
            for colour, model in zip(COLOURS * 9, self._ordered(part), strict=False):
                label = f"{model} ({_KINDS[model]})" if model in _KINDS else model
                of_model = part[part["model"] == model]
                draw_column(axis, of_model, "distance", label=label, colour=colour, members=_PAIR)
            draw_subspace_null(axis, part)
            finish(axis, DISTANCE, unit_range=True)
        figure.suptitle("Feature tangent spaces of different pictures, from simple to complex data", fontsize=11)

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
