"""The singular spectrum of the Jacobian from latent to feature, over levels: how fast it falls, how many count."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.axes import Axes

from latentedit.core.rng import stream
from latentedit.models.feature_jacobian import FeatureJacobian, FeatureMap
from latentedit_bench.experiments.base import Row, Unit
from latentedit_bench.experiments.controls import NETWORKS, against_control, of_network
from latentedit_bench.experiments.geometry import QUICK, UNSUPERVISED, Found, Geometry
from latentedit_bench.experiments.plotting import GREY, draw_networks, draw_spread, falling_levels, finish
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.statistics import Table, by_level, rise


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum(Geometry):
    """Rows of a picture at a level: singular values 1 to ``rank``, and the whole Frobenius norm from random probes.

    ``|J|_F^2 = E |J g|^2`` for standard normal g; the stable rank ``|J|_F^2 / s_1^2`` says how many directions as
    strong as the first the map has in all. It grows by factors, so its logarithm is compared. The control is the
    untrained twin of the network at the same latents, whose growth the architecture and the latents make by themselves.
    A matrix of independent normal entries with the same sides is beside it: by Marchenko and Pastur its singular values
    are nearly equal, and its stable rank is ``m n / (sqrt(m) + sqrt(n))^2``.

    Args:
        probes: of the Frobenius norm.
    """

    name: ClassVar[str] = "geometry-spectrum"
    minutes: ClassVar[int] = 15
    title: ClassVar[str] = "Singular spectrum of the local basis over levels"
    paper: ClassVar[str] = UNSUPERVISED
    statement: ClassVar[str] = "the spectrum of the Jacobian is steep near noise and flattens towards the picture"
    statistic: ClassVar[str] = (
        "growth of log10 of the stable rank |J|_F^2 / s_1^2 from the highest to the lowest level, of the trained "
        "network less that of its untrained twin"
    )
    smaller: ClassVar[Mapping[str, Any]] = {**QUICK, "probes": 4}
    panel_rows: ClassVar[int] = 2

    probes: int = 8

    @property
    def evaluations(self) -> int:
        """Of the probes: one of the feature, and a forward derivative each."""
        return self.bases * (1 + 2 * self.probes)

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
            "log_stable_rank": 2 * math.log10(norm / float(s[0])),
            "random_stable_rank": (sides[0] * sides[1] / sum(sides)) ** 2,
            "energy": float(s.square().sum()) / norm**2,
        }
        values = enumerate(s.tolist(), start=1)
        return [{**about, "index": index, "value": value, "share": value / float(s[0])} for index, value in values]

    def of_model(self, part: Table) -> Found:
        """Stable rank over levels, and how much it grows towards the picture."""
        first, last = part[part["index"] == 1], part[part["index"] == part["index"].max()]
        top, low = part["level"].max(), part["level"].min()
        parts = list[Table]()
        for network in NETWORKS:
            ranks = by_level(of_network(first, network), "stable_rank")
            shares = by_level(of_network(last, network), "share")
            parts.append(ranks.assign(network=network, measure="stable rank", null=first["random_stable_rank"].mean()))
            parts.append(shares.assign(network=network, measure=f"s_{part['index'].max()} / s_1", null=np.nan))
        return against_control(
            first,
            "log_stable_rank",
            ("picture", "level"),
            lambda rows: rise(rows, "log_stable_rank", start=top, end=low),
            "the spectrum is steep near noise and flattens as the level falls",
            f"growth of log10 of the stable rank from level {top:.2f} to {low:.2f}",
        ), parts

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """Values of the trained network in units of the first, a line a level; below, the stable rank over levels."""
        upper, lower = axes
        for colour, (level, rows) in falling_levels(of_network(part, "trained")):
            draw_spread(upper, rows, "index", "share", label=f"level {level:.2f}", colour=colour)
        upper.axhline(1, color=GREY, linestyle="--", linewidth=1.2, label="random matrix (nearly)")
        upper.set_yscale("log")
        upper.set_xlabel("index k")
        finish(upper, "s_k / s_1  (band: all pictures)")
        first = part[part["index"] == 1]
        draw_networks(lower, first, "stable_rank")
        lower.axhline(first["random_stable_rank"].mean(), color=GREY, linestyle="--", label="random matrix")
        lower.set_yscale("log")
        finish(lower, "stable rank  |J|_F^2 / s_1^2")
