"""Whether directions of different pictures are the same ones: each picture against the mean of the others."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.rng import stream
from latentedit.directions.global_directions import Mean, agreement, mean_directions
from latentedit_bench.experiments.base import Row, Unit
from latentedit_bench.experiments.controls import NETWORKS, of_network
from latentedit_bench.experiments.geometry import UNSUPERVISED, Found, Geometry
from latentedit_bench.experiments.plotting import draw_networks, draw_null, finish
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import at_each_rank, at_fitted_rank, gaps
from latentedit_bench.metrics.statistics import Table, by_level, rise

MEASURES = {
    "captured": "energy of a global direction\nin a picture's tangent space",
    "matched": "|cos| of a picture's direction\nand the mean direction",
}
"""Columns of the rows, as the plot calls them; "null_captured" and "null_matched" are those of random subspaces."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Homogeneity(Geometry):
    """Rows of a picture and a global direction, at a level: what is made of the others, looked for in this one.

    The mean never includes the picture that it is compared with. "matched" is ``|cos|`` of the picture's own vector
    with the mean of matched vectors of the others (Hungarian), "captured" the share of the squared global direction of
    the others (the basis inside the mean of their feature tangent spaces) that lies in the picture's tangent space;
    None where those have no mean. Both are the mean over the directions of each rank of `subspaces.RANKS`; the rank
    after which the trained network's singular values fall most decides. The control is the untrained twin of the
    network at the same latents; random subspaces of the same dimensions are beside it. A unit is a level: a local basis
    of each picture, which is shared, and no evaluations beside.

    Args:
        mean: of the tangent spaces.
    """

    name: ClassVar[str] = "geometry-homogeneity"
    minutes: ClassVar[int] = 14
    title: ClassVar[str] = "Global directions: how much pictures have in common"
    paper: ClassVar[str] = UNSUPERVISED
    statement: ClassVar[str] = "directions agree between samples near noise, so that global ones exist, and less later"
    statistic: ClassVar[str] = (
        "share of a global direction's energy in a picture's tangent space at the highest level less at the lowest, of "
        "the trained network less that of its untrained twin; at the rank that the spectrum supports"
    )
    panel_rows: ClassVar[int] = 2
    fewest: ClassVar[int] = 3

    mean: Mean = "chordal"

    def items(self, study: Study) -> Sequence[Unit]:
        """A level, at which every picture is compared with the others."""
        return [(level,) for level in study.levels]

    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """Every picture there at every rank, and as many random subspaces."""
        level = float(item[0])
        bases = [study.basis(picture, level) for picture in range(len(study))]
        sets = _coordinates([basis.u for basis in bases])
        null = _coordinates(_random_sets(len(bases), bases[0].u, seed=study.seed))
        rows: list[Row] = []
        for rank, gap in gaps(bases).items():
            first, drawn = ([one[:rank] for one in some] for some in (sets, null))
            for picture in range(len(study)):
                row: Row = {"level": level, "picture": picture, "rank": rank, "gap": gap}
                row |= _left_out(first, picture, self.mean)
                found = _left_out(drawn, picture, "chordal")
                rows.append(row | {f"null_{column}": value for column, value in found.items()})
        return rows

    def of_model(self, part: Table) -> Found:
        """Both measures over levels, and how much the captured energy falls towards the picture."""
        top, low, own, parts = part["level"].max(), part["level"].min(), at_fitted_rank(part), list[Table]()
        for network, column in itertools.product(NETWORKS, MEASURES):
            rows = of_network(own, network)
            null = by_level(rows, f"null_{column}")["mean"]
            parts.append(by_level(rows, column).assign(network=network, measure=column, null=null))
        return at_each_rank(
            part,
            "captured",
            ("picture", "level"),
            lambda rows: rise(rows, "captured", start=low, end=top),
            "global directions agree between samples near noise and less later",
            f"captured energy at level {top:.2f} minus at {low:.2f}",
        ), parts

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """A row a measure, at the fitted rank: both networks, and the random level in grey."""
        own = at_fitted_rank(part)
        for axis, (column, label) in zip(axes, MEASURES.items(), strict=True):
            draw_networks(axis, own, column)
            null = own[f"null_{column}"].dropna()
            draw_null(axis, null.mean(), *null.quantile([0.025, 0.975]), label="random subspaces")
            finish(axis, f"{label}, rank {own['rank'].iloc[0]:.0f}", unit_range=True)


def _left_out(sets: Sequence[Tensor], picture: int, mean: Mean) -> dict[str, float | None]:
    """One set against the means of the others; the mean over its directions."""
    others, own = [*sets[:picture], *sets[picture + 1 :]], [sets[picture]]
    matched = agreement(mean_directions(others, mean="hungarian").u, own)[1]
    try:
        captured = float(agreement(mean_directions(others, mean=mean).u, own)[0].mean())
    except ConfigError:  # spaces that are too far apart have no mean
        captured = None
    return {"matched": float(matched.mean()), "captured": captured}


def _coordinates(sets: Sequence[Tensor]) -> list[Tensor]:
    """The same sets in an orthonormal basis of the span of all of them, in which angles and means are the same ones."""
    rows = torch.cat([one.detach().cpu().double().flatten(1) for one in sets])
    return list(torch.linalg.qr(rows.T, mode="r")[1].T.split([len(one) for one in sets]))


def _random_sets(count: int, like: Float[Tensor, "r *feature"], *, seed: int) -> list[Tensor]:
    """Random orthonormal sets of the shape of another, in float64."""
    drawn: list[Tensor] = []
    for index in range(count):
        noise = torch.randn(
            like[0].numel(), len(like), generator=stream(seed, "homogeneity null", index), dtype=torch.float64
        )
        drawn.append(torch.linalg.qr(noise)[0].T.reshape(like.shape))
    return drawn
