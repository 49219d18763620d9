"""Whether an edit that was found at one picture does the same at another, when it is carried through features."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from latentedit.core.geometry.grassmann import geodesic_distance
from latentedit.core.geometry.transport import transported
from latentedit.directions.local_basis import LocalBasis
from latentedit.directions.transport import DAMPING
from latentedit_bench.experiments.base import Row, Unit
from latentedit_bench.experiments.geometry import QUICK, RIEMANNIAN, Found, Geometry
from latentedit_bench.experiments.plotting import COLOURS, GREY, draw_column, draw_null, draw_points, finish
from latentedit_bench.experiments.signed_edits import SignedEdit, random_units, signed_edits
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.statistics import Estimate, Table, by_level, correlation, estimate, permutation_level

MEASURES = {
    "agreement": "the carried direction",
    "agreement_wrong": "another carried one",
    "agreement_random": "a random direction",
    "pixels": "the carried direction, pixels",
    "pixels_random": "a random direction, pixels",
}
"""Columns of the rows, and what is done at the target."""

_SEEN = {"agreement": "what the reader sees", "pixels": "the pixels"}
"""Columns that are compared with those of random directions, and of what they are the cosine."""

_PAIR = ("source", "target")
_STRIDES = (1, 3)
_UNITS = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Transport(Geometry):
    """Rows of a direction of one picture's basis, carried to another picture, at three of the levels.

    The change of the feature goes over and is pulled back with the damped inverse (`directions.transport`). At both
    pictures the direction goes as far to both sides as it takes for one change of the clean latent. "agreement" is the
    cosine between what the reader sees change at the source and at the target: the shifts of the probabilities of all
    values of all attributes, for + and for -; without a reader, of the changes of the pixels. It is None where the
    reader sees no change at the source, and 0 where it sees none at the target. "pixels" is the cosine of the changes
    of the pixels in any case. Two controls have the same effect at the target: a random direction, and the other
    direction of the source that was carried there.
    "distance" is that of both tangent spaces of the feature as a share of the largest. "kept" is ``cos(J v', u)`` with
    the inverse, "kept_plain" without; neither exceeds the root of "captured". Cost of a unit: two bases, which are
    shared, and about 48 ways back of 28 s evaluations each from level s: 1300 at the highest.
    """

    name: ClassVar[str] = "geometry-transport"
    title: ClassVar[str] = "Carrying an edit from one picture to another"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "an edit that was found at one sample does the same at another, carried by its feature"
    statistic: ClassVar[str] = (
        "cosine between what the reader sees change at source and target, by the carried direction less by a random "
        "one of equal effect"
    )
    notes: ClassVar[tuple[str, ...]] = (
        "Features are pulled back with their singular values, damped; the paper's public code leaves these out.",
    )
    smaller: ClassVar[Mapping[str, Any]] = {**QUICK, "pictures": 3, "levels": (0.4,)}
    panel_rows: ClassVar[int] = 3

    pictures: int = 6
    levels: tuple[float, ...] = (0.7,)

    def items(self, study: Study) -> Sequence[Unit]:
        """A level, a source and a target; a ring of pictures, with the next one and with the third after."""
        count, middle = len(study), len(study.levels) // 2
        levels = list(dict.fromkeys((study.levels[0], study.levels[middle], study.levels[-1])))
        steps = [(source, (source + stride) % count) for stride in _STRIDES for source in range(count)]
        pairs = dict.fromkeys(pair for pair in steps if pair[0] != pair[1])
        return [(level, *pair) for level in levels for pair in pairs]

    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """The first two directions of the source there."""
        level, source, target = float(item[0]), int(item[1]), int(item[2])
        here, there = study.basis(source, level), study.basis(target, level)
        count = min(_UNITS, len(here))
        carried = transported(here.u[:count], there.u, there.singular_values, there.v, damping=DAMPING)
        plain = transported(here.u[:count], there.u, there.singular_values, there.v, inverse=False)
        control = random_units(there, count, seed=study.seed, first=count * (source * len(study) + target))
        own = signed_edits(here, here.v[:count])
        found = signed_edits(there, torch.cat([carried.v.to(there.v), control.to(there.v)]))
        distance = geodesic_distance(here.u, there.u) / (math.pi / 2 * math.sqrt(len(here)))
        kept, kept_plain = (kept_of(here.u[:count], there, one.v) for one in (carried, plain))
        rows: list[Row] = []
        for index, edit in enumerate(own):
            wrong = agreement(edit, found[1 - index]) if count == _UNITS else None
            rows.append(
                {
                    "level": level,
                    "source": source,
                    "target": target,
                    "index": index + 1,
                    "distance": distance,
                    "captured": float(carried.captured[index]),
                    "kept": kept[index],
                    "kept_plain": kept_plain[index],
                    "agreement": agreement(edit, found[index]),
                    "agreement_wrong": wrong,
                    "agreement_random": agreement(edit, found[count + index]),
                    "pixels": _cosine(edit.change, found[index].change),
                    "pixels_random": _cosine(edit.change, found[count + index].change),
                    "effect": found[index].effect,
                }
            )
        return rows

    def of_model(self, part: Table) -> Found:
        """Agreement over levels, above that of random directions, and its correlation with the distance."""
        claims = list[tuple[str, str, Estimate]]()
        parts = [
            by_level(part, column, members=_PAIR).assign(measure=column)
            for column in (*MEASURES, "distance", "captured", "kept", "kept_plain")
        ]
        for column, of in _SEEN.items():
            for level in sorted(set(part["level"]), reverse=True):
                above = _above_random(part[part["level"] == level], column)
                measure = f"cosine of {of}, carried minus random direction, level {level:.2f}"
                claims.append(("transport carries an edit across samples", measure, above))
            found, (low, high) = _falls_with_distance(part, column)
            measure = f"minus rank correlation of distance and cosine of {of}, all pairs and levels"
            claims.append(("transport carries an edit where tangent spaces align", measure, found))
            place = list(MEASURES).index(column)
            parts[place] = parts[place].assign(shuffled_low=low, shuffled_high=high)
        return claims, parts

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """Agreement against distance, a point a direction and pair, as read and of pixels; below, means over levels."""
        last = axes[-1]
        for axis, (measure, of) in zip(axes, _SEEN.items(), strict=False):
            _draw_points(axis, part, measure, of)
        colours = (COLOURS[0], COLOURS[1], GREY, COLOURS[2], COLOURS[6])
        for place, (colour, (measure, label)) in enumerate(zip(colours, MEASURES.items(), strict=True)):
            beside = part.assign(level=part["level"] - 0.03 * place)  # else they lie upon each other
            draw_column(last, beside, measure, label=label, colour=colour, members=_PAIR)
        last.axhline(0, color="#444444", linewidth=0.8)
        finish(last, "cosine with the edit at the source")


def kept_of(u: Float[Tensor, "k *feature"], basis: LocalBasis, v: Float[Tensor, "k *latent"]) -> list[float]:
    """``cos(J v, u)`` for displacements in the span of a basis, whose J v is known from its singular values.

    Args:
        u: changes of the feature, of unit length.
        basis: at the point.
        v: displacements in its span.
    """
    inside = v.detach().to("cpu", torch.float64).flatten(1) @ basis.v.to("cpu", torch.float64).flatten(1).T
    pushed = (inside * basis.singular_values.to("cpu", torch.float64)) @ basis.u.to("cpu", torch.float64).flatten(1)
    wide = u.detach().to("cpu", torch.float64).flatten(1)
    return torch.cosine_similarity(pushed, wide, dim=1).tolist()


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


def _above_random(part: Table, column: str) -> Estimate:
    """How much more the carried direction agrees with its source than a random one, paired."""
    members = part[list(_PAIR)].to_numpy().tolist()
    return estimate((part[column] - part[f"{column}_random"]).tolist(), members)


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
    axis.set_xlabel("distance of tangent spaces / largest possible")
    finish(axis, f"cosine of {of} with the edit at the source")
