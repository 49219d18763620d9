"""A run as one HTML page that a reader who knows nothing of the project can read."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from latentedit.api.runs.folder import RunFolder
from latentedit.api.viewer.page import viewer_element, viewer_script
from latentedit.core.errors import ConfigError
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.plan import PlanSpec, read_plan
from latentedit_bench.ranking.run import table_of
from latentedit_bench.ranking.summaries import Summaries, is_ranked
from latentedit_bench.ranking.unranked import pie_bench_table
from latentedit_bench.report.curves import curves_svg
from latentedit_bench.report.page import page, render
from latentedit_bench.report.report_pictures import examples
from latentedit_bench.report.tables import (
    attribute_grid,
    comparison_grid,
    cost_grid,
    curve_grid,
    kind_grid,
    method_grid,
    part_grid,
    pie_bench_grid,
    ranking_grid,
    strength_grid,
)
from latentedit_bench.tuning.search_spaces import OURS
from latentedit_keep.files import write_text

GLOSSARY: Mapping[str, str] = yaml.safe_load(
    resources.files("latentedit_bench.report").joinpath("glossary.yaml").read_text("utf-8")
)
"""What the words of the page mean."""


def write_report(folder: Path, path: Path) -> None:
    """Write a run, as far as it is, as one file that shows everything without asking any other machine.

    Args:
        folder: of a run of ``latentedit bench run``.
        path: of the page.

    Raises:
        ConfigError: no run of a benchmark there, or one of which nothing is finished.
        FileFormatError: a file of the run that is damaged.
        OutputError: the place cannot be written to.
    """
    run = RunFolder.read(folder)
    plan, rows = read_plan(run), table_of(run)
    if len(rows) == 0:
        raise ConfigError(f"the run in {folder} has no results yet. Let it go on: latentedit bench resume {folder}")
    title = f"Benchmark of {plan.data.name} by {plan.model}"
    write_text(path, page(title, _body(run, plan, rows, title)))


def _body(run: RunFolder, plan: PlanSpec, rows: Table, title: str) -> str:
    records, ranked = run.records(), is_ranked(rows)
    shown = examples(run.path, rows)
    pie_bench = pie_bench_table(rows)
    return render(
        "report.html",
        title=title,
        plan=plan,
        manifest=run.manifest,
        done=len(records),
        failures=run.failures(),
        methods=method_grid(plan.methods, marked=OURS),
        ranked=_ranked(rows) if ranked else None,
        pie_bench=None if pie_bench is None else pie_bench_grid(pie_bench, marked=OURS),
        cost=cost_grid(rows, records, marked=OURS),
        examples=shown,
        viewer=lambda view: Markup(viewer_element(view.data())),
        viewer_script=Markup(viewer_script()),
        first=OURS if OURS in shown else next(iter(shown), ""),
        glossary=GLOSSARY,
    )


def _ranked(rows: Table) -> dict[str, Any]:
    """What there is to say only where there are right answers."""
    found = Summaries.of(rows)
    everyone = list(dict.fromkeys(found.table["method"]))
    return {
        "ours": found.ours,
        "too_few_seeds": found.too_few_seeds,
        "ranking": ranking_grid(found, found.order),
        "apart": ranking_grid(found, found.apart) if found.apart else None,
        "parts": part_grid(found) if len(found.parts) else None,
        "comparisons": comparison_grid(found) if found.comparisons else None,
        "plots": [Markup(svg) for svg in curves_svg(found)],
        "curves": None if found.curves is None else curve_grid(found),
        "kinds": kind_grid(found.kinds, found.order, marked=OURS),
        "attributes": attribute_grid(found) if len(found.attributes) else None,
        "still": kind_grid(found.still, everyone, marked=OURS) if len(found.still) else None,
        "strengths": strength_grid(found),
    }
