"""Compares two methods by image whose edits are in different runs of `bench run`, such as of two versions.

    python benchmarks/compare_runs.py out/now,out/now-2 "eim, refined" out/old,out/old-2 "flowalign, local, refined" \\
        --output results/benchmark/best/both-draws.json

Runs of one method, separated by commas, are pooled: they have different images, and the same ones for both methods.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from latentedit_bench.ranking.summaries import CHANGES, compare_methods
from latentedit_keep.base.files import write_text

_OTHER = ", other run"


def read(runs: str, method: str) -> Any:
    """The rows of a method in ``items.csv`` of some runs."""
    items: Any = pd.concat([pd.read_csv(Path(run) / "items.csv") for run in runs.split(",")], ignore_index=True)
    return items[items["method"] == method]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("runs", "ours", "other_runs", "other"):
        parser.add_argument(name)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    other = given.other + _OTHER
    items = pd.concat([read(given.runs, given.ours), read(given.other_runs, given.other).assign(method=other)])
    parts = {"": items} | {f", {part}": items[items["kind"].isin(kinds)] for part, kinds in CHANGES.items()}
    found = {f"above{part}": compare_methods(some, given.ours, other) for part, some in parts.items()}
    found |= {"above scaled": compare_methods(items, given.ours, other, measure="above scaled")}
    estimates = {f"{name} ratio": one.ratio for name, one in found.items()}
    estimates |= {name: one.difference for name, one in found.items()}
    write_text(
        given.output, json.dumps({name: dataclasses.asdict(one) for name, one in estimates.items()}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
