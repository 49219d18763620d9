"""The singular spectrum of the Jacobian from latent to feature, over levels: how fast it falls, how many count."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from latentedit.core.rng import stream
from latentedit.models.feature_jacobian import FeatureJacobian, FeatureMap
from latentedit_bench.analysis.base import Analysis, Claim, Conclusion, Item, Row
from latentedit_bench.analysis.plotting import COLOURS, GREY, draw_levels, panels
from latentedit_bench.analysis.study import Study
from latentedit_bench.metrics.statistics import Table, by_level, rise


@dataclasses.dataclass(frozen=True, slots=True)
class Spectrum(Analysis):
    """Rows of a picture at a level: singular values 1 to ``rank``, and the whole Frobenius norm from random probes.

    ``|J|_F^2 = E |J g|^2`` for standard normal g; the stable rank ``|J|_F^2 / s_1^2`` says how many directions as
    strong as the first the map has in all. The control is a matrix of independent normal entries with the same sides
    and the same norm: by Marchenko and Pastur its singular values are nearly equal, and its stable rank is
    ``m n / (sqrt(m) + sqrt(n))^2``.

    Args:
        rank: singular values that are computed.
        probes: of the Frobenius norm.
    """

    name: ClassVar[str] = "spectrum"
    title: ClassVar[str] = "Singular spectrum of the local basis over levels"

    rank: int = 20
    probes: int = 32

    def items(self, study: Study) -> Sequence[Item]:
        """A picture at a level."""
        return [(picture, level) for level in study.levels for picture in range(len(study))]

    def measure(self, study: Study, item: Item) -> list[Row]:
        """The spectrum there."""
        picture, level = int(item[0]), float(item[1])
        basis = study.basis(picture, level, rank=self.rank)
        feature = FeatureMap(backbone=study.backbone, site=study.site, level=basis.level, condition=basis.condition)
        jacobian = FeatureJacobian(feature, basis.trace.top)
        probe = torch.randn(
            self.probes, *jacobian.in_shape, generator=stream(study.seed, "spectrum probes", picture)
        ).to(basis.v)
        norm = float(jacobian.matmat(probe).double().square().flatten(1).sum(1).mean().sqrt())
        s = basis.singular_values.double()
        sides = [float(np.sqrt(np.prod(shape))) for shape in (jacobian.in_shape, jacobian.out_shape)]
        about = {
            "picture": picture,
            "level": level,
            "frobenius": norm,
            "stable_rank": norm**2 / float(s[0]) ** 2,
            "random_stable_rank": (sides[0] * sides[1] / sum(sides)) ** 2,
            "energy": float(s.square().sum()) / norm**2,
        }
        values = enumerate(s.tolist(), start=1)
        return [{**about, "index": index, "value": value, "share": value / float(s[0])} for index, value in values]

    def conclude(self, table: Table) -> Conclusion:
        """Stable rank over levels, and how much it grows towards the picture."""
        claims, parts, words = list[Claim](), list[Table](), list[str]()
        for model, part in table.groupby("model", sort=False):
            first = part[part["index"] == 1]
            levels = by_level(first, "stable_rank", members=["picture"])
            parts.append(levels.assign(model=model, measure="stable rank", null=first["random_stable_rank"].mean()))
            tenth = by_level(part[part["index"] == min(10, self.rank)], "share", members=["picture"])
            parts.append(tenth.assign(model=model, measure=f"s_{min(10, self.rank)} / s_1", null=np.nan))
            top, low = levels["level"].max(), levels["level"].min()
            grows = rise(first, "stable_rank", members=["picture"], start=top, end=low)
            claims.append(
                Claim.of(
                    "the spectrum is steep near noise and flattens as the level falls",
                    str(model),
                    f"growth of the stable rank from level {top:.2f} to {low:.2f}",
                    grows,
                )
            )
            words.append(
                f"{model}: the stable rank goes from {levels['mean'].iloc[0]:.1f} at {top:.2f} to "
                f"{levels['mean'].iloc[-1]:.1f} at {low:.2f} (random: {first['random_stable_rank'].mean():.0f})"
            )
        return Conclusion(line="; ".join(words), claims=tuple(claims), summary=pd.concat(parts, ignore_index=True))

    def draw(self, table: Table, figure: Figure) -> None:
        """Values in units of the first, a line a level; below, the stable rank over levels."""
        models = list(dict.fromkeys(table["model"]))
        axes = panels(figure, models, rows=2)
        for column, model in enumerate(models):
            part = table[table["model"] == model]
            upper, lower = axes[0][column], axes[1][column]
            for colour, (level, rows) in zip(COLOURS * 9, reversed(list(part.groupby("level"))), strict=False):
                spread = rows.groupby("index")["share"]
                upper.plot(spread.mean(), color=colour, label=f"level {level:.2f}")
                upper.fill_between(spread.min().index, spread.min(), spread.max(), color=colour, alpha=0.12)
            upper.axhline(1, color=GREY, linestyle="--", linewidth=1.2, label="random matrix (nearly)")
            upper.set_yscale("log")
            upper.set_xlabel("index k")
            upper.set_ylabel("s_k / s_1  (band: all pictures)")
            upper.legend(fontsize=7)
            first = part[part["index"] == 1]
            draw_levels(
                lower, by_level(first, "stable_rank", members=["picture"]), label="mean, 95 %", colour=COLOURS[0]
            )
            lower.axhline(first["random_stable_rank"].mean(), color=GREY, linestyle="--", label="random matrix")
            lower.set_yscale("log")
            lower.set_ylabel("stable rank  |J|_F^2 / s_1^2")
            lower.legend(fontsize=7)
