"""Compares two methods by image whose edits are in different runs of `bench run`, such as of two versions.

    python research/benchmarks/compare_runs.py out/8419 "eim, refined" out/8419-old "flowalign, local, refined" \\
        --output research/results/benchmark/best/draw-8419-flowalign.json
    python research/benchmarks/compare_runs.py --pool research/results/benchmark/best/draw-*-flowalign.json \\
        --output research/results/benchmark/best/draws-flowalign.json

The first compares on one draw of items. The second makes one ratio of those of all draws, whose edits need not be at
hand any more, by the rule of `latentedit_bench.metrics.statistics.ratio_over_draws`. "won" is the share of items on
which ours errs less; files of draws that were compared before 30 November 2026 lack it.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from latentedit.core import write_text
from latentedit_bench.metrics.statistics import Estimate, Table, by_item, over_groups, ratio_over_draws
from latentedit_bench.ranking.summaries import CHANGES, compare_methods

_OTHER = ", other run"


def read(runs: str, method: str) -> Table:
    """The rows of a method in ``items.csv`` of some runs."""
    items: Table = pd.concat([pd.read_csv(Path(run) / "items.csv") for run in runs.split(",")], ignore_index=True)
    return items[items["method"] == method]


def won(items: Table, ours: str, other: str, measure: str) -> Estimate:
    """The share of items on which ours errs less."""
    wide = by_item(items, measure).dropna()
    return over_groups(wide[ours] < wide[other])


def pooled(draws: list[dict[str, Estimate]]) -> dict[str, Estimate]:
    """The ratios of all draws as one, and the shares of items, as odds, of the draws that have them."""
    found = dict[str, Estimate]()
    for name in dict.fromkeys(name for draw in draws for name in draw):
        each = [draw[name] for draw in draws if name in draw]
        if name.startswith("won"):
            found[name] = _mapped(ratio_over_draws([_mapped(one, lambda p: p / (1 - p)) for one in each]), _share)
        elif name.endswith(" ratio") and len(each) == len(draws):
            found[name] = ratio_over_draws(each)
    return found


def _share(odds: float) -> float:
    return odds / (1 + odds)


def _mapped(one: Estimate, how: Callable[[float], float]) -> Estimate:
    return Estimate(mean=how(one.mean), low=how(one.low), high=how(one.high), images=one.images)


def compared(items: Table, ours: str, other: str) -> dict[str, Estimate]:
    """Ratios, differences and shares of items, by `per_item` of one draw."""
    parts = {"": items} | {f", {part}": items[items["kind"].isin(kinds)] for part, kinds in CHANGES.items()}
    found = {f"above{part}": compare_methods(some, ours, other) for part, some in parts.items()}
    found |= {"above scaled": compare_methods(items, ours, other, measure="above scaled")}
    estimates = {f"{name} ratio": one.ratio for name, one in found.items()}
    estimates |= {name: one.difference for name, one in found.items()}
    return estimates | {f"won, {name}": won(items, ours, other, name) for name in ("above", "above scaled")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("runs", "ours", "other_runs", "other"):
        parser.add_argument(name, nargs="?")
    parser.add_argument("--pool", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    if given.pool:
        files = [json.loads(place.read_text(encoding="utf-8")) for place in given.pool]
        found = pooled([{name: Estimate(**one) for name, one in file.items()} for file in files])
    else:
        other = given.other + _OTHER
        items = pd.concat([read(given.runs, given.ours), read(given.other_runs, given.other).assign(method=other)])
        found = compared(items, given.ours, other)
    stored = {name: dataclasses.asdict(one) for name, one in found.items()}
    write_text(given.output, json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
