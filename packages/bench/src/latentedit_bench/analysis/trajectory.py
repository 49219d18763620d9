"""Distances between the tangent spaces at different levels of one picture's trajectory."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentedit.core.errors import ConfigError
from latentedit_bench.analysis.base import Analysis, Claim, Conclusion, Item, Row
from latentedit_bench.analysis.plotting import COLOURS, draw_null, panels
from latentedit_bench.analysis.samples import SPACES, compared
from latentedit_bench.analysis.study import Study
from latentedit_bench.metrics.statistics import Estimate, Table, correlation, estimate, permutation_level


@dataclasses.dataclass(frozen=True, slots=True)
class Trajectory(Analysis):
    """Rows of a pair of levels of one picture, in feature space and in latent space ("what" is "levels").

    "distance" is the geodesic distance on the Grassmannian as a share of the largest, ``pi / 2 sqrt(r)``. There are two
    controls: random subspaces of the same dimensions, and rows of two searches for one basis, at the highest and at the
    lowest level ("what" is "search"): what a search that starts elsewhere changes is no difference of levels.

    Cost: one basis a level and two more an item, some 370 evaluations each at rank 10; none for those that are kept.
    """

    name: ClassVar[str] = "trajectory"
    title: ClassVar[str] = "Distance between the tangent spaces at different levels of one trajectory"

    def items(self, study: Study) -> Sequence[Item]:
        """A picture, of which all pairs of levels are compared.

        Raises:
            ConfigError: a single level.
        """
        if len(study.levels) < 2:
            raise ConfigError(f"expected two levels or more to compare; got {len(study.levels)}. Name more levels")
        return [(picture,) for picture in range(len(study))]

    def measure(self, study: Study, item: Item) -> list[Row]:
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

    def conclude(self, table: Table) -> Conclusion:
        """How far neighbouring levels are apart, and whether levels that lie further apart are."""
        claims, parts, words = list[Claim](), list[Table](), list[str]()
        for (model, space), part in table.groupby(["model", "space"], sort=False):
            pairs = part[part["what"] == "levels"]
            gaps = (pairs["level"] - pairs["other"]).round(6).tolist()
            members = pairs[["picture"]].to_numpy().tolist()
            related = correlation(gaps, pairs["distance"].tolist(), members)
            chance = permutation_level(gaps, pairs["distance"].tolist())
            told = {"correlation": related.mean, "shuffled_low": chance[0], "shuffled_high": chance[1]}
            parts.append(_means(part).assign(model=model, space=space, **told))
            claims.append(
                Claim.of(
                    "tangent spaces differ between levels of one trajectory",
                    str(model),
                    f"distance of neighbouring levels in {space}-space less that of two searches, share of the largest",
                    _above_search(part),
                )
            )
            claims.append(
                Claim.of(
                    "the further apart two levels, the further apart their tangent spaces",
                    str(model),
                    f"rank correlation of |s - s'| with the distance in {space}-space",
                    related,
                )
            )
            search = part.loc[part["what"] == "search", "distance"]
            words.append(
                f"{model}, {space}: neighbouring levels {_neighbours(part)['distance'].mean():.2f}, two searches "
                f"{search.mean():.2f}, random {part['null'].mean():.2f}; rank correlation with |s - s'| "
                f"{related.text} (shuffled: {chance[0]:.2f} to {chance[1]:.2f})"
            )
        line = f"distance as a share of the largest: {'; '.join(words)}"
        return Conclusion(line=line, claims=tuple(claims), summary=pd.concat(parts, ignore_index=True))

    def draw(self, table: Table, figure: Figure) -> None:
        """A map of all pairs of levels in h-space; below, distance over how far levels are apart."""
        models = list(dict.fromkeys(table["model"]))
        axes = panels(figure, models, rows=2, share_y=False)
        for column, model in enumerate(models):
            part = table[table["model"] == model]
            _draw_map(axes[0][column], part[part["space"] == "h"], str(model), figure)
            _draw_gaps(axes[1][column], part)


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


def _draw_map(axis: Axes, part: Table, model: str, figure: Figure) -> None:
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
        f"{model}, h-space; random subspaces: {part['null'].mean():.2f}\n(diagonal: two searches, where made)",
        fontsize=9,
    )
    figure.colorbar(shown, ax=axis, label="geodesic distance / largest possible")


def _draw_gaps(axis: Axes, part: Table) -> None:
    """A point a pair of levels, with its interval over pictures; two searches as dotted lines."""
    told = ["distance over difference of levels"]
    for colour, space in zip(COLOURS, SPACES, strict=False):
        rows = part[part["space"] == space]
        pairs = rows[rows["what"] == "levels"]
        found = _means(pairs)
        arms = np.stack([found["mean"] - found["low"], found["high"] - found["mean"]]).clip(min=0)
        gaps = (pairs["level"] - pairs["other"]).round(6).tolist()
        related = correlation(gaps, pairs["distance"].tolist(), pairs[["picture"]].to_numpy().tolist())
        chance = permutation_level(gaps, pairs["distance"].tolist())
        told.append(f"{space}: rank correlation {related.text} (shuffled: {chance[0]:.2f} to {chance[1]:.2f})")
        label = f"{SPACES[space]}, 95 %"
        away = found["level"] - found["other"]
        axis.errorbar(away, found["mean"], yerr=arms, fmt="o", markersize=4, elinewidth=1, color=colour, label=label)
        search = rows.loc[rows["what"] == "search", "distance"].mean()
        axis.axhline(search, color=colour, linestyle=":", linewidth=1.2, label=f"two searches, {space}")
    null = part[["null", "null_low", "null_high"]].mean().tolist()
    draw_null(axis, *null, label="random subspaces")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.02)
    axis.set_title("\n".join(told), fontsize=8)
    axis.set_xlabel("|s - s'|")
    axis.set_ylabel("geodesic distance / largest possible")
    axis.legend(fontsize=6, loc="lower right")
