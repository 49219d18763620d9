"""Distances between the tangent spaces at different levels of one picture's trajectory."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from latentedit.core.errors import ConfigError
from latentedit_bench.experiments.base import Row, Unit
from latentedit_bench.experiments.geometry import RIEMANNIAN, Found, Geometry
from latentedit_bench.experiments.plotting import COLOURS, arms, draw_subspace_null, finish
from latentedit_bench.experiments.samples import DISTANCE, SPACES, compared
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.statistics import Estimate, Table, correlation, estimate, permutation_level


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory(Geometry):
    """Rows of a pair of levels of one picture, in feature space and in latent space ("what" is "levels").

    "distance" is the geodesic distance on the Grassmannian as a share of the largest, ``pi / 2 sqrt(r)``. There are two
    controls: random subspaces of the same dimensions, and rows of two searches for one basis, at the highest and at the
    lowest level ("what" is "search"): what a search that starts elsewhere changes is no difference of levels.

    Cost: one basis a level and two more an item, some 370 evaluations each at rank 10; none for those that are kept.
    """

    name: ClassVar[str] = "geometry-trajectory"
    title: ClassVar[str] = "Distance between the tangent spaces at different levels of one trajectory"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "tangent spaces differ between the levels of one trajectory"
    statistic: ClassVar[str] = (
        "mean distance of neighbouring levels less that of two searches for one basis, in features, as a share of the "
        "largest distance"
    )
    panel_rows: ClassVar[int] = 2
    share_y: ClassVar[bool] = False

    def items(self, study: Study) -> Sequence[Unit]:
        """A picture, of which all pairs of levels are compared.

        Raises:
            ConfigError: a single level.
        """
        if len(study.levels) < 2:
            raise ConfigError(
                f"levels of one trajectory are compared, and there is {len(study.levels)}. Name two or more"
            )
        return [(picture,) for picture in range(len(study))]

    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """All pairs of its levels, and two pairs of searches."""
        picture, levels = int(item[0]), study.levels
        bases = [study.basis(picture, level) for level in levels]
        again = {index: study.basis(picture, levels[index], seed=study.seed + 1) for index in (0, len(levels) - 1)}
        rows: list[Row] = []
        for space in SPACES:
            about = {"picture": picture, "space": space}
            for first, second, found in compared(bases, space, seed=study.seed):
                which = {"what": "levels", "level": levels[first], "other": levels[second]}
                rows.append({**about, **which, **found})
            for index, basis in again.items():
                which = {"what": "search", "level": levels[index], "other": levels[index]}
                for _, _, found in compared([bases[index], basis], space, seed=study.seed):
                    rows.append({**about, **which, **found})
        return rows

    def of_model(self, part: Table) -> Found:
        """How far neighbouring levels are apart, and whether levels that lie further apart are, in each space."""
        found, parts = list[tuple[str, str, Estimate]](), list[Table]()
        for space, rows in part.groupby("space", sort=False):
            related, chance = _follows_gap(rows)
            columns = {"correlation": related.mean, "shuffled_low": chance[0], "shuffled_high": chance[1]}
            parts.append(_means(rows).assign(space=space, **columns))
            near = f"distance of neighbouring levels in {space}-space less that of two searches, share of the largest"
            found.append(("tangent spaces differ between levels of one trajectory", near, _above_search(rows)))
            said = "the further apart two levels, the further apart their tangent spaces"
            found.append((said, f"rank correlation of |s - s'| with the distance in {space}-space", related))
        return found, parts

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """A map of all pairs of levels in h-space; below, distance over how far levels are apart."""
        _draw_map(axes[0], part[part["space"] == "h"])
        _draw_gaps(axes[1], part)


def _follows_gap(part: Table) -> tuple[Estimate, tuple[float, float]]:
    """Rank correlation of distance with how far two levels are apart, and what it is where gaps are shuffled."""
    pairs = part[part["what"] == "levels"]
    gaps, distances = (pairs["level"] - pairs["other"]).round(6).tolist(), pairs["distance"].tolist()
    return correlation(gaps, distances, pairs[["picture"]].to_numpy().tolist()), permutation_level(gaps, distances)


def _neighbours(part: Table) -> Table:
    """Rows of levels with none between them."""
    pairs = part[part["what"] == "levels"]
    levels = sorted({*pairs["level"], *pairs["other"]}, reverse=True)
    following = dict(itertools.pairwise(levels))
    return pairs[pairs["other"] == pairs["level"].map(following)]


def _above_search(part: Table) -> Estimate:
    """Of each picture: the mean over its neighbouring levels less the larger of its two pairs of searches."""
    near = _neighbours(part).groupby("picture")["distance"].mean()
    search = part[part["what"] == "search"].groupby("picture")["distance"].max()
    above = near - search
    return estimate(above.tolist(), [(int(picture),) for picture in above.index])


def _means(part: Table) -> Table:
    """Mean and interval over pictures of each pair of levels, and of each pair of searches."""
    rows: list[dict[str, float | str]] = []
    for (what, level, other), same in part.groupby(["what", "level", "other"], sort=False):
        found = estimate(same["distance"].tolist(), same[["picture"]].to_numpy().tolist())
        about = {"what": str(what), "level": float(str(level)), "other": float(str(other))}
        nulls = same[["null", "null_low", "null_high"]].mean().to_dict()
        rows.append({**about, **dataclasses.asdict(found), **nulls})
    return pd.DataFrame(rows)


def _draw_map(axis: Axes, part: Table) -> None:
    """Means over pictures; on the diagonal, two searches where they were made."""
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
        f"{part['model'].iloc[0]}, h-space; random subspaces: {part['null'].mean():.2f}\n"
        "(diagonal: two searches, where made)",
        fontsize=9,
    )
    axis.figure.colorbar(shown, ax=axis, label=DISTANCE)


def _draw_gaps(axis: Axes, part: Table) -> None:
    """A point a pair of levels, with its interval over pictures; two searches as dotted lines."""
    heads = ["distance over difference of levels"]
    for colour, space in zip(COLOURS, SPACES, strict=False):
        rows = part[part["space"] == space]
        pairs = rows[rows["what"] == "levels"]
        found = _means(pairs)
        related, chance = _follows_gap(rows)
        heads.append(f"{space}: rank correlation {related.text} (shuffled: {chance[0]:.2f} to {chance[1]:.2f})")
        label = f"{SPACES[space]}, 95 %"
        away = found["level"] - found["other"]
        sides = arms(found)
        axis.errorbar(away, found["mean"], yerr=sides, fmt="o", markersize=4, elinewidth=1, color=colour, label=label)
        search = rows.loc[rows["what"] == "search", "distance"].mean()
        axis.axhline(search, color=colour, linestyle=":", linewidth=1.2, label=f"two searches, {space}")
    draw_subspace_null(axis, part)
    axis.set_xlim(0, 1)
    axis.set_title("\n".join(heads), fontsize=8)
    axis.set_xlabel("|s - s'|")
    finish(axis, DISTANCE, unit_range=True)
