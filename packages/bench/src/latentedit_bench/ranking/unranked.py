"""A run on data without right answers: every row as a table, and PIE-Bench's numbers where there are masks."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from latentedit_bench.data.prepared import Prepared
from latentedit_bench.metrics.pie_bench import Mode
from latentedit_bench.metrics.pie_bench_table import Batch, Networks, names, scores, skipped, summary
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.report.tables import write_csv

MODES: tuple[Mode, ...] = ("legacy", "corrected")


def pie_bench_columns(batch: Prepared, edited: Float[Tensor, "b 3 h w"]) -> Mapping[str, Float[Tensor, " b"]]:
    """PIE-Bench's numbers that need no network, in both modes, as "legacy background_mse"; none without masks."""
    if batch.mask is None:
        return {}
    told = [item.target_caption for item in batch.items]
    part = Batch(edited=edited, source=batch.source, mask=batch.mask, captions=told)
    return {f"{mode} {name}": values for mode in MODES for name, values in scores(part, mode=mode).items()}


def pie_bench_table(rows: Table) -> Table | None:
    """Means of PIE-Bench's numbers at strength 1: "method" and the columns of `pie_bench_table.summary`.

    None without masks.
    """
    measured = [f"{mode} {name}" for mode in MODES for name in names(mode) if f"{mode} {name}" in rows]
    if not measured:
        return None
    one = rows[rows["strength"] == 1].rename(columns={"kind": "category"})
    parts = [
        summary(part, metrics=measured).assign(method=method) for method, part in one.groupby("method", sort=False)
    ]
    table: Table = pd.concat(parts, ignore_index=True)
    return table[["method", *(name for name in table.columns if name != "method")]]


def write_unranked(folder: Path, rows: Table) -> list[str]:
    """Write ``rows.csv`` and, where there were masks, ``pie-bench.csv``: means at strength 1 by method and category.

    Returns:
        The numbers of PIE-Bench that were left out, each with the reason.

    Raises:
        OutputError: the folder cannot be written to.
    """
    write_csv(folder / "rows.csv", rows)
    table = pie_bench_table(rows)
    if table is None:
        return []
    write_csv(folder / "pie-bench.csv", table)
    left_out = {name: why for mode in MODES for name, why in skipped(mode, Networks()).items()}
    return [f"{name}: {why}" for name, why in left_out.items()]
