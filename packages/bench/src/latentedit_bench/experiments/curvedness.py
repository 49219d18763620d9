"""Whether the latent space is curved: how long different curves between the same ends are, and how much they turn."""

import dataclasses
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
from latentedit.directions.local_basis import LocalBasis
from latentedit.directions.transport import DAMPING
from latentedit.models.feature_jacobian import FeatureJacobian, FeatureMap
from latentedit_bench.experiments.base import Row, Unit
from latentedit_bench.experiments.geometry import QUICK, UNSUPERVISED, Found, Geometry
from latentedit_bench.experiments.plotting import COLOURS, GREY, finish
from latentedit_bench.experiments.shooting import TangentBasis, shoot
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.statistics import Estimate, Table, estimate

METHODS = {
    "random": "straight,\nrandom way",
    "lerp": "lerp",
    "slerp": "slerp",
    "shooting": "shooting",
    "geodesic": "energy\ngeodesic",
}
"""Curves, as the plot calls them; the first is the control."""

ENDS = {"shot": ["first"], "pair": ["first", "second"]}
"""Where a curve ends: where shooting from a picture ends, or at the next picture; and the columns of its pictures."""

_WHERE = {"shot": "to the end of a shot", "pair": "to the next picture"}
_MEASURES = {"semantic": "semantic length  (rad)", "feature": "length in features / that of lerp"}
_CLAIMS = (
    ("lerp is longer than slerp", "lerp", "slerp", "semantic", ("shot", "pair")),
    ("slerp is longer than shooting", "slerp", "shooting", "semantic", ("shot",)),
    ("lerp is longer than slerp", "lerp", "slerp", "feature", ("shot", "pair")),
    ("slerp is longer than the energy geodesic", "slerp", "geodesic", "feature", ("shot", "pair")),
)
"""Statement, the longer curve, the shorter one, by which measure, and between which ends."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Curvedness(Geometry):
    """Rows of a curve between two latents at the highest or the middle level.

    A "shot" ends where geodesic shooting along the first direction of the picture's basis ends; a "pair" goes from one
    picture's latent to the next one's. Between the ends go the straight line, the arc, and the curve of least energy
    in feature space, which starts from the one of the two that has less and so is shorter than they nearly by
    construction. "semantic" is the sum of the Grassmann distances of successive tangent spaces of the feature, in
    radians, "feature" the length in feature space as a share of that of lerp, all with the same number of segments.
    The control of a shot is a straight line as long as lerp, in a random direction. Cost of a unit: bases of rank
    ``tangents``, warm-started, of which a shot takes 17 and a pair 9 at 4 segments, and about 3 evaluations a point for
    each of ``descents``: some 3,000 evaluations of a shot, and 1,700 of a pair.

    Args:
        segments: of every curve.
        tangents: rank of the tangent spaces, cut to that of the bases.
        length: of the shot, as a share of the latent's norm.
        descents: most steps of the search for the least energy.
    """

    name: ClassVar[str] = "geometry-curvedness"
    title: ClassVar[str] = "Lengths of curves: how curved the latent space is"
    paper: ClassVar[str] = UNSUPERVISED
    statement: ClassVar[str] = "semantic paths: lerp is longer than slerp, and slerp longer than geodesic shooting"
    statistic: ClassVar[str] = (
        "semantic length (sum of the Grassmann distances of successive tangent spaces, rad) of lerp less that of slerp "
        "between the ends of a shot"
    )
    notes: ClassVar[tuple[str, ...]] = (
        "The energy geodesic is searched for from lerp or slerp, and so is shorter nearly by construction.",
    )
    smaller: ClassVar[Mapping[str, Any]] = {
        **QUICK,
        "pictures": 2,
        "levels": (0.95,),
        "segments": 2,
        "tangents": 3,
    }
    panel_rows: ClassVar[int] = 2

    models: tuple[str, ...] = ("portraits-unet",)
    pictures: int = 6
    levels: tuple[float, ...] = (0.95,)
    segments: int = 3
    tangents: int = 4
    length: float = 0.6
    descents: int = 30

    @property
    def settings(self) -> Mapping[str, Any]:
        """Of the curves: segments, rank of their tangent spaces, length, and steps of the search for least energy."""
        sizes = {"segments": self.segments, "rank": self.tangents, "length": self.length}
        return {**sizes, "steps": self.descents}

    def items(self, study: Study) -> Sequence[Unit]:
        """Shots of every picture, and pairs of neighbours in a ring, at each of the two levels."""
        levels = dict.fromkeys((study.levels[0], study.levels[len(study.levels) // 2]))
        ring = [tuple(sorted((first, (first + 1) % len(study)))) for first in range(len(study))]
        pairs = [pair for pair in dict.fromkeys(ring) if pair[0] != pair[1]]
        shots = [(picture, picture) for picture in range(len(study))]
        ends = [("shot", *shot) for shot in shots] + [("pair", *pair) for pair in pairs]
        return [(level, *end) for level in levels for end in ends]

    @torch.no_grad()
    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """Every curve between these ends."""
        level, ends, first, second = float(item[0]), str(item[1]), int(item[2]), int(item[3])
        place = _Place(study.basis(first, level), rank=min(self.tangents, study.rank), seed=study.seed)
        a, start = place.top, place.basis
        curves: dict[str, Tensor] = {}
        bases: dict[str, Sequence[TangentBasis]] = {}
        if ends == "shot":
            step = self.length * float(torch.linalg.vector_norm(a)) / self.segments
            shot = shoot(place.basis_at, a, start.u[0], step=step, segments=self.segments, damping=DAMPING)
            curves["shooting"], bases["shooting"] = shot.points, shot.bases
            b, end = shot.points[-1], shot.bases[-1]
            chord = torch.linalg.vector_norm(b - a)
            way = draw(a.shape, seed=study.seed, purpose="curvedness control", index=first).to(a)
            control = lerp(a, a + chord * way / torch.linalg.vector_norm(way), self._weights)
            curves["random"], bases["random"] = control, place.along(control, start, None)
        else:
            other = _Place(study.basis(second, level), rank=place.rank, seed=study.seed)
            b, end = other.top, other.basis
        between = self._between(place.feature, a, b)
        curves |= between
        bases |= {method: place.along(points, start, end) for method, points in between.items()}
        unit = curve_length(place.feature(curves["lerp"]))
        about: Row = {"level": level, "ends": ends, "first": first, "second": second}
        return [
            about
            | {
                "method": method,
                "semantic": float(semantic_lengths([basis.u for basis in bases[method]]).sum()),
                "feature": curve_length(place.feature(points)) / unit,
                "latent": curve_length(points),
            }
            for method, points in curves.items()
        ]

    def of_model(self, part: Table) -> Found:
        """Mean lengths, and the differences that the claims are about; each picture counts the mean of both levels."""
        claims, rows = list[tuple[str, str, Estimate]](), list[dict[str, Any]]()
        for (ends, level, method), some in part.groupby(["ends", "level", "method"], sort=False):
            for measure in _MEASURES:
                about = {"level": level, "kind": f"{ends}, {method}", "measure": measure}
                rows.append(
                    {**about, "ends": ends, "method": method, **dataclasses.asdict(_mean(some, measure, str(ends)))}
                )
        for statement, longer, shorter, measure, where in _CLAIMS:
            for ends in where:
                found = _difference(part, longer, shorter, measure, ends)
                claims.append((statement, _what(longer, shorter, measure, ends), found))
        return claims, [pd.DataFrame(rows)]

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """A row a measure; a place a curve, a colour a level and kind of ends."""
        for axis, (measure, label) in zip(axes, _MEASURES.items(), strict=True):
            _draw_lengths(axis, part, measure)
            axis.axhline(0, color=GREY, linewidth=0.8)  # in sight, whatever else is drawn in this row
            finish(axis, label)

    @property
    def _weights(self) -> Float[Tensor, " l"]:
        return torch.linspace(0, 1, self.segments + 1, dtype=torch.float64)

    def _between(
        self, feature: FeatureMap, a: Float[Tensor, "*latent"], b: Float[Tensor, "*latent"]
    ) -> dict[str, Tensor]:
        """The curves that need nothing but their ends."""
        found = {"lerp": lerp(a, b, self._weights), "slerp": slerp(a, b, self._weights)}
        start = min(found.values(), key=lambda points: curve_energy(feature(points)))
        found["geodesic"] = shortest_curve(feature, start, steps=self.descents).points
        return found


class _Place:
    """A feature map at one level, with a tangent space at any latent; the first is cut from the basis of a picture."""

    def __init__(self, basis: LocalBasis, *, rank: int, seed: int) -> None:
        self.rank, self._seed = rank, seed
        self.top = basis.trace.top[0]
        self.basis = TangentBasis(u=basis.u[:rank], singular_values=basis.singular_values[:rank], v=basis.v[:rank])
        self.feature = FeatureMap(
            backbone=basis.latent.backbone, site=basis.site, level=basis.level, condition=basis.condition
        )

    def basis_at(self, z: Float[Tensor, "*latent"], before: TangentBasis | None) -> TangentBasis:
        """The tangent space at a latent, searched from the one before it; that of the picture, where none is."""
        if before is None:
            return self.basis
        jacobian = FeatureJacobian(self.feature, z[None])
        found = truncated_svd(jacobian, self.rank, generator=stream(self._seed, "curvedness"), start=before.v)
        return TangentBasis(u=found.u, singular_values=found.singular_values, v=found.v)

    def along(
        self, points: Float[Tensor, "l *latent"], start: TangentBasis, end: TangentBasis | None
    ) -> list[TangentBasis]:
        """The tangent spaces at the points of a curve; those at its ends where they are known."""
        found = [start]
        for point in points[1:-1] if end is not None else points[1:]:
            found.append(self.basis_at(point, found[-1]))
        return found if end is None else [*found, end]


def _mean(rows: Table, measure: str, ends: str) -> Estimate:
    return estimate(rows[measure].tolist(), rows[ENDS[ends]].to_numpy().tolist())


def _difference(part: Table, longer: str, shorter: str, measure: str, ends: str) -> Estimate:
    """By how much one curve is longer than another between the same ends."""
    rows = part[part["ends"] == ends]
    wide = rows.pivot_table(index=["level", "first", "second"], columns="method", values=measure)
    if not {longer, shorter} <= set(wide.columns):
        return estimate([], [])
    wide = (wide[longer] - wide[shorter]).rename(measure).reset_index()
    return _mean(wide, measure, ends)


def _what(longer: str, shorter: str, measure: str, ends: str) -> str:
    """What a difference is of, with its unit."""
    names: Mapping[str, str] = {"geodesic": "energy geodesic"}
    unit = "semantic length, rad" if measure == "semantic" else "length in features, share of that of lerp"
    where = "the ends of a shot" if ends == "shot" else "two pictures"
    return f"{longer} minus {names.get(shorter, shorter)} between {where}: {unit}"


def _draw_lengths(axis: Axes, part: Table, measure: str) -> None:
    """Means with their intervals; a curve that is not there leaves its place empty."""
    groups = list(part.groupby(["ends", "level"], sort=False))
    for number, ((ends, level), rows) in enumerate(groups):
        places, found = list[float](), list[Estimate]()
        for place, method in enumerate(METHODS):
            of_method = rows[rows["method"] == method]
            if len(of_method):
                places.append(place + 0.16 * (number - (len(groups) - 1) / 2))
                found.append(_mean(of_method, measure, str(ends)))
        axis.errorbar(
            places,
            [one.mean for one in found],
            yerr=[[max(one.mean - one.low, 0) for one in found], [max(one.high - one.mean, 0) for one in found]],
            fmt="o",
            markersize=4,
            capsize=2,
            color=COLOURS[number % len(COLOURS)],
            label=f"{_WHERE[str(ends)]}, level {float(str(level)):.2f}, 95 %",
        )
    axis.set_xticks(range(len(METHODS)), list(METHODS.values()), fontsize=8)
