"""The singular spectrum of the Jacobian from latent to feature, over levels: how fast it falls, how many count."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.axes import Axes

from latentedit.core.rng import stream
from latentedit.models.feature_jacobian import FeatureJacobian, FeatureMap
from latentedit_bench.experiments.base import Row, Unit
from latentedit_bench.experiments.geometry import QUICK, UNSUPERVISED, Found, Geometry
from latentedit_bench.experiments.plotting import COLOURS, GREY, draw_column, draw_spread, falling_levels, finish
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.statistics import Table, by_level, rise


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum(Geometry):
    """Rows of a picture at a level: singular values 1 to ``rank``, and the whole Frobenius norm from random probes.

    ``|J|_F^2 = E |J g|^2`` for standard normal g; the stable rank ``|J|_F^2 / s_1^2`` says how many directions as
    strong as the first the map has in all. The control is a matrix of independent normal entries with the same sides
    and the same norm: by Marchenko and Pastur its singular values are nearly equal, and its stable rank is
    ``m n / (sqrt(m) + sqrt(n))^2``.

    Args:
        probes: of the Frobenius norm.
    """

    name: ClassVar[str] = "geometry-spectrum"
    title: ClassVar[str] = "Singular spectrum of the local basis over levels"
    paper: ClassVar[str] = UNSUPERVISED
    statement: ClassVar[str] = "the spectrum of the Jacobian is steep near noise and flattens towards the picture"
    statistic: ClassVar[str] = "growth of the stable rank |J|_F^2 / s_1^2 from the highest to the lowest level"
    smaller: ClassVar[Mapping[str, Any]] = {**QUICK, "probes": 8}
    panel_rows: ClassVar[int] = 2

    probes: int = 16

    @property
    def settings(self) -> Mapping[str, Any]:
        """How many singular values, and how many probes."""
        return {"rank": self.rank, "probes": self.probes}

    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """The spectrum there."""
        picture, level = int(item[0]), float(item[1])
        basis = study.basis(picture, level)
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

    def of_model(self, part: Table) -> Found:
        """Stable rank over levels, and how much it grows towards the picture."""
        first, tenth = part[part["index"] == 1], part[part["index"] == min(10, self.rank)]
        ranks, shares = by_level(first, "stable_rank"), by_level(tenth, "share")
        top, low = ranks["level"].max(), ranks["level"].min()
        grows = rise(first, "stable_rank", start=top, end=low)
        measure = f"growth of the stable rank from level {top:.2f} to {low:.2f}"
        return [("the spectrum is steep near noise and flattens as the level falls", measure, grows)], [
            ranks.assign(measure="stable rank", null=first["random_stable_rank"].mean()),
            shares.assign(measure=f"s_{min(10, self.rank)} / s_1", null=np.nan),
        ]

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """Values in units of the first, a line a level; below, the stable rank over levels."""
        upper, lower = axes
        for colour, (level, rows) in falling_levels(part):
            draw_spread(upper, rows, "index", "share", label=f"level {level:.2f}", colour=colour)
        upper.axhline(1, color=GREY, linestyle="--", linewidth=1.2, label="random matrix (nearly)")
        upper.set_yscale("log")
        upper.set_xlabel("index k")
        finish(upper, "s_k / s_1  (band: all pictures)")
        first = part[part["index"] == 1]
        draw_column(lower, first, "stable_rank", label="mean", colour=COLOURS[0])
        lower.axhline(first["random_stable_rank"].mean(), color=GREY, linestyle="--", label="random matrix")
        lower.set_yscale("log")
        finish(lower, "stable rank  |J|_F^2 / s_1^2")
