"""Compares two methods by image whose edits are in different runs of `bench run`, such as of two versions.

    python research/benchmarks/compare_runs.py out/now,out/now-2 "eim, refined" out/old,out/old-2 \\
        "flowalign, local, refined" --output research/results/benchmark/best/both-draws.json
    python research/benchmarks/compare_runs.py out/8419 "eim, refined" out/8419 "flowedit, local, refined" \\
        --without test8419-032-2 --output research/results/benchmark/best/draw-8419-flowedit-without.json
    python research/benchmarks/compare_runs.py --pool research/results/benchmark/best/{both-draws,draw-7311}.json \\
        --output research/results/benchmark/best/three-draws.json
    python research/benchmarks/compare_runs.py --pool \\
        "research/results/benchmark/best/comparisons.csv:flowedit, local, refined" \\
        research/results/benchmark/best/draw-{7311,8419}-flowedit.json \\
        --output research/results/benchmark/best/three-draws-flowedit.json

Runs of one method, separated by commas, are pooled: they have different images, and the same ones for both methods.
``--pool`` combines ratios that were written before, of draws whose edits are not at hand any more: the mean of their
logarithms, weighted by inverse variance, where a variance is that of a normal distribution with the interval. The rule
takes draws to have one ratio: where they differ by more than their intervals, the pooled interval is too narrow.
"""

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import norm

from latentedit_bench.ranking.summaries import CHANGES, compare_methods
from latentedit_keep.base import write_text

_OTHER = ", other run"


def read(runs: str, method: str) -> Any:
    """The rows of a method in ``items.csv`` of some runs."""
    items: Any = pd.concat([pd.read_csv(Path(run) / "items.csv") for run in runs.split(",")], ignore_index=True)
    return items[items["method"] == method]


def stored(place: str) -> dict[str, Any]:
    """The estimates in a file of this script, or in ``FILE.csv:METHOD`` of a ranking's comparisons."""
    file, _, method = place.partition(":")
    if not method:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    rows: Any = pd.read_csv(file)
    return rows[rows["method"] == method].set_index("measure").to_dict("index")


def pooled(draws: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """One ratio from those of independent draws."""
    wide = float(norm.ppf(0.975))
    deviations = [math.log(draw[name]["high"] / draw[name]["low"]) / (2 * wide) for draw in draws]
    weights = [deviation**-2 for deviation in deviations]
    total = sum(weights)
    mean = sum(weight * math.log(draw[name]["mean"]) for weight, draw in zip(weights, draws, strict=True)) / total
    bounds = [math.exp(mean + sign * wide * total**-0.5) for sign in (-1, 0, 1)]
    return dict(zip(("low", "mean", "high"), bounds, strict=True), images=sum(draw[name]["images"] for draw in draws))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("runs", "ours", "other_runs", "other"):
        parser.add_argument(name, nargs="?")
    parser.add_argument("--pool", nargs="+")
    parser.add_argument("--without", metavar="ITEM", help="an item that is left out, to see how much hangs on it")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    if given.pool:
        draws = [stored(place) for place in given.pool]
        shared = set.intersection(*(set(draw) for draw in draws))
        ratios = {name: pooled(draws, name) for name in draws[0] if name in shared and name.endswith(" ratio")}
        write_text(given.output, json.dumps(ratios, indent=1) + "\n")
        return
    other = given.other + _OTHER
    items = pd.concat([read(given.runs, given.ours), read(given.other_runs, given.other).assign(method=other)])
    items = items[items["item"] != given.without]
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
