"""Distances between the tangent spaces at different levels of one picture's trajectory."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from latentedit.core.errors import ConfigError
from latentedit_bench.experiments.base import Row, Unit
from latentedit_bench.experiments.controls import NETWORKS, Number, of_network
from latentedit_bench.experiments.geometry import QUICK, RIEMANNIAN, Found, Geometry
from latentedit_bench.experiments.plotting import COLOURS, arms, draw_subspace_null, finish
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import DISTANCE, SPACES, at_each_rank, at_fitted_rank, compared
from latentedit_bench.metrics.statistics import Table, estimate

_LEVELS = 3
"""Fewest levels: of fewer, no two pairs are differently far apart."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory(Geometry):
    """Rows of a pair of levels of one picture, in feature space and in latent space, at each rank.

    "distance" is the geodesic distance on the Grassmannian as a share of the largest, ``pi / 2 sqrt(r)``. That two
    levels differ at all can hardly fail; what can is that they differ the more, the further they are apart, and by
    more than in the untrained twin at the same latents: "slope" is the least-squares slope of the distance over ``|s -
    s'|`` within a picture. Random subspaces of the same dimensions are beside it.
    """

    name: ClassVar[str] = "geometry-trajectory"
    minutes: ClassVar[int] = 13
    title: ClassVar[str] = "Distance between the tangent spaces at different levels of one trajectory"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "the further apart two levels of one trajectory, the further apart their tangent spaces"
    statistic: ClassVar[str] = (
        "growth of the distance with |s - s'|, in features, as a share of the largest distance for a whole level, of "
        "the trained network less that of its untrained twin; at the rank that the spectrum supports"
    )
    smaller: ClassVar[Mapping[str, Any]] = {**QUICK, "levels": (0.95, 0.7, 0.5)}
    panel_rows: ClassVar[int] = 2
    share_y: ClassVar[bool] = False

    def items(self, study: Study) -> Sequence[Unit]:
        """A picture, of which all pairs of levels are compared.

        Raises:
            ConfigError: fewer than three levels, of which no two pairs are differently far apart.
        """
        if len(study.levels) < _LEVELS:
            raise ConfigError(f"levels of one trajectory are compared, and there are {len(study.levels)}. Name three")
        return [(picture,) for picture in range(len(study))]

    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """All pairs of its levels."""
        picture, levels = int(item[0]), study.levels
        bases = [study.basis(picture, level) for level in levels]
        return [
            {"picture": picture, "space": space, "level": levels[first], "other": levels[second], **found}
            for space in SPACES
            for first, second, found in compared(bases, space, seed=study.seed)
        ]

    def of_model(self, part: Table) -> Found:
        """How distances follow how far levels are apart, in each space."""
        found, parts = list[Number](), list[Table]()
        for space, rows in part.groupby("space", sort=False):
            own = at_fitted_rank(rows)
            parts += [_means(of_network(own, one)).assign(space=space, network=one) for one in NETWORKS]
            found += at_each_rank(
                _slopes(rows),
                "slope",
                ("picture",),
                lambda some: estimate(some["slope"].tolist(), some[["picture"]].to_numpy().tolist()),
                self.statement,
                f"growth of the distance with |s - s'| in {space}-space, share of the largest for a whole level",
            )
        return found, parts

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """A map of all pairs of levels of the trained network; below, distance over how far levels are apart."""
        own = at_fitted_rank(part[part["space"] == "h"])
        _draw_map(axes[0], of_network(own, "trained"))
        _draw_gaps(axes[1], own)


def _slopes(part: Table) -> Table:
    """Of each picture, network and rank: the slope of the distance over how far two levels are apart."""
    rows: list[Row] = []
    for (network, rank, picture), same in part.groupby(["network", "rank", "picture"], sort=False):
        away = same["level"] - same["other"]
        slope = float(np.polyfit(away, same["distance"], 1)[0])
        about: Row = {"network": str(network), "rank": int(str(rank)), "picture": int(str(picture))}
        rows.append(about | {"gap": float(same["gap"].mean()), "slope": slope})
    return pd.DataFrame(rows)


def _means(part: Table) -> Table:
    """Mean and interval over pictures of each pair of levels."""
    rows: list[dict[str, float | str]] = []
    for (level, other), same in part.groupby(["level", "other"], sort=False):
        found = estimate(same["distance"].tolist(), same[["picture"]].to_numpy().tolist())
        nulls = same[["null", "null_low", "null_high"]].mean().to_dict()
        rows.append({"level": float(str(level)), "other": float(str(other)), **dataclasses.asdict(found), **nulls})
    return pd.DataFrame(rows)


def _draw_map(axis: Axes, part: Table) -> None:
    """Means over pictures."""
    means = part.groupby(["level", "other"])["distance"].mean()
    levels = sorted({*part["level"], *part["other"]}, reverse=True)
    place = {level: index for index, level in enumerate(levels)}
    cells = np.full((len(levels), len(levels)), np.nan)
    for (level, other), value in means.items():
        cells[place[level], place[other]] = cells[place[other], place[level]] = value
    shown = axis.imshow(cells, vmin=0, vmax=1, cmap="viridis")
    for row, column in np.argwhere(np.isfinite(cells)):
        value = cells[row, column]
        colour = "white" if value < 0.6 else "black"
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    ticks = range(len(levels)), [f"{level:.2f}" for level in levels]
    axis.set_xticks(*ticks)
    axis.set_yticks(*ticks)
    axis.grid(visible=False)
    axis.set_xlabel("level s'")
    axis.set_ylabel("level s")
    axis.set_title(
        f"{part['model'].iloc[0]}, features, rank {part['rank'].iloc[0]:.0f}\n"
        f"(random subspaces: {part['null'].mean():.2f})",
        fontsize=9,
    )
    axis.figure.colorbar(shown, ax=axis, label=DISTANCE)


def _draw_gaps(axis: Axes, part: Table) -> None:
    """A point a pair of levels, with its interval over pictures, of both networks."""
    for colour, network in zip(COLOURS, NETWORKS, strict=False):
        found = _means(of_network(part, network))
        away = found["level"] - found["other"]
        label = f"{network}, 95 %"
        axis.errorbar(
            away, found["mean"], yerr=arms(found), fmt="o", markersize=4, elinewidth=1, color=colour, label=label
        )
    draw_subspace_null(axis, part)
    axis.set_xlim(0, 1)
    axis.set_title("distance over difference of levels", fontsize=9)
    axis.set_xlabel("|s - s'|")
    finish(axis, DISTANCE, unit_range=True)
