"""Whether an edit that was found at one picture does the same at another, when it is carried through features."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from latentedit.core.geometry.grassmann import geodesic_distance
from latentedit.directions.local_basis import LocalBasis
from latentedit.models.feature_jacobian import FeatureJacobian, FeatureMap
from latentedit_bench.experiments.base import Row, Unit
from latentedit_bench.experiments.controls import Number
from latentedit_bench.experiments.geometry import COVERAGE, QUICK, RIEMANNIAN, Found, Geometry
from latentedit_bench.experiments.plotting import COLOURS, draw_by_name, draw_null, draw_points, finish
from latentedit_bench.experiments.signed_edits import SignedEdit, changed_share, random_units, signed_edits
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.statistics import Estimate, Table, by_level, correlation, estimate, permutation_level

MEASURES = {
    "pixels": "the carried direction, pixels",
    "pixels_random": "a random direction, pixels",
    "pixels_unchanged": "the source's own direction, pixels",
    "agreement": "the carried direction, as read",
    "agreement_random": "a random direction, as read",
    "agreement_unchanged": "the source's own direction, as read",
}
"""Columns of the rows, and what is done at the target."""

_SEEN = {"pixels": "the pixels", "agreement": "what the reader sees"}
"""Columns that are compared with those of the controls, and of what they are the cosine."""

_CONTROLS = {"random": "a random one", "unchanged": "the source's own direction, not carried"}

_PAIR = ("source", "target")

_VISIBLE = 0.05
"""Share of the pixels that an edit must change at its source, by more than `areas.CHANGED` levels, to count."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Transport(Geometry):
    """Rows of the first direction of one picture's basis, carried to the next picture in a ring.

    The change of the feature goes over and is pulled back by the transpose of the target's whole Jacobian, see
    `pulled_back`: no rank decides. "kept" is ``cos(J v', u)``, and "captured" the share of u in the span of the
    target's basis, which is what the few vectors of a basis could keep of it. At both pictures the direction goes as
    far to both sides as it takes for one change of the clean latent, ``effect``, which is more than one changed
    attribute makes; where it still changes fewer pixels at its source than `_VISIBLE`, the pair does not count.
    "pixels" is the cosine between the changes of the pixels at the source and at the target, which need not show the
    same face at the same place; "agreement" is the cosine of what the reader sees change: the shifts of the
    probabilities of all values of all attributes, for + and for -; without a reader, of the pixels. It is None where
    the reader sees no change at the source, and 0 where it sees none at the target. Two controls have the same effect
    at the target: a random direction, which decides, and the source's own direction as it is, which tells whether
    carrying it does anything. "distance" is that of both tangent spaces of the feature as a share of the largest.

    Args:
        effect: change of the clean latent, see `editors.walks.step_length`.
    """

    name: ClassVar[str] = "geometry-transport"
    minutes: ClassVar[int] = 10
    title: ClassVar[str] = "Carrying an edit from one picture to another"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "an edit that was found at one sample does the same at another, carried by its feature"
    statistic: ClassVar[str] = (
        "cosine between the changes of the pixels at source and target, by the carried direction less by a random one "
        "of equal effect; of edits that change at least 5 % of the pixels at their source by more than 10 levels of 255"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "Features are pulled back by the whole Jacobian's transpose: the few vectors of a basis hold next to "
            "nothing of a change that was found at another picture (captured), and would carry it as badly as chance."
        ),
        COVERAGE,
    )
    smaller: ClassVar[Mapping[str, Any]] = {**QUICK, "pictures": 3, "levels": (0.7,)}
    panel_rows: ClassVar[int] = 3
    twins: ClassVar[bool] = False

    levels: tuple[float, ...] = (0.7,)
    effect: float = 0.6

    @property
    def evaluations(self) -> int:
        """Of a pair: the way up at both ends, and eight ways back of each of four directions."""
        return round(len(self.models) * self.pictures * sum(self.levels) * self.steps * (2 + 8 * 4))

    def items(self, study: Study) -> Sequence[Unit]:
        """A level, a source and a target, the next one in a ring of pictures."""
        count = len(study)
        return [(level, source, (source + 1) % count) for level in study.levels for source in range(count)]

    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """The first direction of the source there."""
        level, source, target = float(item[0]), int(item[1]), int(item[2])
        here, there = (study.walkable(study.basis(picture, level)) for picture in (source, target))
        carried, kept = pulled_back(there, here.u[:1])
        control = random_units(there, 1, seed=study.seed, first=source)
        (own,) = signed_edits(here, here.v[:1], effect=self.effect)
        units = torch.cat([carried, control.to(there.v), here.v[:1]])
        found = dict(zip(("", "_random", "_unchanged"), signed_edits(there, units, effect=self.effect), strict=True))
        visible = changed_share(own.change)
        row: Row = {
            "level": level,
            "source": source,
            "target": target,
            "distance": geodesic_distance(here.u, there.u) / (math.pi / 2 * math.sqrt(len(here))),
            "captured": float((here.u[0].flatten().double() @ there.u.flatten(1).double().T).square().sum()),
            "kept": kept,
            "effect": found[""].effect,
            "changed": visible,
        }
        for name, edit in found.items():
            row[f"pixels{name}"] = _cosine(own.change, edit.change) if visible >= _VISIBLE else None
            row[f"agreement{name}"] = agreement(own, edit)
        return [row]

    def of_model(self, part: Table) -> Found:
        """How much more the carried direction agrees with its source than the controls, and whether distance tells."""
        claims, parts = list[Number](), list[Table]()
        for column in (*MEASURES, "distance", "captured", "kept", "changed"):
            parts.append(by_level(part, column, members=_PAIR).assign(measure=column))
        for column, of in _SEEN.items():
            for control, words in _CONTROLS.items():
                for level in sorted(set(part["level"]), reverse=True):
                    above = _above(part[part["level"] == level], column, control)
                    measure = f"cosine of {of}, by the carried direction less by {words}, level {level:.2f}"
                    claims.append(("transport carries an edit across samples", measure, above))
            found, (low, high) = _falls_with_distance(part, column)
            measure = f"minus rank correlation of distance and cosine of {of}, all pairs and levels"
            claims.append(("transport carries an edit where tangent spaces align", measure, found))
            place = list(MEASURES).index(column)
            parts[place] = parts[place].assign(shuffled_low=low, shuffled_high=high)
        return claims, parts

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """Agreement against distance, a point a pair, of pixels and as read; below, means with their intervals."""
        last = axes[-1]
        for axis, (measure, of) in zip(axes, _SEEN.items(), strict=False):
            _draw_points(axis, part, measure, of)
        names = [name for name in MEASURES if part[name].notna().any()]
        found = [by_level(part[part[name].notna()], name, members=_PAIR).iloc[0].to_dict() for name in names]
        draw_by_name(
            last,
            pd.DataFrame(found).assign(name=[MEASURES[name] for name in names], of="mean"),
            "name",
            "of",
            {"mean": COLOURS[0]},
        )
        last.axvline(0, color="#444444", linewidth=0.8)
        last.set_xlabel("cosine with the edit at the source, 95 %", fontsize=8)


@torch.no_grad()
def pulled_back(basis: LocalBasis, u: Float[Tensor, "1 *feature"]) -> tuple[Float[Tensor, "1 *latent"], float]:
    """``v' = J^T u / |J^T u|``: the displacement that changes the feature along u most, and ``cos(J v', u)``.

    Args:
        basis: says where.
        u: a change of the feature.

    Cost:
        One evaluation, a reverse and a forward product.
    """
    feature = FeatureMap(backbone=basis.latent.backbone, site=basis.site, level=basis.level, condition=basis.condition)
    jacobian = FeatureJacobian(feature, basis.trace.top)
    found = jacobian.rmatmat(u)
    v = found / torch.linalg.vector_norm(found)
    return v, _cosine(jacobian.matmat(v), u) or 0.0


def agreement(own: SignedEdit, other: SignedEdit) -> float | None:
    """The cosine of what is read of two edits, which tells nothing of their size.

    Args:
        own: the edit at the source.
        other: the one at the target.

    Returns:
        None where the edit at the source is not seen, so that there is nothing to carry; 0 where the other one is not.
    """
    if not own.seen:
        return None
    return _cosine(own.read, other.read) if other.seen else 0.0


def _cosine(first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"]) -> float | None:
    """Of the angle between two vectors; None where one of them is 0."""
    a, b = first.flatten().double(), second.flatten().double()
    lengths = float(a.norm()) * float(b.norm())
    return float(a @ b) / lengths if lengths > 0 else None


def _above(part: Table, column: str, control: str) -> Estimate:
    """How much more the carried direction agrees with its source than a control, paired."""
    members = part[list(_PAIR)].to_numpy().tolist()
    return estimate((part[column] - part[f"{column}_{control}"]).tolist(), members)


def _falls_with_distance(part: Table, column: str) -> tuple[Estimate, tuple[float, float]]:
    """Minus the rank correlation of distance and agreement, and what chance gives."""
    known = part[part[column].notna()]
    near, seen = (-known["distance"]).tolist(), known[column].tolist()
    found = correlation(near, seen, known[list(_PAIR)].to_numpy().tolist())
    return found, permutation_level(near, seen) if len(known) else (math.nan, math.nan)


def _draw_points(axis: Axes, part: Table, column: str, of: str) -> None:
    """Agreement against distance by level, and where random directions lie."""
    draw_points(axis, part, "distance", column)
    random = part[f"{column}_random"].dropna()
    draw_null(axis, random.mean(), *random.quantile([0.025, 0.975]), label="random directions, 95 %")
    axis.set_xlabel("distance of tangent spaces / largest possible", fontsize=8)
    finish(axis, f"cosine of {of} with the edit at the source")
