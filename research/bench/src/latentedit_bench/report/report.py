"""A run as one HTML page for readers who do not know the project."""

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from markupsafe import Markup

from latentedit.batch import RunFolder
from latentedit.core import ConfigError, write_text
from latentedit.photo import content_of, read_image
from latentedit.viewer import View, ViewerFrame, viewer_element, viewer_script
from latentedit_bench.metrics.registered import registered_metrics
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.evaluate import ANSWERS, TRUE_CHANGE
from latentedit_bench.ranking.plan import read_plan
from latentedit_bench.ranking.run import SOURCE, TRUTH, preview_name, table_of
from latentedit_bench.ranking.search_spaces import OURS
from latentedit_bench.ranking.summaries import Summaries, has_edits, is_ranked, pie_bench_table, titles
from latentedit_bench.report.page import page, render_page
from latentedit_bench.report.plots import curves_svg
from latentedit_bench.report.tables import Section, cost_grid, method_grid, pie_bench_grid, sections

_TERMS: Mapping[str, str] = yaml.safe_load(  # definitions of the page's words, besides the metrics
    resources.files("latentedit_bench.report").joinpath("glossary.yaml").read_text("utf-8")
)

_UNDER_EDITS = ("error", "effect", "disentanglement")  # metrics that stand under each edit
_QUALITY = 80  # quality of images in the page; they are stored with this quality too
_FEWEST_SURE = 0.5  # total variation from which the reader is taken to see an attribute change in the right answer


def write_report(folder: Path, path: Path) -> None:
    """Write a run, finished or not, as one self-contained file."""
    run = RunFolder.read(folder)
    plan, rows = read_plan(run), table_of(run)
    if not has_edits(rows):
        raise ConfigError(f"the run in {folder} has no results yet. Continue it: {run.manifest.command}")
    records, shown = run.records(), examples(folder, rows)
    found = Summaries.of(rows) if is_ranked(rows) else None
    tables = [] if found is None else list(sections(found, plan.methods))
    pie_bench = pie_bench_table(rows)
    if pie_bench is not None:
        description = (
            "At strength 1, over all categories, in the units of PIE-Bench's tables: as its code computes them "
            '("legacy") and with its errors fixed ("corrected"). They measure what stays the same outside the mask, so '
            "an editor that does nothing is best."
        )
        grid = pie_bench_grid(pie_bench, marked=OURS)
        tables.append(Section(key="pie-bench", title="PIE-Bench's numbers", description=description, grid=grid))
    tables.append(Section(key="cost", title="Cost", description="", grid=cost_grid(rows, records, marked=OURS)))
    title = f"Benchmark of {plan.data.name} by {plan.model}"
    body = render_page(
        "report.html",
        title=title,
        plan=plan,
        manifest=run.manifest,
        done=len(records),
        failures=run.failures(),
        methods=method_grid(plan.methods, marked=OURS),
        ranked=found is not None,
        sections=tables,
        plots=[] if found is None else [Markup(plot) for plot in curves_svg(found)],
        examples=shown,
        viewer=lambda view: Markup(viewer_element(view.data())),
        viewer_script=Markup(viewer_script()),
        first=OURS if OURS in shown else next(iter(shown), ""),
        glossary=glossary(),
    )
    write_text(path, page(title, body))


def glossary() -> dict[str, str]:
    """The terms of a page and what they mean, metrics last."""
    return {**_TERMS, **{one.title or one.name: one.why for one in registered_metrics() if one.why}}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One edit."""

    place: str  # "best", "median" or "worst" by error; empty where there is nothing to order by
    item: str  # its id
    about: str  # the kind of change, and the attributes in which a reader sees the right answer differ
    numbers: Mapping[str, str]  # name to text
    view: View | None  # the edit against the image and the right answer; None where a file is missing


def examples(folder: Path, rows: Table) -> Mapping[str, Sequence[Example]]:
    """Each method's best, median and worst items by error; the first three items if there are no right answers."""
    one = rows[(rows["strength"] == 1) & ~rows["method"].isin(ANSWERS)]
    one = one.drop_duplicates(["method", "item"])  # the small images are those of the first seed
    return {
        str(method): [_example(folder, str(method), place, row) for place, row in _chosen(part)]
        for method, part in one.groupby("method", sort=False)
    }


def _chosen(part: Table) -> list[tuple[str, Mapping[str, Any]]]:
    errors = part["error"].to_numpy(float) if "error" in part else np.full(len(part), np.nan)
    records: list[Mapping[str, Any]] = part.to_dict("records")
    known = [int(place) for place in np.argsort(errors, kind="stable") if np.isfinite(errors[place])]
    if not known:
        return [("", row) for row in records[:3]]
    if len(known) < 3:
        return [(name, records[place]) for name, place in zip(("best", "worst"), known, strict=False)]
    wanted = {"best": known[0], "median": known[(len(known) - 1) // 2], "worst": known[-1]}
    return [(name, records[place]) for name, place in wanted.items()]


def _example(folder: Path, method: str, place: str, row: Mapping[str, Any]) -> Example:
    changes = {str(name).removeprefix(TRUE_CHANGE): row[name] for name in row if str(name).startswith(TRUE_CHANGE)}
    differing = ", ".join(name for name, moved in changes.items() if moved > _FEWEST_SURE)
    item, named = str(row["item"]), titles()
    values = {named[column]: row[column] for column in _UNDER_EDITS if column in row}
    values["changed by (rms, white is 1)"] = row.get("changed_rms")
    numbers = {name: f"{value:.3f}" for name, value in values.items() if value is not None and np.isfinite(value)}
    about = ": ".join(filter(None, [str(row["kind"]), str(row["change"])]))
    about += f"; the right answer differs in {differing}" if differing else ""
    view = _view(folder, method, item, place, numbers)
    return Example(place=place, item=item, about=about, numbers=numbers, view=view)


def _view(folder: Path, method: str, item: str, place: str, numbers: Mapping[str, str]) -> View | None:
    places = [folder / preview_name(kind, item) for kind in (SOURCE, TRUTH, method)]
    files = [(place, content_of(place)) for place in places]
    source, truth, edited = (None if content is None else read_image(at, content=content) for at, content in files)
    if source is None or edited is None:
        return None
    reason = "; ".join(f"{name} {value}" for name, value in numbers.items())
    return View(
        source=source,
        frames=[ViewerFrame(strength=1.0, image=edited, reason=reason)],
        title=f"{place}: {item}" if place else item,
        name=f"{item}.{method}",
        others={} if truth is None else {"right answer": truth},
        quality=_QUALITY,
    )
