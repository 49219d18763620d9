"""A score as one HTML page: the measures, every fault of its files, kinds of change, strengths, pictures."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from markupsafe import Markup
from matplotlib.axes import Axes

from latentedit.api.viewer import Frame, View
from latentedit.api.viewer.page import viewer_element, viewer_script
from latentedit_bench.experiments.plots import COLOURS, GREY
from latentedit_bench.metrics.statistics import Estimate, Table, between
from latentedit_bench.open_task.outputs import Fault, read_output
from latentedit_bench.open_task.scoring import AS_IS, KEPT, MEASURES, Entry
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
_CURVE = "effect of graded changes over strength"

_AFTERWARDS = ("error", "outside_change", "done", "others_changed")
"""What is told of edits that were asked for afterwards."""


def score_page(
    entry: Entry,
    *,
    rows: Table,
    items: Sequence[TaskItem],
    faults: Sequence[Fault],
    folder: Path,
) -> str:
    """The page.

    Args:
        entry: what was scored.
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
        measures=measure_grid(entry, [scored for scored in (AS_IS, KEPT) if scored in entry.measures], MEASURES),
        faults=faults[:_SHOWN_FAULTS],
        more=len(faults) - _SHOWN_FAULTS,
        kinds=kind_grid(entry),
        afterwards=measure_grid(entry, [one for one in entry.measures if one not in (AS_IS, KEPT)], _AFTERWARDS),
        plot=Markup(svg(functools.partial(_draw_graded, graded=graded), _CURVE, 3.6)) if len(graded) else None,
        shown=[_shown(place, row, items, rows, folder) for place, row in _chosen(rows)],
        viewer=lambda view: Markup(viewer_element(view.data())),
        viewer_script=Markup(viewer_script()),
        glossary=WORDS,
    )
    return page(f"{entry.name} on {entry.task.title}", body)


def measure_grid(entry: Entry, ways: Sequence[str], names: Iterable[str]) -> Grid:
    """Some measures, a row a way of scoring."""
    rows = [[Cell(text=way), *(_cell(entry.measures[way].get(name)) for name in names)] for way in ways]
    return Grid(head=["scored", *(MEASURES[name] for name in names)], rows=rows)


def kind_grid(entry: Entry) -> Grid:
    """The error of each kind of change, a row a way of scoring."""
    kinds = list(entry.kinds[AS_IS])
    ways = {scored: some for scored, some in entry.kinds.items() if scored in (AS_IS, KEPT)}
    rows = [[Cell(text=scored), *(_cell(some.get(kind)) for kind in kinds)] for scored, some in ways.items()]
    return Grid(head=["scored", *kinds], rows=rows)


def _cell(told: Estimate | None) -> Cell:
    return Cell(text="-") if told is None else number(told.mean, beside=between(told.low, told.high))


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


def _shown(place: str, row: dict[str, Any], items: Sequence[TaskItem], rows: Table, folder: Path) -> tuple[View, str]:
    """The pictures of an item; what is asked, and the numbers."""
    item = next(one for one in items if one.id == row["item"])
    source = item.whole.picture()
    frames: list[Frame] = []
    for strength in item.answers:
        image = read_output(folder, item.output_file(strength), source.size).image
        if image is not None and image.size == source.size:
            frames.append(Frame(strength=strength, image=image))
    kept = rows[(rows["item"] == item.id) & (rows["scored"] == KEPT)]["error"].to_numpy(float)
    after = f", after keep {kept[0]:.3f}" if len(kept) and np.isfinite(kept[0]) else ""
    view = View(
        source=source,
        frames=frames,
        title=f"{place}: {item.id}",
        name=item.id,
        others={"right answer": item.answers[1.0]()},
        quality=_QUALITY,
    )
    told = f"{item.whole.kind}. {item.instruction} Error {row['error']:.3f}{after}, effect {row['effect']:.2f}."
    return view, told
