"""A finished run as files: tables that a person reads, tables that a program reads, and the curves as a plot."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from latentedit.api.runs.folder import RunFolder
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.plan import read_plan
from latentedit_bench.ranking.ranking import PRIMARY, Comparison
from latentedit_bench.ranking.summaries import Summaries
from latentedit_bench.report.curves import write_curves
from latentedit_bench.report.tables import (
    attribute_grid,
    comparison_grid,
    curve_grid,
    kind_grid,
    markdown,
    part_grid,
    ranking_grid,
    strength_grid,
    write_csv,
)
from latentedit_bench.tuning.search_spaces import ROLES, Roles
from latentedit_keep.files import write_text

_ITEMS = ("method", "item", "group", "kind", "asked", PRIMARY, "above scaled", "error", "effect", "leakage")
"""Columns of ``items.csv``: enough for every comparison, item by item."""


def write_results(folder: Path, rows: Table, roles: Roles = ROLES) -> list[Comparison]:
    """Write ``ranking.md``, the tables of `Summaries` as CSV, and the plot.

    Args:
        folder: of the run.
        rows: all of them.
        roles: of the methods.

    Returns:
        Ours against each other method, the best first; none where ours is missing.

    Raises:
        ConfigError: rows without right answers.
        OutputError: the folder cannot be written to.
    """
    found = Summaries.of(rows, roles)
    frames = {
        "summary": found.table,
        "items": found.items[list(_ITEMS)],
        "comparisons": _compared(found.comparisons),
        "parts": found.parts,
        "kinds": found.kinds,
        "attributes": found.attributes,
        "still": found.still,
        "strengths": found.strengths,
        "curves": found.curves,
    }
    for name, frame in frames.items():
        if frame is not None and len(frame):
            write_csv(folder / f"{name}.csv", frame)
    write_text(folder / "ranking.md", "\n".join(_page(folder, found)) + "\n")
    write_curves(folder / "curves.png", found)
    return [by_error[0] for by_error in found.comparisons]


def _compared(comparisons: Sequence[Sequence[Comparison]]) -> Table:
    """The other's less ours as "MEASURE", and ours over the other's as "MEASURE ratio"."""
    rows = [
        {"method": one.other, "measure": name, **dataclasses.asdict(told)}
        for by_error in comparisons
        for one in by_error
        for name, told in ((one.measure, one.difference), (f"{one.measure} ratio", one.ratio))
    ]
    return pd.DataFrame(rows)


def _page(folder: Path, found: Summaries) -> list[str]:
    """The lines of ``ranking.md``."""
    lines = [*_head(folder), "## Ranking", "", *markdown(ranking_grid(found, found.order), numbered=True)]
    if found.too_few_seeds:
        lines += [found.too_few_seeds, ""]
    if found.comparisons:
        lines += [f"## {found.ours} against each other method, paired", "", *markdown(comparison_grid(found))]
    if len(found.parts):
        lines += ["## What each part gives on FlowEdit's path", "", *markdown(part_grid(found))]
    if found.apart:
        title = "## Editors that are no text editors in their papers"
        lines += [title, "", *markdown(ranking_grid(found, found.apart))]
    everyone = list(dict.fromkeys(found.table["method"]))
    for title, grid in (
        ("Error above the codec's by kind of change", kind_grid(found.kinds, found.order, marked=found.ours)),
        ("Error above the codec's by the one attribute that is asked for", attribute_grid(found)),
        (
            "Where the right answer is the picture: how far it moves (rms, white is 1)",
            kind_grid(found.still, everyone, marked=found.ours),
        ),
    ):
        if len(grid.head) > 1:
            lines += [f"## {title}", "", *markdown(grid)]
    if found.curves is not None:
        lines += ["## Over strengths", "", *markdown(curve_grid(found)), *markdown(strength_grid(found))]
    return lines


def _head(folder: Path) -> list[str]:
    run = RunFolder.read(folder)
    plan = read_plan(run)
    data = plan.data
    return [
        f"`{run.manifest.command}`",
        "",
        (
            f"{data.items} items of {data.name} (version {data.version}, {data.fingerprint[:16]}); model "
            f"{plan.model} ({plan.model_fingerprint}, {plan.network_dtype}); strengths "
            f"{', '.join(f'{strength:g}' for strength in plan.strengths)}; seeds "
            f"{', '.join(map(str, plan.seeds))}."
        ),
        "",
    ]
