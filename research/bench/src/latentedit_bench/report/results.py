"""A finished run as files: Markdown, CSV, the curves, and a sheet of edits."""

import dataclasses
from io import StringIO
from pathlib import Path

import pandas as pd
from PIL import Image

from latentedit.batch import RunFolder
from latentedit.core import write_text
from latentedit.editing import draw_grid
from latentedit.photo import read_image, save_image
from latentedit_bench.metrics.pie_bench import NOT_MEASURED
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.plan import Plan, read_plan
from latentedit_bench.ranking.run import SOURCE, TRUTH, preview_name
from latentedit_bench.ranking.search_spaces import ROLES, Roles
from latentedit_bench.ranking.summaries import PRIMARY, Comparison, Summaries, pie_bench_table
from latentedit_bench.report.plots import write_curves
from latentedit_bench.report.tables import markdown, sections

_ITEMS = ("method", "item", "group", "kind", "requested", PRIMARY, "above scaled", "error", "effect", "leakage")
"""Columns of ``items.csv``."""

_SHEET_ITEMS = 8
_PANEL_PX = 72


def write_results(folder: Path, rows: Table, roles: Roles = ROLES) -> list[Comparison]:
    """Write ``ranking.md``, the tables of `Summaries` as CSV, and the plot; ours against each other method.

    The comparisons have the other's mean minus ours as "MEASURE", ours over the other's as "MEASURE ratio".
    """
    found, run = Summaries.of(rows, roles), RunFolder.read(folder)
    plan = read_plan(run)
    data = plan.data
    compared = [
        {"method": one.other, "measure": name, **dataclasses.asdict(estimate)}
        for by_error in found.comparisons
        for one in by_error
        for name, estimate in ((one.measure, one.difference), (f"{one.measure} ratio", one.ratio))
    ]
    frames = {
        "summary": found.table,
        "items": found.items[list(_ITEMS)],
        "comparisons": pd.DataFrame(compared),
        "kinds": found.kinds,
        "attributes": found.attributes,
        "still": found.still,
        "strengths": found.strengths,
        "curves": found.curves,
    }
    for name, frame in frames.items():
        if frame is not None and len(frame):
            _write_csv(folder / f"{name}.csv", frame)
    about = (
        f"{data.items} items of {data.name} (version {data.version}, {data.fingerprint[:16]}); model "
        f"{plan.model} ({plan.model_fingerprint}, {plan.network_dtype}); strengths "
        f"{', '.join(f'{strength:g}' for strength in plan.strengths)}; seeds {', '.join(map(str, plan.seeds))}."
    )
    lines = [f"`{run.manifest.command}`", "", about, ""]
    for one in sections(found, plan.methods):
        lines += [f"## {one.title}", "", *markdown(one.grid)]
        lines += [one.after, ""] if one.after else []
    write_text(folder / "ranking.md", "\n".join(lines) + "\n")
    write_curves(folder / "curves.png", found)
    return [by_error[0] for by_error in found.comparisons]


def write_unranked(folder: Path, rows: Table) -> list[str]:
    """Write ``pie-bench.csv`` if there are masks; returns the measures of PIE-Bench that were left out, and why."""
    table = pie_bench_table(rows)
    if table is None:
        return []
    _write_csv(folder / "pie-bench.csv", table)
    return [f"{name}: {why}, which is not loaded" for name, why in NOT_MEASURED.items()]


def write_sheet(plan: Plan, folder: Path) -> None:
    """Write ``images.png``: rows of the first items, their right answers, and every method's edits at 1."""
    first = plan.dataset.items[:_SHEET_ITEMS]
    kinds = {"image": SOURCE, "right answer": TRUTH} | {method.name: method.name for method in plan.methods}
    places = [folder / preview_name(kind, item.id) for kind in kinds.values() for item in first]
    found: list[Image.Image | None] = [read_image(one).convert("RGB") if one.exists() else None for one in places]
    lines = [f"{number}. {item.kind}: {item.about.get('change', '')}" for number, item in enumerate(first, 1)]
    sheet = draw_grid(
        found,
        columns=len(first),
        title=f"{plan.dataset.name}: strength 1, every method",
        lines=["   ".join(lines)],
        row_texts=list(kinds),
        panel_px=_PANEL_PX,
    )
    save_image(sheet.quantize(256, dither=Image.Dither.NONE).convert("RGB"), folder / "images.png")  # a third


def _write_csv(path: Path, frame: Table) -> None:
    """Atomically, with five significant digits."""
    text = StringIO()
    frame.to_csv(text, index=False, float_format="%.5g", lineterminator="\n")
    write_text(path, text.getvalue())
