"""A finished run as files: tables that a person reads, tables that a program reads, and the curves as a plot."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes

from latentedit.analysis.plotting import COLOURS, GREY, new_figure, panels, save_figure
from latentedit.benchmark.ranking import (
    EFFECTS,
    Comparison,
    by_kind,
    by_strength,
    compare,
    gain,
    leakage_of,
    per_item,
    still,
    summary,
)
from latentedit.benchmark.run import PLAN_FILE
from latentedit.benchmark.tables import markdown_table, write_csv
from latentedit.encoding.output_files import write_text
from latentedit.metrics.leakage_matrix import (
    dci_completeness,
    dci_disentanglement,
    decomposability_of,
    effectiveness_of,
    gap_of,
)
from latentedit.metrics.statistics import Estimate, Table

SHOWN = {
    "matched": "matched error",
    "scaled": "scaled error",
    "area": "curve area",
    "error": "error at 1",
    "effect": "effect at 1",
    "decomposability": "decomposability",
    "disentanglement": "SDE",
    "done": "asked for, done",
    "others_changed": "others changed",
    "outside": "outside the truth's mask",
    "residual": "residual",
    "undo_psnr": "undo, dB",
    "linearity": "linearity",
    "evaluations": "evaluations",
}
"""Measures in the ranking, and what its columns are called."""

ARMS = ("eim joint", "eim text", "eim")
"""The arms whose joint gain is told."""


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
    items = per_item(rows)
    table, kinds, quiet = summary(items), by_kind(items), still(rows)
    order = list(dict.fromkeys(table["method"]))
    rivals = [name for name in order if name in set(baselines)]
    comparisons = [compare(items, ours, name) for name in rivals] if ours in order else []
    frames = {"summary": table, "items": items, "kinds": kinds, "still": quiet, "strengths": by_strength(rows)}
    for name, frame in frames.items():
        write_csv(folder / f"{name}.csv", frame)
    matrices = {name: found for name in order if (found := leakage_of(rows, name)) is not None}
    for name in (ours, *rivals[:1]):
        if name in matrices:
            write_csv(folder / f"leakage-{name.replace(' ', '-')}.csv", matrices[name].reset_index(names="attribute"))
    lines = [
        *_head(folder),
        *_ranking(table),
        *_compared(items, ours, [one.other for one in comparisons]),
        *_gained(gain(items, *ARMS)),
    ]
    lines += _kinds(kinds, order, "Matched error by kind of change")
    lines += _kinds(quiet, order, "Where the right answer is the picture: how far it moves (rms, white is 1)")
    write_text(folder / "ranking.md", "\n".join([*lines, *_matrices(matrices)]) + "\n")
    _draw(folder / "curves.png", table, order, ours, rivals)
    return comparisons


def _head(folder: Path) -> list[str]:
    plan = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
    data = plan["data"]
    return [
        f"`{plan['command']}`",
        "",
        (
            f"{data['items']} items of {data['name']} (version {data['version']}, {data['fingerprint'][:16]}); model "
            f"{plan['model']} ({plan['model_fingerprint']}, {plan['network_dtype']}); strengths "
            f"{', '.join(f'{strength:g}' for strength in plan['strengths'])}; seed {plan['seed']}."
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


def _compared(items: Table, ours: str, rivals: Sequence[str]) -> list[str]:
    """A row a baseline: the paired difference and the ratio by each error, and the verdict at matched effect."""
    rows: list[list[str]] = []
    for name in rivals:
        found = [compare(items, ours, name, measure=measure) for measure in ("matched", "scaled", "error")]
        cells = [part for one in found for part in (_difference(one), f"{one.ratio:.2f}")]
        rows.append([name, *cells[:2], found[0].verdict, *cells[2:]])
    head = ["baseline", "matched: baseline less ours", "ours / baseline", "ours is better"]
    head += ["scaled: baseline less ours", "ratio", "error at 1: baseline less ours", "ratio"]
    return [f"## {ours} against each baseline, paired", "", *markdown_table(head, rows)] if rows else []


def _difference(one: Comparison) -> str:
    return f"{one.difference.mean:.4f} [{one.difference.low:.4f}, {one.difference.high:.4f}]"


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


def _matrices(matrices: dict[str, Table]) -> list[str]:
    if not matrices:
        return []
    rows: list[list[str]] = []
    for name, found in matrices.items():
        matrix = torch.tensor(found.to_numpy(float))
        measures = (effectiveness_of, decomposability_of, gap_of, dci_disentanglement, dci_completeness)
        rows.append([name, *(f"{float(measure(matrix).nanmedian()):.3f}" for measure in measures)])
    head = ["method", "effectiveness", "decomposability", "gap", "DCI disentanglement", "DCI completeness"]
    return [
        "## Leakage matrices, the reader's own leakage removed: medians over attributes",
        "",
        *markdown_table(head, rows),
    ]


def _draw(path: Path, table: Table, order: Sequence[str], ours: str, rivals: Sequence[str]) -> None:
    figure = new_figure(2)
    curves, bars = panels(figure, ["leakage against effect", "matched error at the whole effect"], share_y=False)[0]
    figure.set_size_inches(12, max(4.5, 0.26 * len(order) + 1.2))
    shown = [ours, *rivals[: len(COLOURS) - 1]]
    for name in order:
        _draw_curve(curves, table, name, COLOURS[shown.index(name)] if name in shown else None)
    curves.set_xlabel("effect (1 is the whole change)")
    curves.set_ylabel("leakage (in the length of the whole change)")
    if set(shown) & set(order):
        curves.legend(fontsize=8)
    matched = table[table["measure"] == "matched"].set_index("method").loc[list(order)[::-1]]
    colours = [COLOURS[shown.index(name)] if name in shown else GREY for name in matched.index]
    spread = [(matched["mean"] - matched["low"]).clip(lower=0), (matched["high"] - matched["mean"]).clip(lower=0)]
    bars.barh(list(matched.index), matched["mean"], xerr=spread, color=colours, error_kw={"linewidth": 1})
    bars.tick_params(axis="y", labelsize=8)
    bars.set_xlabel("0 is the right answer, 1 no edit; 95 % intervals over pictures")
    save_figure(figure, path)


def _draw_curve(axis: Axes, table: Table, name: str, colour: str | None) -> None:
    part = table[table["method"] == name].set_index("measure")["mean"]
    leakages = [float(part[f"leakage at {wanted:g}"]) for wanted in EFFECTS]
    if colour is None:
        axis.plot((0.0, *EFFECTS), (0.0, *leakages), color="#cccccc", linewidth=0.8, zorder=1)
    else:
        axis.plot((0.0, *EFFECTS), (0.0, *leakages), color=colour, marker="o", markersize=4, label=name, zorder=2)
    axis.set_ylim(0, 1)
