"""A run on data without right answers: every row as a table, and PIE-Bench's numbers where there are masks."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from latentedit_bench.metrics.pie_bench import MODES, NOT_MEASURED, SCALE
from latentedit_bench.metrics.statistics import Table, estimate
from latentedit_bench.report.tables import write_csv

OVERALL = "all"
"""The category of a row over all categories."""


def pie_bench_table(rows: Table, *, seed: int = 0) -> Table | None:
    """PIE-Bench's numbers at strength 1, by method, category and number; None without masks.

    Args:
        rows: one of each edited picture; rows of one source picture share a "group", which the bootstrap draws.
        seed: of the bootstrap.

    Returns:
        "method", "category", "metric", "mean", "low", "high", "pictures", "rows", "nan": for each category in order and
        then for `OVERALL`, the mean of the rows that have a number with its 95 % interval, the pictures behind it, all
        rows, and those without a number, which PIE-Bench drops.
    """
    measured = [f"{mode} {name}" for mode in MODES for name in SCALE if f"{mode} {name}" in rows]
    if not measured:
        return None
    found: list[dict[str, object]] = []
    for method, part in rows[rows["strength"] == 1].groupby("method", sort=False):
        groups = pd.Series(pd.factorize(part["group"])[0], index=part.index)
        categories = [(str(kind), some) for kind, some in part.groupby("kind", sort=True)]
        for category, some in [*categories, (OVERALL, part)]:
            pictures = [(int(group),) for group in groups.loc[some.index]]
            for metric in measured:
                values = some[metric].to_numpy(float)
                counts = {"rows": len(some), "nan": int((~np.isfinite(values)).sum())}
                told = dataclasses.asdict(estimate(values.tolist(), pictures, seed=seed))
                found.append({"method": method, "category": category, "metric": metric, **told, **counts})
    return pd.DataFrame(found)


def write_unranked(folder: Path, rows: Table) -> list[str]:
    """Write ``pie-bench.csv`` where there were masks: means at strength 1 by method and category.

    Returns:
        The numbers of PIE-Bench that were left out, each with the reason.

    Raises:
        OutputError: the folder cannot be written to.
    """
    table = pie_bench_table(rows)
    if table is None:
        return []
    write_csv(folder / "pie-bench.csv", table)
    return [f"{name}: {why}, which is not loaded" for name, why in NOT_MEASURED.items()]
