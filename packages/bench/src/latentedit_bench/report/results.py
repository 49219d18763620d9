"""A finished run as files: tables that a person reads, tables that a program reads, and the curves as a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latentedit.api.runs.folder import RunFolder
from latentedit.core.files.writing import write_text
from latentedit_bench.metrics.statistics import Estimate, Table
from latentedit_bench.ranking.plan import read_plan
from latentedit_bench.ranking.ranking import Comparison
from latentedit_bench.ranking.summaries import ARMS, MATRIX_SCORES, SHOWN, Summaries, matrix_scores
from latentedit_bench.report.curves import write_curves
from latentedit_bench.report.tables import markdown_table, write_csv


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
    lines = [*_head(folder), *_ranking(found.table), *_compared(found.comparisons), *_gained(found.gain)]
    lines += _kinds(found.kinds, found.order, "Matched error by kind of change")
    quiet = "Where the right answer is the picture: how far it moves (rms, white is 1)"
    lines += _kinds(found.still, found.order, quiet)
    write_text(folder / "ranking.md", "\n".join([*lines, *_matrices(found.matrices)]) + "\n")
    write_curves(folder / "curves.png", found)
    return [by_error[0] for by_error in found.comparisons]


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


def _ranking(table: Table) -> list[str]:
    wide = {(row["method"], row["measure"]): row for row in table.to_dict("records")}
    known = [name for name in SHOWN if any(measure == name for _, measure in wide)]
    order = list(dict.fromkeys(table["method"]))
    rows = [[str(place), name, *(_cell(wide[name, one], one) for one in known)] for place, name in enumerate(order, 1)]
    return ["## Ranking", "", *markdown_table(["", "method", *(SHOWN[name] for name in known)], rows)]


def _cell(row: dict[str, Any], measure: str) -> str:
    if not np.isfinite(row["mean"]):
        return "-"
    if measure == "evaluations":
        return f"{row['mean']:.0f}"
    return f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def _compared(comparisons: Sequence[tuple[Comparison, ...]]) -> list[str]:
    """A row a baseline: the paired difference and the ratio by each error, and the verdict at matched effect."""
    rows: list[list[str]] = []
    for by_error in comparisons:
        cells = [part for one in by_error for part in (one.text, f"{one.ratio:.2f}")]
        rows.append([by_error[0].other, *cells[:2], by_error[0].verdict, *cells[2:]])
    head = ["baseline", "matched: baseline less ours", "ours / baseline", "ours is better"]
    head += ["scaled: baseline less ours", "ratio", "error at 1: baseline less ours", "ratio"]
    if not rows:
        return []
    return [f"## {comparisons[0][0].ours} against each baseline, paired", "", *markdown_table(head, rows)]


def _gained(found: Estimate | None) -> list[str]:
    if found is None:
        return []
    said = f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"
    return [f"Joint gain (SDE of {ARMS[0]} less the better of {ARMS[1]} and {ARMS[2]}, at strength 1): {said}", ""]


def _kinds(found: Table, order: Sequence[str], title: str) -> list[str]:
    """A column a kind, a row a method."""
    names = list(dict.fromkeys(found["kind"]))
    wide = {(row["method"], row["kind"]): _cell(row, "") for row in found.to_dict("records")}
    rows = [[name, *(wide.get((name, kind), "-") for kind in names)] for name in order]
    return [f"## {title}", "", *markdown_table(["method", *names], rows)] if names else []


def _matrices(matrices: Mapping[str, Table]) -> list[str]:
    if not matrices:
        return []
    rows = [[name, *(f"{score:.3f}" for score in matrix_scores(found).values())] for name, found in matrices.items()]
    head = ["method", *MATRIX_SCORES]
    return [
        "## Leakage matrices, the reader's own leakage removed: medians over attributes",
        "",
        *markdown_table(head, rows),
    ]
