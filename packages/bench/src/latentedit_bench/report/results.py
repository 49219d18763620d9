"""A finished run as files: tables that a person reads, tables that a program reads, and the curves as a plot."""

from collections.abc import Sequence
from pathlib import Path

from latentedit.api.runs.folder import RunFolder
from latentedit.core.files.writing import write_text
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.plan import read_plan
from latentedit_bench.ranking.ranking import Comparison
from latentedit_bench.ranking.summaries import ARMS, Summaries
from latentedit_bench.report.curves import write_curves
from latentedit_bench.report.tables import (
    comparison_grid,
    kind_grid,
    markdown,
    matrix_score_grid,
    ranking_grid,
    write_csv,
)


def write_results(folder: Path, rows: Table, *, ours: str, baselines: Sequence[str]) -> list[Comparison]:
    """Write ``ranking.md``, ``summary.csv``, ``items.csv``, ``kinds.csv``, ``still.csv``, the matrices and the plot.

    Args:
        folder: of the run.
        rows: all of them.
        ours: the method that is compared with each baseline.
        baselines: in any order.

    Returns:
        The comparisons, that with the best baseline first; none where ours or all baselines are missing.

    Raises:
        ConfigError: rows without right answers.
        OutputError: the folder cannot be written to.
    """
    found = Summaries.of(rows, ours=ours, baselines=baselines)
    frames = {
        "summary": found.table,
        "items": found.items,
        "kinds": found.kinds,
        "still": found.still,
        "strengths": found.strengths,
    }
    for name, frame in frames.items():
        write_csv(folder / f"{name}.csv", frame)
    for name in found.told_first:
        if name in found.matrices:
            matrix = found.matrices[name].reset_index(names="attribute")
            write_csv(folder / f"leakage-{name.replace(' ', '-')}.csv", matrix)
    write_text(folder / "ranking.md", "\n".join(_page(folder, found)) + "\n")
    write_curves(folder / "curves.png", found)
    return [by_error[0] for by_error in found.comparisons]


def _page(folder: Path, found: Summaries) -> list[str]:
    """The lines of ``ranking.md``."""
    lines = [*_head(folder), "## Ranking", "", *markdown(ranking_grid(found), numbered=True)]
    if found.comparisons:
        lines += [f"## {found.ours} against each baseline, paired", "", *markdown(comparison_grid(found))]
    if (gain := found.gain) is not None:
        said = f"{gain.mean:.3f} [{gain.low:.3f}, {gain.high:.3f}]"
        lines += [
            f"Joint gain (SDE of {ARMS[0]} less the better of {ARMS[1]} and {ARMS[2]}, at strength 1): {said}",
            "",
        ]
    for title, table in (
        ("Matched error by kind of change", found.kinds),
        ("Where the right answer is the picture: how far it moves (rms, white is 1)", found.still),
    ):
        if len(table):
            lines += [f"## {title}", "", *markdown(kind_grid(table, found.order, marked=found.ours))]
    if found.matrices:
        title = "## Leakage matrices, the reader's own leakage removed: medians over attributes"
        lines += [title, "", *markdown(matrix_score_grid(found))]
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
            f"{', '.join(f'{strength:g}' for strength in plan.strengths)}; seed {plan.seed}."
        ),
        "",
    ]
