"""The tables of a run, cell by cell, for the page and in Markdown; and tables for programs, as CSV."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from latentedit.api.runs.folder import UnitRecord
from latentedit_bench.metrics.statistics import Estimate, Table, between
from latentedit_bench.ranking.curves import EFFECTS
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.plan import MethodSpec
from latentedit_bench.ranking.summaries import SHOWN, Summaries
from latentedit_bench.ranking.work import BETWEEN
from latentedit_keep.files import write_text

_BARRED = ("above", "above scaled", "error", "effect", "decomposability", "disentanglement", "done")
"""Measures whose whole range, or the better part of it, is 0 to 1."""

_AT_STRENGTHS = ("error", "effect", "disentanglement")
"""Measures that are told at every strength, in this order."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell.

    Args:
        text: what it says.
        beside: in small letters, such as an interval.
        value: what the column is sorted by; the text where it is None.
        share: length of the bar behind it, 0 to 1.
    """

    text: str
    beside: str = ""
    value: float | None = None
    share: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table.

    Args:
        head: names of columns.
        rows: of cells, the first of which names the row.
        marked: name of the row that stands out.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    marked: str = ""


def number(value: float, *, digits: int = 3, beside: str = "", barred: bool = False) -> Cell:
    """A cell that sorts by its number; a dash where there is none."""
    if not math.isfinite(value):
        return Cell(text="-")
    share = min(max(value, 0.0), 1.0) if barred else None
    return Cell(text=f"{value:.{digits}f}", beside=beside, value=value, share=share)


def write_csv(path: Path, frame: Table) -> None:
    """Five significant digits a number; the file is whole, or as it was.

    Raises:
        OutputError: the place cannot be written to.
    """
    text = StringIO()
    frame.to_csv(text, index=False, float_format="%.5g", lineterminator="\n")
    write_text(path, text.getvalue())


def markdown(grid: Grid, *, numbered: bool = False) -> list[str]:
    """The lines of a table, and an empty one.

    Args:
        grid: the table.
        numbered: with a first column that counts the rows.
    """
    rows = [[*grid.head], ["---"] * len(grid.head)]
    rows += [[f"{cell.text} {cell.beside}".strip() for cell in row] for row in grid.rows]
    if numbered:
        rows = [[first, *row] for first, row in zip(["", "---", *map(str, range(1, len(rows)))], rows, strict=False)]
    return [f"| {' | '.join(text.replace('|', chr(92) + '|') for text in row)} |" for row in rows] + [""]


def ranking_grid(found: Summaries, methods: Sequence[str]) -> Grid:
    """Some methods by all measures, in their order."""
    wide = {(row["method"], row["measure"]): row for row in found.table.to_dict("records")}
    known = [name for name in SHOWN if any(measure == name for _, measure in wide)]
    rows = [
        [
            Cell(text=name, value=float(place)),
            *(_estimated(wide[name, one], digits=0 if one == "evaluations" else 3, measure=one) for one in known),
        ]
        for place, name in enumerate(methods, 1)
    ]
    return Grid(head=["method", *(SHOWN[name] for name in known)], rows=rows, marked=found.ours)


def comparison_grid(found: Summaries) -> Grid:
    """Ours against each other method by each error; by the first it is decided who is better."""
    rows: list[list[Cell]] = []
    for by_error in found.comparisons:
        cells = [cell for one in by_error for cell in (_difference(one.difference.mean, one.text), _ratio(one.ratio))]
        rows.append([Cell(text=by_error[0].other), *cells[:2], Cell(text=by_error[0].verdict), *cells[2:-2], cells[-1]])
    head = ["method", "above: its less ours", "ours / its", "ours is better"]
    head += ["above, scaled: its less ours", "ratio", "ratio with the codec's error"]
    return Grid(head=head, rows=rows)


def _ratio(found: Estimate) -> Cell:
    return number(found.mean, digits=2, beside=between(found.low, found.high, 2))


def part_grid(found: Summaries) -> Grid:
    """By how much each part, and each pair of them beyond the sum, changes each measure."""
    rows: dict[str, list[Cell]] = {}
    for row in found.parts.to_dict("records"):
        cell = number(float(row["mean"]), digits=4, beside=between(row["low"], row["high"], 4))
        rows.setdefault(row["part"], [Cell(text=row["part"])]).append(cell)
    measures = list(dict.fromkeys(found.parts["measure"]))
    return Grid(head=["part", *(SHOWN[name] for name in measures)], rows=list(rows.values()))


def attribute_grid(found: Summaries) -> Grid:
    """A column an attribute, each with the same weight in the last one."""
    return _wide(found.attributes.assign(column=found.attributes["attribute"]), found.order, found.ours)


def curve_grid(found: Summaries) -> Grid:
    """The matched error of each method, its leakage at the effects at which curves are read, and what else they say."""
    assert found.curves is not None
    shown = {"matched": "matched error", "reached": "reaches it", "linearity": "linearity"}
    shown |= {name: name for wanted in EFFECTS if (name := f"leakage at {wanted:g}")}
    told = found.curves[found.curves["measure"].isin(shown)]
    return _wide(told.assign(column=told["measure"].map(shown)), found.order, found.ours)


def kind_grid(table: Table, order: Sequence[str], *, marked: str) -> Grid:
    """A column a kind, a row a method.

    Args:
        table: "method", "kind", "mean", "low", "high".
        order: of the methods.
        marked: the method that stands out.
    """
    return _wide(table.assign(column=table["kind"]), order, marked)


def strength_grid(found: Summaries) -> Grid:
    """Error, effect and SDE at each strength."""
    names = {"disentanglement": "SDE"}
    table = found.strengths[found.strengths["measure"].isin(_AT_STRENGTHS)]
    table = table.sort_values(["measure", "strength"], key=_places, kind="stable")
    told = [f"{names.get(row['measure'], row['measure'])} at {row['strength']:g}" for row in table.to_dict("records")]
    return _wide(table.assign(column=told), found.order, found.ours)


def pie_bench_grid(table: Table, *, marked: str) -> Grid:
    """PIE-Bench's numbers over all categories, a row a method."""
    whole = table[table["category"] == "all"]
    return _wide(whole.assign(column=whole["metric"]), list(dict.fromkeys(whole["method"])), marked)


def cost_grid(rows: Table, records: Mapping[str, UnitRecord], *, marked: str) -> Grid:
    """What each method took, in seconds and memory, and how many of its edits were not finite.

    Methods that share their edits are each told all of the time.
    """
    spent: dict[str, list[UnitRecord]] = {}
    for record in records.values():
        for name in record.method.split(BETWEEN):
            spent.setdefault(name, []).append(record)
    cells: list[list[Cell]] = []
    for name, part in rows.groupby("method", sort=False):
        units = spent.get(str(name), [])
        edits, seconds = len(part) if units else 0, float(sum(one.edit_seconds for one in units))
        memory = max((one.peak_bytes or 0 for one in units), default=0) / 2**20
        failed = float(part["failed"].sum()) if "failed" in part else math.nan
        edited = name != CODEC
        cells.append(
            [
                Cell(text=str(name)),
                number(float(part.loc[part["strength"] == 1, "evaluations"].mean()) if edited else math.nan, digits=0),
                number(seconds / edits if edits and edited else math.nan),
                number(seconds if edited else math.nan, digits=1),
                number(float(sum(one.seconds for one in units)), digits=1),
                number(memory if memory else math.nan, digits=0),
                number(failed if edited else math.nan, digits=0),
            ]
        )
    head = ["method", "evaluations an edit", "seconds a picture", "seconds editing", "seconds with measuring"]
    return Grid(head=[*head, "peak memory, MiB", "edits that were not finite"], rows=cells, marked=marked)


def method_grid(methods: Sequence[MethodSpec], *, marked: str) -> Grid:
    """The settings that each method ran with."""
    rows = [
        [
            Cell(text=one.name),
            Cell(text=one.editor),
            Cell(text="yes" if one.local else "no"),
            number(one.gain),
            Cell(text=_plainly(one.settings)),
        ]
        for one in methods
    ]
    return Grid(head=["method", "editor", "change kept local", "gain", "settings"], rows=rows, marked=marked)


def _wide(table: Table, order: Sequence[str], marked: str) -> Grid:
    columns = list(dict.fromkeys(table["column"]))
    cells = {(row["method"], row["column"]): _estimated(row) for row in table.to_dict("records")}
    rows = [[Cell(text=name), *(cells.get((name, one), Cell(text="-")) for one in columns)] for name in order]
    return Grid(head=["method", *columns], rows=rows, marked=marked)


def _estimated(row: Mapping[str, Any], *, digits: int = 3, measure: str = "") -> Cell:
    beside = between(row["low"], row["high"]) if digits else ""
    return number(float(row["mean"]), digits=digits, beside=beside, barred=measure in _BARRED)


def _difference(mean: float, text: str) -> Cell:
    shown, _, beside = text.partition(" ")
    return Cell(text=shown, beside=beside, value=mean) if math.isfinite(mean) else Cell(text="-")


def _places(column: Table) -> Table:
    """The key of a sort: measures in the order in which they are told, strengths as they are."""
    return column.map(_AT_STRENGTHS.index) if column.name == "measure" else column


def _plainly(settings: Mapping[str, Any]) -> str:
    parts: list[str] = []
    for name, value in settings.items():
        parts.append(f"{name} ({_plainly(value)})" if isinstance(value, dict) else f"{name} {json.dumps(value)}")
    return ", ".join(parts).replace('"', "")
