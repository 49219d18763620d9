"""Distances between the tangent spaces of different pictures, over levels."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import pandas as pd
from matplotlib.figure import Figure

from latentedit.core.geometry.grassmann import geodesic_distance, random_level
from latentedit.directions.local_basis import LocalBasis
from latentedit_bench.analysis.base import Analysis, Claim, Conclusion, Item, Row
from latentedit_bench.analysis.plotting import COLOURS, draw_levels, draw_null, panels
from latentedit_bench.analysis.study import Study
from latentedit_bench.metrics.statistics import Table, by_level, rise

SPACES = {"h": "feature tangent spaces (u)", "x": "latent tangent spaces (v)"}


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


@dataclasses.dataclass(frozen=True, slots=True)
class Samples(Analysis):
    """Rows of a pair of pictures at a level, in feature space and in latent space.

    "distance" is the geodesic distance on the Grassmannian as a share of the largest, ``pi / 2 sqrt(r)``; the null
    level is that of random subspaces of the same dimensions.
    """

    name: ClassVar[str] = "samples"
    title: ClassVar[str] = "Distance between the tangent spaces of different pictures"

    def items(self, study: Study) -> Sequence[Item]:
        """A level, at which all pairs are compared."""
        return [(level,) for level in study.levels]

    def measure(self, study: Study, item: Item) -> list[Row]:
        """All pairs there."""
        level = float(item[0])
        bases = [study.basis(picture, level) for picture in range(len(study))]
        rows: list[Row] = []
        for space in SPACES:
            for first, second, found in compared(bases, space, seed=study.seed):
                rows.append({"level": level, "space": space, "first": first, "second": second, **found})
        return rows

    def conclude(self, table: Table) -> Conclusion:
        """Mean distances at the highest level, where they are largest and at the lowest, and how much they grow."""
        claims, parts, words, chance = list[Claim](), list[Table](), list[str](), 1.0
        for names, part in table.groupby(["model", "space"], sort=False):
            model, space = names
            levels = by_level(part, "distance", members=["first", "second"])
            null = part[["null", "null_low", "null_high"]].mean()
            parts.append(levels.assign(model=model, space=space, **null.to_dict()))
            chance = null["null"]
            top, low = levels["level"].max(), levels["level"].min()
            claims.append(
                Claim.of(
                    "tangent spaces of different samples diverge as the level falls",
                    str(model),
                    f"growth of the distance in {space}-space from level {top:.2f} to {low:.2f}, share of the largest",
                    rise(part, "distance", members=["first", "second"], start=top, end=low),
                )
            )
            most = levels.iloc[levels["mean"].argmax()]
            shown = {float(row["level"]): float(row["mean"]) for row in (levels.iloc[0], most, levels.iloc[-1])}
            told = ", ".join(f"{mean:.2f} at {level:.2f}" for level, mean in shown.items())
            words.append(f"{model}, {space}: {told}")
        line = f"mean distance, as a share of the largest: {'; '.join(words)} (random: {chance:.2f})"
        return Conclusion(line=line, claims=tuple(claims), summary=pd.concat(parts, ignore_index=True))

    def draw(self, table: Table, figure: Figure) -> None:
        """A line a space; the random level in grey."""
        models = list(dict.fromkeys(table["model"]))
        for axis, model in zip(panels(figure, models)[0], models, strict=True):
            part = table[table["model"] == model]
            for colour, space in zip(COLOURS, SPACES, strict=False):
                rows = part[part["space"] == space]
                summary = by_level(rows, "distance", members=["first", "second"])
                draw_levels(axis, summary, label=SPACES[space], colour=colour)
            null = part[["null", "null_low", "null_high"]].mean().tolist()
            draw_null(axis, *null, label="random subspaces")
            axis.set_ylim(0, 1.02)
            axis.set_ylabel("geodesic distance / largest possible")
            axis.legend(fontsize=7)
