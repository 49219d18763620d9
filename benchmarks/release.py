"""What it gives to let go of less of the unexplained: its part along the change, as the search does, or all of it.

    python benchmarks/release.py

Plan, written before the run: every test item that asks for a change, by the edit that the model recommends, kept local;
"before" lets go of all of x - x_hat(x_s, c0) where the change is strong, with a gain of 1. One seed that nothing was
chosen with, the same for both, as many evaluations. Partial captions decide, full ones stand beside. Bars: other
attributes changed at most .03 per edit, change outside at most half of that before, error no higher.
"""

import argparse
import dataclasses
from unittest import mock

import pandas as pd
import torch
from results import RESULTS, save, table

import latentedit
from latentedit.directions import identification
from latentedit.models.base import Backbone
from latentedit_bench.data.prepared import prepare, same_size
from latentedit_bench.experiments.hessian_preservation import OUTSIDE, outside
from latentedit_bench.experiments.known_items import CAPTIONS, asking, recommended
from latentedit_bench.metrics.statistics import Table, by_item, over_groups
from latentedit_bench.ranking.evaluate import Row, evaluate
from latentedit_bench.ranking.methods import Method

SEED = 21
BATCH = 24
BEFORE, NOW, LESS = "before", "now", "now less before"
MEASURES = {"error": "error, at most 1", OUTSIDE: "change outside", "others_changed": "other attributes changed"}


@torch.no_grad()
def measured(model: Backbone, captions: str, items: int) -> Table:
    """Rows of both searches on the same items."""
    now, rows = recommended(model), list[Row]()
    before = dataclasses.replace(now, search=dataclasses.replace(now.search, gain=1.0))
    for some in same_size(asking("test", items, captions=captions).items, BATCH):
        batch = prepare(model, some)
        with mock.patch.object(identification, "along", lambda part, _: part):
            rows += evaluate(Method(name=BEFORE, editor=before, local=True), batch, [1.0], seed=SEED, beside=False)[0]
        rows += evaluate(Method(name=NOW, editor=now, local=True), batch, [1.0], seed=SEED, beside=False)[0]
        print(f"{captions}: {len(rows) // 2} items", flush=True)
    table = pd.DataFrame(rows)
    return table.assign(error=table["error"].clip(upper=1), **outside(table))


def main() -> None:
    """Measure, and write results/release.json and results/release.md."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--items", type=int, default=480, help="of the test split, at most")
    options.add_argument("--dtype", default="auto", help="of the networks")
    chosen = options.parse_args()
    model = latentedit.load("portraits", dtype=chosen.dtype)
    numbers, cells = dict[str, dict[str, dict[str, float]]](), list[list[str]]()
    for captions in CAPTIONS:
        rows = measured(model, captions, chosen.items)
        for measure, words in MEASURES.items():
            wide = by_item(rows, measure)
            found = {name: over_groups(values) for name, values in wide.items()}
            found[LESS] = over_groups(wide[NOW] - wide[BEFORE])
            numbers.setdefault(captions, {})[measure] = {name: dataclasses.asdict(one) for name, one in found.items()}
            shown = [f"{one.mean:.4f} [{one.low:.4f}, {one.high:.4f}]" for one in found.values()]
            before = found[BEFORE].mean
            cells.append([captions, words, *shown, f"{found[NOW].mean / before:.2f}" if before else "-"])
    head = ["captions", "measure", BEFORE, NOW, LESS, "ratio"]
    told = f"Model {model.fingerprint}, seed {SEED}; in brackets 95 % bootstrap intervals over portraits."
    save(
        RESULTS / "release",
        {"model": model.fingerprint, "seed": SEED, "numbers": numbers},
        [told, "", *table(head, cells)],
    )


if __name__ == "__main__":
    main()
