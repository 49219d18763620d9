"""What an edit of fewer network evaluations is worth: ours at 16 against the best rival at 56.

    python benchmarks/budgets.py

Plan, written before the run: test items that ask for a change, partial captions, one seed that nothing was chosen with.
Both methods have the settings and the gain of their tuned rows and as many steps as each budget pays for; the rival is
the method outside our family that comes first in results/benchmark/partial. Bar: our error at 16 no higher than the
rival's at 56.
"""

import argparse
import dataclasses

import pandas as pd
import torch
from all_results import DTYPE, TABLES, TUNING
from results import RESULTS, save, table

import latentedit
from latentedit.models.base import Backbone
from latentedit_bench.data.prepared import prepare, same_size
from latentedit_bench.experiments.known_items import PARTIAL, asking
from latentedit_bench.metrics.statistics import Table, by_item, over_groups
from latentedit_bench.ranking.evaluate import Row, evaluate
from latentedit_bench.tuning.search_spaces import OURS, ROLES, at_budget, search_space, without_steps
from latentedit_bench.tuning.tuning import tuned_methods

SEED = 23
BATCH = 24
BUDGETS = (16, 28, 56)
LESS, MORE = BUDGETS[0], BUDGETS[-1]


def rival() -> str:
    """The first method of the ranking that is not of our family."""
    names = pd.read_csv(TABLES / "partial" / "comparisons.csv")["method"]
    return next(name for name in names if name not in ROLES.family)


@torch.no_grad()
def measured(model: Backbone, names: list[str], items: int) -> Table:
    """Rows of every method at every budget, named by both."""
    methods, rows = tuned_methods(TUNING, model, names), list[Row]()
    for some in same_size(asking("test", items, captions=PARTIAL).items, BATCH):
        batch = prepare(model, some)
        for method in methods:
            for budget in BUDGETS:
                space = dataclasses.replace(search_space(method.name), budget=budget)
                settings = without_steps(method.editor.to_dict(), space)
                editor = at_budget(space, settings, batch.latent)
                told = dataclasses.replace(method, name=row_name(method.name, budget), editor=editor)
                rows += evaluate(told, batch, [1.0], seed=SEED, beside=False)[0]
        print(f"{len(rows) // (len(names) * len(BUDGETS))} items", flush=True)
    table = pd.DataFrame(rows)
    return table.assign(error=table["error"].clip(upper=1))


def row_name(method: str, budget: int) -> str:
    """Of a method at a budget."""
    return f"{method}, {budget} evaluations"


def main() -> None:
    """Measure, and write results/budgets.json and results/budgets.md."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--items", type=int, default=192, help="of the test split, at most")
    chosen = options.parse_args()
    model = latentedit.load("portraits", dtype=DTYPE)
    names = [OURS, rival()]
    rows = measured(model, names, chosen.items)
    wide, spent = by_item(rows, "error"), rows.groupby("method")["evaluations"].mean()
    found = {name: over_groups(wide[name]) for name in wide}
    less, more = row_name(OURS, LESS), row_name(names[1], MORE)
    found[f"{more} less {less}"] = over_groups(wide[more] - wide[less])
    cells = [
        [name, f"{spent[name]:.0f}" if name in spent else "", f"{one.mean:.4f} [{one.low:.4f}, {one.high:.4f}]"]
        for name, one in found.items()
    ]
    told = f"Model {model.fingerprint}, {wide.shape[0]} items, partial captions, seed {SEED}; 95 % bootstrap intervals."
    save(
        RESULTS / "budgets",
        {"model": model.fingerprint, "seed": SEED, "items": wide.shape[0], "rival": names[1]}
        | {"errors": {name: dataclasses.asdict(one) for name, one in found.items()}},
        [told, "", *table(["method", "evaluations", "error, at most 1"], cells)],
    )


if __name__ == "__main__":
    main()
