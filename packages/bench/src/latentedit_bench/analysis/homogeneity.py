"""Whether directions of different pictures are the same ones: each picture against the mean of the others."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.rng import stream
from latentedit.directions.global_directions import Mean, agreement, mean_directions
from latentedit_bench.analysis.base import Analysis, Claim, Conclusion, Item, Row
from latentedit_bench.analysis.plotting import COLOURS, draw_levels, draw_null, panels
from latentedit_bench.analysis.study import Study
from latentedit_bench.metrics.statistics import Estimate, Table, by_level, estimate, rise

MEASURES = {
    "captured": "energy of a global direction\nin a picture's tangent space",
    "matched": "|cos| of a picture's direction\nand the mean direction",
}
"""Columns of the rows, as the plot calls them; "null_captured" and "null_matched" are those of random subspaces."""


@dataclasses.dataclass(frozen=True, slots=True)
class Homogeneity(Analysis):
    """Rows of a picture and a global direction, at a level: what is made of the others, looked for in this one.

    The mean never includes the picture that it is compared with. "matched" is ``|cos|`` of the picture's own vector
    with the mean of matched vectors of the others (Hungarian), "captured" the share of the squared global direction of
    the others (the basis inside the mean of their feature tangent spaces) that lies in the picture's tangent space;
    None where those have no mean. The null level is the same with random subspaces of the same dimensions; what those
    capture has the same law under any mean, so theirs is the chordal one, which takes no search. A unit is a level: a
    local basis of each picture, which is shared, and no evaluations beside.

    Args:
        mean: of the tangent spaces.
    """

    name: ClassVar[str] = "homogeneity"
    title: ClassVar[str] = "Global directions: how much pictures have in common"
    fewest: ClassVar[int] = 3

    mean: Mean = "frechet"

    def items(self, study: Study) -> Sequence[Item]:
        """A level, at which every picture is compared with the others."""
        return [(level,) for level in study.levels]

    def measure(self, study: Study, item: Item) -> list[Row]:
        """Every picture and direction there, and as many random ones."""
        level = float(item[0])
        bases = [study.basis(picture, level) for picture in range(len(study))]
        sets = _coordinates([basis.u for basis in bases])
        null = _coordinates(_random_sets(len(bases), bases[0].u, seed=study.seed))
        rows: list[Row] = []
        for picture in range(len(study)):
            found, random = _left_out(sets, picture, self.mean), _left_out(null, picture, "chordal")
            for index in range(study.rank):
                row: Row = {"level": level, "picture": picture, "index": index + 1}
                row |= {column: values[index] for column, values in found.items()}
                rows.append(row | {f"null_{column}": values[index] for column, values in random.items()})
        return rows

    def conclude(self, table: Table) -> Conclusion:
        """Both measures over levels, and how much the captured energy falls towards the picture."""
        claims, parts, words = list[Claim](), list[Table](), list[str]()
        for model, rows in table.groupby("model", sort=False):
            name, part = str(model), _numbers(rows)
            for column in MEASURES:
                levels = by_level(part, column, members=["picture"])
                null = by_level(part, f"null_{column}", members=["picture"])
                parts.append(levels.assign(model=name, measure=column, null=null["mean"]))
            top, low = part["level"].max(), part["level"].min()
            claims.append(
                Claim.of(
                    "global directions agree between samples near noise and less later",
                    name,
                    f"captured energy at level {top:.2f} minus at {low:.2f}",
                    _growth(part, "captured", start=low, end=top),
                )
            )
            words.append(
                f"{name}: {_ends(part, 'captured')} of a global direction's energy, |cos| {_ends(part, 'matched')}"
            )
        line = f"what a picture shares with the mean of the others, from noise to picture: {'; '.join(words)}"
        return Conclusion(line=line, claims=tuple(claims), summary=pd.concat(parts, ignore_index=True))

    def draw(self, table: Table, figure: Figure) -> None:
        """A row a measure: the mean of all directions, the first one, and the random level in grey."""
        models = list(dict.fromkeys(table["model"]))
        axes = panels(figure, models, rows=len(MEASURES))
        for row, (column, label) in zip(axes, MEASURES.items(), strict=True):
            for axis, model in zip(row, models, strict=True):
                part = _numbers(table[table["model"] == model])
                everything = by_level(part, column, members=["picture"])
                first = by_level(part[part["index"] == 1], column, members=["picture"])
                rank = part["index"].max()
                draw_levels(axis, everything, label=f"mean of {rank} directions, 95 %", colour=COLOURS[0])
                draw_levels(axis, first, label="the first direction, 95 %", colour=COLOURS[1])
                null = part[f"null_{column}"].dropna()
                draw_null(axis, null.mean(), *null.quantile([0.025, 0.975]), label="random subspaces")
                axis.set_ylim(0, 1.02)
                axis.set_ylabel(label, fontsize=8)
                axis.legend(fontsize=7)


def _left_out(sets: Sequence[Tensor], picture: int, mean: Mean) -> dict[str, list[float | None]]:
    """One set against the means of the others."""
    others, own = [*sets[:picture], *sets[picture + 1 :]], [sets[picture]]
    _, matched = agreement(mean_directions(others, mean="hungarian").u, own)
    try:
        captured: list[float | None] = list(agreement(mean_directions(others, mean=mean).u, own)[0][0].tolist())
    except ConfigError:  # spaces that are too far apart have no mean
        captured = [None] * len(own[0])
    return {"matched": list(matched[0].tolist()), "captured": captured}


def _coordinates(sets: Sequence[Tensor]) -> list[Tensor]:
    """The same sets in an orthonormal basis of the span of all of them, in which angles and means are the same ones."""
    rows = torch.cat([one.detach().to("cpu", torch.float64).flatten(1) for one in sets])
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


def _numbers(part: Table) -> Table:
    """The rows of one model, with nan for what was not measured."""
    return part.astype({f"{prefix}{column}": float for column in MEASURES for prefix in ("", "null_")})


def _growth(part: Table, column: str, *, start: float, end: float) -> Estimate:
    """Between two levels; nothing where it is not measured at both."""
    told = part[part[column].notna()]
    if not {start, end} <= set(told["level"]):
        return estimate([], [])
    return rise(told, column, members=["picture"], start=start, end=end)


def _ends(part: Table, column: str) -> str:
    """A measure at the highest and at the lowest level, and of random subspaces."""
    top, low = part["level"].max(), part["level"].min()
    ends = [part.loc[part["level"] == level, column].mean() for level in (top, low)]
    null = part[f"null_{column}"].mean()
    return f"{ends[0]:.2f} at {top:.2f} to {ends[1]:.2f} at {low:.2f} (random: {null:.3f})"
