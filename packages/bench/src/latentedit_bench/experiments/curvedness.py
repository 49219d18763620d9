"""Whether the latent space is curved: how long different curves between the same ends are, and how much they turn."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from latentedit.core.geometry.curves import curve_energy, curve_length, semantic_lengths
from latentedit.core.geometry.geodesic import shortest_curve
from latentedit.core.geometry.interpolation import lerp, slerp
from latentedit.core.linalg.block_lanczos import truncated_svd
from latentedit.core.rng import draw, stream
from latentedit.directions.transport import DAMPING
from latentedit.models.feature_jacobian import FeatureJacobian, FeatureMap
from latentedit_bench.experiments.base import Row, Unit
from latentedit_bench.experiments.controls import against_control, of_network
from latentedit_bench.experiments.geometry import COVERAGE, QUICK, UNSUPERVISED, Found, Geometry
from latentedit_bench.experiments.plotting import COLOURS, GREY, arms, finish
from latentedit_bench.experiments.shooting import TangentBasis, shoot
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.statistics import Estimate, Table, estimate

_DEGREES, _PRODUCTS = 1.0, 60
"""Where a search for a tangent space ends: see `study`."""

METHODS = {"lerp": "lerp", "slerp": "slerp", "shooting": "shooting", "geodesic": "energy\ngeodesic"}
"""Curves, as the plot calls them."""

_WHERE = {"pair": "between two noisy pictures", "shot": "to the end of a shot"}
"""Where a curve goes."""

_MEASURES = {"semantic": "semantic length  (rad)", "feature": "length in features / that of lerp"}
_CLAIMS = (
    ("lerp is longer than slerp", "lerp", "slerp", "feature", "pair"),
    ("slerp is longer than the energy geodesic", "slerp", "geodesic", "feature", "pair"),
    ("slerp is longer than shooting", "slerp", "shooting", "semantic", "shot"),
    ("slerp is longer than shooting", "slerp", "shooting", "feature", "shot"),
)
"""Beside the one that decides: statement, the longer curve, the shorter one, by which measure, and where."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Curvedness(Geometry):
    """Rows of a curve between two latents at a level.

    A "pair" goes from one picture to another, each with a noise of its own, ``z = (1 - s) x + s e``: near noise the two
    stand at nearly a right angle, as the paper's ends do, and the straight line leaves the shell on which latents lie.
    Between them go the straight line, the arc, and the curve of least energy in feature space, which starts from the
    one of the two that has less and so is shorter than they nearly by construction. A "shot" starts at one of the
    pictures and follows the first direction of its tangent space on the shell; line and arc go to where it ends.
    "semantic" is the sum of the Grassmann distances of successive tangent spaces of the feature, in radians, "feature"
    the length in feature space as a share of that of lerp, all with the same number of segments; "turned" is the
    largest turn of one segment as a share of the largest possible: near 1 the curve is too coarse to tell. Pairs share
    no picture. The control is the untrained twin of the network, for line and arc of the same pairs.

    Args:
        segments: of every curve.
        tangents: rank of the tangent spaces; near noise the spectrum falls after the first.
        step: of the shot, as a share of the latent's norm.
        descents: most steps of the search for the least energy.
    """

    name: ClassVar[str] = "geometry-curvedness"
    minutes: ClassVar[int] = 28
    title: ClassVar[str] = "Lengths of curves: how curved the latent space is"
    paper: ClassVar[str] = UNSUPERVISED
    statement: ClassVar[str] = "semantic paths: lerp is longer than slerp, and slerp longer than geodesic shooting"
    statistic: ClassVar[str] = (
        "semantic length (sum of the Grassmann distances of successive tangent spaces, rad) of lerp less that of slerp "
        "between two pictures with noises of their own, of the trained network less that of its untrained twin"
    )
    notes: ClassVar[tuple[str, ...]] = (
        "The energy geodesic is searched for from lerp or slerp, and so is shorter nearly by construction.",
        COVERAGE,
    )
    smaller: ClassVar[Mapping[str, Any]] = {**QUICK, "pictures": 4, "levels": (0.95,), "segments": 3}
    panel_rows: ClassVar[int] = 2

    levels: tuple[float, ...] = (0.95,)
    segments: int = 5
    tangents: int = 2
    step: float = 0.05
    descents: int = 20

    @property
    def bases(self) -> int:
        """None of those that are shared."""
        return 0

    @property
    def evaluations(self) -> int:
        """Of half as many pairs as pictures: tangent spaces at about 50, and three a point and descent."""
        pair = 2 * self.segments * 50 * 2 + 3 * self.segments * self.descents
        shot = 2 * self.segments * 50 + self.segments * 50
        return len(self.models) * len(self.levels) * (self.pictures // 2) * (pair + shot)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Of the curves: segments, rank of their tangent spaces, step, and steps of the search for least energy."""
        sizes = {"segments": self.segments, "rank": self.tangents, "step": self.step}
        return {**sizes, "steps": self.descents}

    def items(self, study: Study) -> Sequence[Unit]:
        """Pairs that share no picture, and a shot from the first of each, at each level."""
        starts = range(0, len(study) - 1, 2)
        return [(level, ends, first) for level in study.levels for ends in _WHERE for first in starts]

    @torch.no_grad()
    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """Every curve between these ends; of an untrained network line and arc of a pair alone."""
        level, ends, first = float(item[0]), str(item[1]), int(item[2])
        untrained = study.trained is not None
        if ends == "shot" and untrained:
            return []
        place = _Place(study, level, rank=self.tangents, index=first)
        a, curves = noised(study, first, level), dict[str, Tensor]()
        bases: dict[str, Sequence[TangentBasis]] = {}
        if ends == "shot":
            start, step = place.basis_at(a, None), self.step * float(torch.linalg.vector_norm(a))
            shot = shoot(
                place.basis_at, a, start.u[0], step=step, segments=self.segments, damping=DAMPING, on_shell=True
            )
            curves["shooting"], bases["shooting"] = shot.points, shot.bases
            b = shot.points[-1]
        else:
            b = noised(study, first + 1, level)
        weights = torch.linspace(0, 1, self.segments + 1, dtype=torch.float64)
        curves |= {"lerp": lerp(a, b, weights), "slerp": slerp(a, b, weights)}
        for method in ("lerp", "slerp"):
            bases[method] = place.along(curves[method])
        if ends == "pair" and not untrained:
            least = min((curves["lerp"], curves["slerp"]), key=lambda points: curve_energy(place.feature(points)))
            curves["geodesic"] = shortest_curve(place.feature, least, steps=self.descents).points
        unit = curve_length(place.feature(curves["lerp"]))
        return [
            {"level": level, "ends": ends, "first": first, "method": method}
            | _turns(bases.get(method, ()))
            | {"feature": curve_length(place.feature(points)) / unit, "latent": curve_length(points)}
            for method, points in curves.items()
        ]

    def of_model(self, part: Table) -> Found:
        """The differences that the claims are about, and the mean lengths."""
        rows = list[dict[str, Any]]()
        for (network, ends, level, method), some in part.groupby(["network", "ends", "level", "method"], sort=False):
            for measure in (*_MEASURES, "turned"):
                about = {"network": network, "level": level, "kind": f"{ends}, {method}", "measure": measure}
                rows.append({**about, **dataclasses.asdict(_mean(some, measure))})
        claims = against_control(
            _longer(part, "lerp", "slerp", "semantic", "pair"),
            "longer",
            ("first", "level"),
            lambda some: _mean(some, "longer"),
            "lerp is longer than slerp",
            "lerp minus slerp between two noisy pictures: semantic length, rad",
        )
        for statement, longer, shorter, measure, where in _CLAIMS:
            found = of_network(_longer(part, longer, shorter, measure, where), "trained")
            unit = "semantic length, rad" if measure == "semantic" else "length in features, share of that of lerp"
            claims.append((statement, f"{longer} minus {shorter} {_WHERE[where]}: {unit}", _mean(found, "longer")))
        return claims, [pd.DataFrame(rows)]

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """A row a measure; a place a curve, a colour a kind of ends and network."""
        for axis, (measure, label) in zip(axes, _MEASURES.items(), strict=True):
            _draw_lengths(axis, part, measure)
            axis.axhline(0, color=GREY, linewidth=0.8)  # in sight, whatever else is drawn in this row
            finish(axis, label)


def noised(study: Study, picture: int, level: float) -> Float[Tensor, "*latent"]:
    """A picture at a level with a noise of its own, ``(1 - s) x + s e``."""
    x = study.latents[picture].z[0]
    e = draw(x.shape, seed=study.seed, purpose="curvedness", index=picture).to(x)
    return (1 - level) * x + level * e


class _Place:
    """A feature map at one level under no text, with a tangent space at any latent."""

    def __init__(self, study: Study, level: float, *, rank: int, index: int) -> None:
        self.rank, self._draws = rank, (study.seed, "curvedness bases", index)
        condition = study.backbone.embed([""])
        self.feature = FeatureMap(backbone=study.backbone, site=study.site, level=level, condition=condition)

    def basis_at(self, z: Float[Tensor, "*latent"], before: TangentBasis | None) -> TangentBasis:
        """The tangent space at a latent, searched from the one before it."""
        found = truncated_svd(
            FeatureJacobian(self.feature, z[None]),
            self.rank,
            generator=stream(*self._draws),
            tolerance_degrees=_DEGREES,
            most_products=_PRODUCTS,
            start=None if before is None else before.v,
        )
        return TangentBasis(u=found.u, singular_values=found.singular_values, v=found.v)

    def along(self, points: Float[Tensor, "l *latent"]) -> list[TangentBasis]:
        """The tangent spaces at the points of a curve."""
        found = list[TangentBasis]()
        for point in points:
            found.append(self.basis_at(point, found[-1] if found else None))
        return found


def _turns(bases: Sequence[TangentBasis]) -> Row:
    """How far the tangent space turns along a curve, and in one segment at most; None where it is not known."""
    if not bases:
        return {"semantic": None, "turned": None}
    turns = semantic_lengths([basis.u for basis in bases])
    largest = math.pi / 2 * math.sqrt(len(bases[0].u))
    return {"semantic": float(turns.sum()), "turned": float(turns.max()) / largest}


def _mean(rows: Table, measure: str) -> Estimate:
    return estimate(rows[measure].tolist(), rows[["first"]].to_numpy().tolist())


def _longer(part: Table, longer: str, shorter: str, measure: str, ends: str) -> Table:
    """By how much one curve is longer than another between the same ends."""
    keys = ["network", "level", "first"]
    wide = part[part["ends"] == ends].pivot_table(index=keys, columns="method", values=measure, aggfunc="mean")
    wide = wide.reindex(columns=[longer, shorter])
    return (wide[longer] - wide[shorter]).rename("longer").reset_index()


def _draw_lengths(axis: Axes, part: Table, measure: str) -> None:
    """Means with their intervals; a curve that is not there leaves its place empty."""
    groups = list(part.groupby(["network", "ends", "level"], sort=False))
    for number, ((network, ends, level), rows) in enumerate(groups):
        known = rows[rows[measure].notna()]
        methods = [method for method in METHODS if method in set(known["method"])]
        found = pd.DataFrame([dataclasses.asdict(_mean(known[known["method"] == one], measure)) for one in methods])
        shift = 0.16 * (number - (len(groups) - 1) / 2)
        axis.errorbar(
            [list(METHODS).index(method) + shift for method in methods],
            found["mean"],
            yerr=arms(found),
            fmt="o",
            markersize=4,
            capsize=2,
            color=COLOURS[number % len(COLOURS)],
            label=f"{network}, {_WHERE[str(ends)]}, level {float(str(level)):.2f}",
        )
    axis.set_xticks(range(len(METHODS)), list(METHODS.values()), fontsize=8)
