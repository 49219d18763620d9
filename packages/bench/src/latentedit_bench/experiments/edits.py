"""What edits change at which level: coarse attributes or fine ones, low frequencies or high ones."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from matplotlib.axes import Axes

from latentedit.api.naming import FLOOR
from latentedit.core.plugins import DOMAINS
from latentedit_bench.domains.areas import attribute_areas
from latentedit_bench.domains.base import domain
from latentedit_bench.experiments.base import Row, Unit
from latentedit_bench.experiments.controls import against_control
from latentedit_bench.experiments.geometry import COVERAGE, QUICK, RIEMANNIAN, Found, Geometry
from latentedit_bench.experiments.plotting import COLOURS, GREY, LEVEL_LABEL, draw_column
from latentedit_bench.experiments.radial_power import radial_power, white_centroid
from latentedit_bench.experiments.signed_edits import NOT_REACHED, SignedEdit, changed_share, random_units, signed_edits
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.statistics import FEWEST, Table, by_level, rise

KINDS = {"basis": "local basis", "random": "random, equal effect"}

_CHANGE = "change "
"""Begins the columns that hold the change of an attribute."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Edits(Geometry):
    """Rows of a direction at a picture and level: what it changes when it changes the latent by a fixed amount.

    Each direction goes as far to both sides as it takes for one change of the clean latent
    (`editors.walks.step_length`), so that levels compare. A row says the change of each attribute (total variation,
    mean of both signs), ``coarseness = sum_a change_a area_a / sum_a change_a`` with the share of a portrait's pixels
    that attribute a covers (`domains.areas`), the frequency centroid of the change of the pixels in units of
    Nyquist, and the share of pixels that it changes by more than 10 levels of 255. Coarseness is None where nobody
    reads, or reads no change. The control are random directions of equal effect at the same levels, which decide: what
    the levels do to any direction is no finding about the basis. The claim about attributes compares the highest level
    with the lowest at which attributes are seen to change in `statistics.FEWEST` pictures.

    Args:
        directions: of each basis, the first ones.
        controls: random directions beside them.
    """

    name: ClassVar[str] = "geometry-edits"
    minutes: ClassVar[int] = 11
    title: ClassVar[str] = "What edits change at which level"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "edits at early levels change coarse attributes, at late levels fine ones"
    statistic: ClassVar[str] = (
        "area of the attributes that are changed at the highest level less that at the lowest one at which the reader "
        "sees changes, as a share of the picture, by the first direction of the basis less by a random one of equal "
        "effect"
    )
    smaller: ClassVar[Mapping[str, Any]] = {
        **QUICK,
        "pictures": 3,
        "levels": (0.6, 0.3),
        "directions": 1,
    }
    panel_rows: ClassVar[int] = 3
    notes: ClassVar[tuple[str, ...]] = (NOT_REACHED, COVERAGE)
    share_y: ClassVar[bool] = False
    twins: ClassVar[bool] = False

    pictures: int = 16
    directions: int = 1
    controls: int = 1

    @property
    def evaluations(self) -> int:
        """Of a picture at a level: the way up, and eight ways back of each direction."""
        ways = 1 + 8 * (self.directions + self.controls)
        return round(len(self.models) * self.pictures * sum(self.levels) * self.steps * ways)

    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """The first directions there, and random ones."""
        picture, level = int(item[0]), float(item[1])
        basis = study.walkable(study.basis(picture, level))
        count = min(self.directions, len(basis))
        control = random_units(basis, self.controls, seed=study.seed, first=picture * self.controls)
        found = signed_edits(basis, torch.cat([basis.v[:count], control.to(basis.v)]))
        rows: list[Row] = []
        for index, edit in enumerate(found):
            kind = "basis" if index < count else "random"
            place = index + 1 if index < count else index + 1 - count
            about: Row = {"picture": picture, "level": level, "kind": kind, "index": place, "effect": edit.effect}
            rows.append(about | edit_row(edit))
        return rows

    def of_model(self, part: Table) -> Found:
        """Coarseness and centroid over levels, how they change, and the same of random directions."""
        parts = list[Table]()
        for kind in KINDS:
            for column in ("coarseness", "centroid", "changed", "effect"):
                known = part[(part["kind"] == kind) & part[column].notna()]
                if len(known):
                    parts.append(by_level(known, column).assign(measure=column, kind=kind))
        top, low, last = float(part["level"].max()), float(part["level"].min()), _last_read(part)
        coarse = f"area of what is changed at level {top:.2f} minus at {last:.2f}, share of the picture"
        lower = f"centroid of the change at level {low:.2f} minus at {top:.2f}, in units of Nyquist"
        return [
            *against_control(
                part,
                "coarseness",
                ("picture", "level"),
                lambda rows: rise(rows, "coarseness", start=last, end=top),
                "early levels change coarse and late levels fine attributes",
                coarse,
                by="kind",
                names=("basis", "random"),
            ),
            *against_control(
                part,
                "centroid",
                ("picture", "level"),
                lambda rows: rise(rows, "centroid", start=top, end=low),
                "edits at early levels change low, at late levels high frequencies",
                lower,
                by="kind",
                names=("basis", "random"),
            ),
        ], parts

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """Coarseness and centroid over levels, against random directions; below, the change of each attribute."""
        _draw_kinds(axes[0], part, "coarseness", "area of what is changed / picture")
        _draw_kinds(axes[1], part, "centroid", "centroid of the change / Nyquist")
        white = float(part["white"].iloc[0])
        axes[1].axhline(white, color=GREY, linestyle="--", linewidth=1.2, label="white noise")
        axes[1].set_ylim(top=1.15 * max(white, axes[1].get_ylim()[1] / 1.15))
        axes[1].legend(fontsize=7)
        _draw_attributes(axes[2], part[part["kind"] == "basis"])


def edit_row(edit: SignedEdit) -> Row:
    """What one direction changed, as a row: both signs together."""
    change = edit.change.double()
    power = radial_power(change)
    energy = float(power.power.sum())
    changes = edit.changes
    return {
        "coarseness": coarseness(changes),
        "centroid": float(power.moment.sum()) / energy if energy > 0 else None,
        "white": white_centroid(*change.shape[-2:]),
        "changed": changed_share(edit.change),
        **{f"{_CHANGE}{name}": value for name, value in changes.items()},
    }


def coarseness(changes: Mapping[str, float]) -> float | None:
    """The area of the attributes that change, weighted by how much they do; a share of the picture.

    Args:
        changes: attribute to its change, in [0, 1].

    Returns:
        None where attributes are those of no domain, or change by less than `naming.FLOOR` in all.
    """
    total = sum(changes.values())
    if not total >= FLOOR:
        return None
    areas = _areas(set(changes))
    return sum(value * areas[name] for name, value in changes.items()) / total if areas else None


def _areas(names: set[str]) -> Mapping[str, float]:
    """What attributes cover, where they are those of a domain; else nothing."""
    world = next((name for name in DOMAINS.names() if names <= set(domain(name).values)), None)
    return {} if world is None else attribute_areas(world)


def _last_read(part: Table) -> float:
    """The lowest level at which attributes are seen to change in enough pictures; the very lowest where none has."""
    read = part[(part["kind"] == "basis") & part["coarseness"].notna()]
    pictures = read.groupby("level")["picture"].nunique()
    enough = pictures[pictures >= FEWEST]
    return float((enough if len(enough) else part.groupby("level")["picture"].nunique()).index.min())


def _draw_kinds(axis: Axes, part: Table, column: str, label: str) -> None:
    """A line for the basis, one for random directions."""
    for colour, (kind, name) in zip((COLOURS[0], GREY), KINDS.items(), strict=True):
        draw_column(axis, part[part["kind"] == kind], column, label=name, colour=colour)
    axis.set_ylim(bottom=0)
    axis.set_ylabel(label, fontsize=9)
    if axis.lines:
        axis.legend(fontsize=7)
    else:
        axis.text(0.5, 0.5, "no reader of this model's attributes", ha="center", transform=axis.transAxes, fontsize=8)


def _draw_attributes(axis: Axes, part: Table) -> None:
    """A column a level, a row an attribute, those that cover most on top."""
    columns = [name for name in part.columns if name.startswith(_CHANGE) and part[name].notna().any()]
    axis.grid(visible=False)
    axis.set_xlabel(LEVEL_LABEL)
    if not columns:
        axis.text(0.5, 0.5, "no attributes are read", ha="center", transform=axis.transAxes, fontsize=8)
        return
    names = [name.removeprefix(_CHANGE) for name in columns]
    areas = _areas(set(names))
    order = sorted(range(len(names)), key=lambda index: -areas.get(names[index], 0.0))
    means = part.groupby("level")[[columns[index] for index in order]].mean().iloc[::-1]
    picture = axis.imshow(means.to_numpy(dtype=float).T, aspect="auto", cmap="viridis", vmin=0)
    axis.set_xticks(range(len(means)), [f"{level:.2f}" for level in means.index], fontsize=7)
    rows = [f"{names[index].replace('_', ' ')} ({areas.get(names[index], math.nan):.0%})" for index in order]
    axis.set_yticks(range(len(order)), rows if areas else [names[index] for index in order], fontsize=7)
    axis.set_title("change of each attribute (its area), local basis", fontsize=8)
    bar = axis.get_figure(root=True)
    if bar is not None:
        bar.colorbar(picture, ax=axis, label="total variation")
