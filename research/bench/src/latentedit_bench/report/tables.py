"""The tables of a run as cells, for Markdown and for the page (grid.html.jinja)."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from latentedit.batch import UnitRecord
from latentedit_bench.metrics.statistics import Table, between
from latentedit_bench.ranking.evaluate import ANSWERS
from latentedit_bench.ranking.plan import MethodSpec
from latentedit_bench.ranking.run import BETWEEN
from latentedit_bench.ranking.summaries import EFFECTS, OVERALL, PRIMARY, Comparison, Summaries, titles

_BARRED = ("above", "above scaled", "error", "effect", "decomposability", "disentanglement", "done")
"""Measures with a range of about 0 to 1."""

_AT_STRENGTHS = ("error", "effect", "disentanglement")

_OF_CURVES = {"matched": "matched error", "reached": "reaches it", "linearity": "linearity"} | {
    name: name for wanted in EFFECTS if (name := f"leakage at {wanted:g}")
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell."""

    text: str  # its content
    note: str = ""  # in small letters after it, such as an interval
    value: float | None = None  # sort key; None sorts by the text
    share: float | None = None  # length of the bar behind it, 0 to 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table."""

    head: Sequence[str]  # names of columns
    rows: Sequence[Sequence[Cell]]  # the first cell is the row's name
    marked: str = ""  # name of the highlighted row
    ranked: bool = False  # the value of the first cell of a row is its rank, None for rows that have none


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """A table with its heading."""

    key: str  # target of links to it
    title: str  # its heading
    description: str  # explanation for readers of the page
    grid: Grid  # the table
    after: str = ""  # a line after it


def number(value: float, *, digits: int = 3, note: str = "", barred: bool = False) -> Cell:
    """A cell that sorts by its number; a dash if it is not finite."""
    if not math.isfinite(value):
        return Cell(text="-")
    share = min(max(value, 0.0), 1.0) if barred else None
    return Cell(text=f"{value:.{digits}f}", note=note, value=value, share=share)


def markdown(grid: Grid) -> list[str]:
    """The lines of a table and an empty one; a ranked one begins with a column of ranks."""
    rows = [[*grid.head], ["---"] * len(grid.head)]
    rows += [[f"{cell.text} {cell.note}".strip() for cell in row] for row in grid.rows]
    if grid.ranked:
        ranks = ["-" if row[0].value is None else f"{row[0].value:.0f}" for row in grid.rows]
        rows = [[first, *row] for first, row in zip(["rank", "---", *ranks], rows, strict=True)]
    return [f"| {' | '.join(text.replace('|', chr(92) + '|') for text in row)} |" for row in rows] + [""]


def sections(found: Summaries, methods: Sequence[MethodSpec]) -> Iterator[Section]:
    """Every table of a run of some methods on items with right answers."""
    untuned = {one.name for one in methods if not one.tuned}
    ours, order = found.ours, found.order
    yield Section(
        key="ranking",
        title="Ranking",
        description="Sorted by the error above the codec's at strength 1, best first; 95 % intervals over images in "
        'brackets. "codec alone" is not a method but the right answer after the model\'s encoder and decoder; "model '
        'floor" is the same with the core of its change redrawn by the model from noise level 0.5. '
        '"local": the pixels change only where the change is strong. Bars run from 0 to 1.',
        grid=ranking_grid(found, order, untuned),
        after=found.too_few_seeds,
    )
    if found.comparisons:
        yield Section(
            key="compared",
            title=f"{ours} against every other method, paired",
            description=f"Item by item: the other's error minus that of {ours}, above 0 where {ours} is better. Which "
            "is better is decided by the error above the codec's; all settings were chosen on other images. "
            f"Refined methods are compared with {ours}, refined.",
            grid=comparison_grid(found),
        )
    if found.apart:
        title = "Editors that are not text editors in their papers"
        description = "Requesting a change by text is our addition, and says little about the papers."
        yield Section("apart", title, description, ranking_grid(found, found.apart, untuned))
    if found.curves is not None:
        yield Section(
            key="curves",
            title="Effect against leakage",
            description="How much else changes on the way to the full change: lower is better. Strengths other than 1 "
            "mean what we chose for most methods, so this is not a ranking.",
            grid=_wide(found.curves, order, ours, measure=_OF_CURVES),
        )
    grid = _wide(found.kinds, order, ours, column="kind")
    yield Section("kinds", "Error above the codec's by kind of change", "", grid)
    if len(found.attributes):
        yield Section(
            key="attributes",
            title="Error above the codec's by the requested attribute (items with one)",
            description="Each item's error is relative to the requested change, so small parts of an image weigh as "
            "much as large ones. Attributes have equal weights in the last column.",
            grid=_wide(found.attributes, order, ours, column="attribute"),
        )
    if len(found.still):
        grid = _wide(found.still, [*order, *found.apart], ours, column="kind")
        yield Section("still", "Where the image is the right answer: how far it moves (RMS, white is 1)", "", grid)
    named = titles()
    table = found.strengths.assign(
        column=[f"{named.get(m) or m} at {s:g}" for m, s in found.strengths[["measure", "strength"]].to_numpy()],
        place=found.strengths["measure"].map({name: place for place, name in enumerate(_AT_STRENGTHS)}),
    )
    table = table.dropna(subset="place").sort_values(["place", "strength"], kind="stable")
    yield Section(key="strengths", title="By strength", description="", grid=_wide(table, order, ours))


def ranking_grid(found: Summaries, names: Sequence[str], untuned: Set[str] = frozenset()) -> Grid:
    """Methods by all measures, in their order; the right answers have no rank."""
    wide = {(row["method"], row["measure"]): row for row in found.table.to_dict("records")}
    shown = {name: title for name, title in titles().items() if title}
    known = [name for name in shown if any(measure == name for _, measure in wide)]
    ranks = {name: float(rank) for rank, name in enumerate((one for one in names if one not in ANSWERS), 1)}
    rows = [
        [
            Cell(text=name, value=ranks.get(name), note="(not tuned)" if name in untuned else ""),
            *(_estimated(wide[name, one], digits=0 if one == "evaluations" else 3, measure=one) for one in known),
        ]
        for name in names
    ]
    return Grid(head=["method", *(shown[name] for name in known)], rows=rows, marked=found.ours, ranked=True)


def comparison_grid(found: Summaries) -> Grid:
    """Ours against each other method by each error; the first decides which is better."""
    rows: list[list[Cell]] = []
    for first, scaled, error, *parts in found.comparisons:
        ratios = [_with_interval(one)[1] for one in (error, *parts)]
        cells = [*_with_interval(first), Cell(text=first.verdict), *_with_interval(scaled), *ratios]
        rows.append([Cell(text=first.other), *cells])
    head = ["method", "above: its minus ours", "ours / its", "ours is better"]
    head += ["above, scaled: its minus ours", "ratio", "ratio with the codec's error"]
    head += [f"ratio, {one.measure.removeprefix(f'{PRIMARY}, ')}" for one in found.comparisons[0][3:]]
    return Grid(head=head, rows=rows)


def _with_interval(one: Comparison) -> tuple[Cell, Cell]:
    """The difference and the ratio."""
    less, ratio = one.difference, one.ratio
    return (
        number(less.mean, digits=4, note=between(less.low, less.high, 4)),
        number(ratio.mean, digits=2, note=between(ratio.low, ratio.high, 2)),
    )


def pie_bench_grid(table: Table, *, marked: str) -> Grid:
    """PIE-Bench's measures over all categories, one row per method."""
    whole = table[table["category"] == OVERALL]
    return _wide(whole, list(dict.fromkeys(whole["method"])), marked, column="metric")


def cost_grid(rows: Table, records: Mapping[str, UnitRecord], *, marked: str) -> Grid:
    """Seconds and memory of each method, and the number of its edits that were not finite.

    Methods that share their edits are each charged the full time.
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
        edited = name not in ANSWERS
        evaluations = float(part.loc[part["strength"] == 1, "evaluations"].mean())
        of_edits = [(evaluations, 0), (seconds / edits if edits else math.nan, 3), (seconds, 1), (failed, 0)]
        *numbers, lost = (number(value if edited else math.nan, digits=digits) for value, digits in of_edits)
        both = number(float(sum(one.seconds for one in units)), digits=1)
        cells.append([Cell(text=str(name)), *numbers, both, number(memory or math.nan, digits=0), lost])
    head = ["method", "evaluations an edit", "seconds an image", "seconds editing", "seconds with measuring"]
    return Grid(head=[*head, "peak memory, MiB", "edits that were not finite"], rows=cells, marked=marked)


def method_grid(methods: Sequence[MethodSpec], *, marked: str) -> Grid:
    """The settings of each method."""
    rows: list[list[Cell]] = []
    for one in methods:
        words = (one.name, one.editor, *("yes" if yes else "no" for yes in (one.tuned, one.local)))
        rows.append([*(Cell(text=text) for text in words), number(one.gain), Cell(text=_plainly(one.settings))])
    return Grid(head=["method", "editor", "tuned", "change kept local", "gain", "settings"], rows=rows, marked=marked)


def _wide(
    table: Table, order: Sequence[str], marked: str, *, column: str = "column", measure: Mapping[str, str] | None = None
) -> Grid:
    """One row per method; one column per value of a column, or per measure with its title."""
    if measure is not None:
        table = table[table["measure"].isin(measure)]
        table = table.assign(column=table["measure"].map(measure))
    columns = list(dict.fromkeys(table[column]))
    cells = {(row["method"], row[column]): _estimated(row) for row in table.to_dict("records")}
    rows = [[Cell(text=name), *(cells.get((name, one), Cell(text="-")) for one in columns)] for name in order]
    return Grid(head=["method", *columns], rows=rows, marked=marked)


def _estimated(row: Mapping[str, Any], *, digits: int = 3, measure: str = "") -> Cell:
    note = between(row["low"], row["high"], digits) if digits else ""
    return number(float(row["mean"]), digits=digits, note=note, barred=measure in _BARRED)


def _plainly(settings: Mapping[str, Any]) -> str:
    parts = {name: f"({_plainly(one)})" if isinstance(one, dict) else json.dumps(one) for name, one in settings.items()}
    return ", ".join(f"{name} {text}" for name, text in parts.items()).replace('"', "")
