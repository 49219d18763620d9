"""A score as one HTML page: the entry in the table, every fault of its files, kinds of change, strengths, pictures."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from markupsafe import Markup
from matplotlib.axes import Axes

from latentedit.api.viewer import Frame, View
from latentedit.api.viewer.page import viewer_element, viewer_script
from latentedit_bench.experiments.plotting import COLOURS, GREY
from latentedit_bench.metrics.statistics import Table, between
from latentedit_bench.open_task.leaderboard import Entry, Told
from latentedit_bench.open_task.outputs import Fault, read_output
from latentedit_bench.open_task.scoring import AS_IS, KEPT, MEASURES
from latentedit_bench.open_task.task import TaskItem
from latentedit_bench.report.curves import svg
from latentedit_bench.report.page import page, render
from latentedit_bench.report.tables import Cell, Grid, number

WORDS: Mapping[str, str] = yaml.safe_load(
    resources.files("latentedit_bench.open_task").joinpath("glossary.yaml").read_text("utf-8")
)
"""What the words of the page mean."""

_QUALITY = 80
_SHOWN_FAULTS = 400
_CURVE, _CURVE_INCHES = "effect of graded changes over strength", 3.6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An item with its pictures.

    Args:
        title: such as "worst: public-007".
        about: what is asked, and the numbers.
        view: the pictures.
    """

    title: str
    about: str
    view: View


def score_page(
    entry: Entry,
    others: Sequence[Entry],
    *,
    left_out: int,
    rows: Table,
    items: Sequence[TaskItem],
    faults: Sequence[Fault],
    folder: Path,
) -> str:
    """The page.

    Args:
        entry: what was scored.
        others: it and those that it is ranked with, the best first.
        left_out: stored entries of other tasks.
        rows: from `scoring.score_items`.
        items: of the task.
        faults: of the files.
        folder: of the task, for its pictures.
    """
    graded = _graded(rows)
    body = render(
        "score.html",
        entry=entry,
        title=f"{entry.name} on {entry.task.title}",
        ranking=ranking_grid(others, entry.name),
        alone=len(others) == 1,
        left_out=left_out,
        faults=faults[:_SHOWN_FAULTS],
        more=len(faults) - _SHOWN_FAULTS,
        kinds=kind_grid(entry),
        afterwards=then_grid(entry),
        plot=Markup(svg(functools.partial(_draw_graded, graded=graded), _CURVE, _CURVE_INCHES))
        if len(graded)
        else None,
        shown=[_shown(place, row, items, rows, folder) for place, row in _chosen(rows)],
        viewer=lambda view: Markup(viewer_element(view.data())),
        viewer_script=Markup(viewer_script()),
        glossary=WORDS,
    )
    return page(f"{entry.name} on {entry.task.title}", body)


def ranking_grid(entries: Sequence[Entry], marked: str) -> Grid:
    """Entries by all measures, in their order."""
    head = ["entry", "error", "error after keep", *list(MEASURES.values())[1:], "files failed"]
    rows: list[list[Cell]] = []
    for place, entry in enumerate(entries, 1):
        found, kept = entry.measures[AS_IS], entry.measures.get(KEPT, {})
        cells = [_cell(found.get("error"), barred=True), _cell(kept.get("error"), barred=True)]
        cells += [_cell(found.get(name)) for name in MEASURES if name != "error"]
        rows.append([Cell(text=entry.name, value=float(place)), *cells, number(float(entry.failed), digits=0)])
    return Grid(head=head, rows=rows, marked=marked)


def kind_grid(entry: Entry) -> Grid:
    """The error of each kind of change, a row a way of scoring."""
    kinds = list(entry.kinds[AS_IS])
    ways = {scored: some for scored, some in entry.kinds.items() if scored in (AS_IS, KEPT)}
    rows = [[Cell(text=scored), *(_cell(some.get(kind)) for kind in kinds)] for scored, some in ways.items()]
    return Grid(head=["scored", *kinds], rows=rows)


def then_grid(entry: Entry) -> Grid:
    """The measures of what was asked afterwards: one row for what is undone, and one an edit in a row."""
    names = ("error", "outside_change", "done", "others_changed")
    rows = [
        [Cell(text=scored), *(_cell(found.get(name)) for name in names)]
        for scored, found in entry.measures.items()
        if scored not in (AS_IS, KEPT)
    ]
    return Grid(head=["afterwards", *(MEASURES[name] for name in names)], rows=rows)


def _cell(told: Told | None, *, barred: bool = False) -> Cell:
    if told is None:
        return Cell(text="-")
    return number(told.mean, beside=between(told.low, told.high), barred=barred)


def _graded(rows: Table) -> Table:
    """The rows as they are of items with several strengths."""
    plain: Table = rows[rows["scored"] == AS_IS]
    return plain[plain.groupby("item")["strength"].transform("size") > 1]


def _draw_graded(axis: Axes, graded: Table) -> None:
    for _, part in graded.groupby("item", sort=False):
        ordered = part.sort_values("strength")
        along = [0.0, *ordered["strength"]]
        axis.plot(along, [0.0, *ordered["true_effect"]], color=GREY, linewidth=0.8, alpha=0.6)
        axis.plot(along, [0.0, *ordered["effect"]], color=COLOURS[0], linewidth=1, marker="o", markersize=3, alpha=0.8)
    axis.set_xlabel("strength")
    axis.set_ylabel("effect (grey: of the right answers)")


def _chosen(rows: Table) -> list[tuple[str, dict[str, Any]]]:
    """The best, the median and the worst item of those that were made, and the first graded one."""
    made = rows[(rows["scored"] == AS_IS) & (rows["failed"] == 0) & (rows["strength"] == 1)]
    known = made[made["error"].notna()].sort_values("error", kind="stable").to_dict("records")
    places = {"best": 0, "median": (len(known) - 1) // 2, "worst": len(known) - 1} if known else {}
    chosen = [(name, known[place]) for name, place in places.items()]
    graded = _graded(rows)
    first = graded[(graded["strength"] == 1) & (graded["failed"] == 0)].head(1)
    return [*chosen, *(("graded", row) for row in first.to_dict("records"))]


def _shown(place: str, row: dict[str, Any], items: Sequence[TaskItem], rows: Table, folder: Path) -> Shown:
    item = next(one for one in items if one.id == row["item"])
    source = item.whole.picture()
    frames: list[Frame] = []
    for strength in item.answers:
        image = read_output(folder, item.output_file(strength), source.size).image
        if image is not None and image.size == source.size:
            frames.append(Frame(strength=strength, image=image))
    kept = rows[(rows["item"] == item.id) & (rows["scored"] == KEPT)]["error"].to_numpy(float)
    after = f", after keep {kept[0]:.3f}" if len(kept) and np.isfinite(kept[0]) else ""
    title = f"{place}: {item.id}"
    view = View(
        source=source,
        frames=frames,
        title=title,
        name=item.id,
        others={"right answer": item.answers[1.0]()},
        quality=_QUALITY,
    )
    about = f"{item.whole.kind}. {item.instruction} Error {row['error']:.3f}{after}, effect {row['effect']:.2f}."
    return Shown(title=title, about=about, view=view)
