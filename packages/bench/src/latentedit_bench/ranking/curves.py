"""Leakage as a function of effect over the strengths of a run: what methods leak at equal effect, and how it grows.

What a strength other than 1 means is our choice for methods that have none, so none of this is a ranking.
"""

import numpy as np
import pandas as pd
import torch

from latentedit_bench.metrics.matched import curve_area, leakage_at, matched_error
from latentedit_bench.metrics.statistics import Table, means
from latentedit_bench.metrics.strength_curve import linearity, monotonicity

EFFECTS = (0.25, 0.5, 0.75, 1.0)
"""At which curves are read; leakages count at most 1 there, as they do in the area."""

CURVES = ("matched", "reached", "area", "linearity", "monotonicity", *(f"leakage at {wanted:g}" for wanted in EFFECTS))
"""What `curves` finds."""

_BY_STRENGTH = ("error", "effect", "leakage", "effectiveness", "decomposability", "disentanglement")
"""Measures that are told at every strength."""


def item_curves(rows: Table) -> Table:
    """One row a method and item that asks for a change: its curve over all strengths, in numbers; means over the seeds.

    Columns: "method", "item", "group", "kind" and those of `CURVES`: the `matched_error`, the share of seeds in which
    the whole change is reached, `curve_area`, and so on. An editor may take one strength alone; it has no line then.
    """
    found = [_curves(str(name), part) for name, part in rows[rows["effect"].notna()].groupby("method", sort=False)]
    return pd.concat(found, ignore_index=True)


def summary_of_curves(rows: Table) -> Table:
    """Mean and interval of each of `CURVES` of every method: "method", "measure", "mean", "low", "high", "pictures"."""
    items = item_curves(rows)
    return pd.DataFrame([row for name in CURVES for row in means(items, ["method"], name)])


def _curves(method: str, part: Table) -> Table:
    keys = ["item", "seed"]
    effects = part.pivot_table(index=keys, columns="strength", values="effect", sort=True)
    leakages = part.pivot_table(index=keys, columns="strength", values="leakage", sort=True).reindex(effects.index)
    along, beside = effects.to_numpy(float), leakages.to_numpy(float)
    strengths = torch.tensor(list(effects.columns), dtype=torch.float64)
    lines = len(strengths) > 1
    table = pd.DataFrame(
        {
            "matched": matched_error(along, beside, 1.0),
            "reached": leakage_at(along, beside, 1.0)[1].astype(float),
            "area": curve_area(along, beside),
            "linearity": linearity(torch.tensor(along), strengths).numpy() if lines else np.nan,
            "monotonicity": monotonicity(torch.tensor(along), strengths).numpy() if lines else np.nan,
        }
        | {f"leakage at {wanted:g}": np.minimum(leakage_at(along, beside, wanted)[0], 1) for wanted in EFFECTS},
        index=effects.index,
    )
    about = part.drop_duplicates("item").set_index("item")[["group", "kind"]]
    means_of_seeds: Table = table.groupby("item", sort=False).mean()
    return means_of_seeds.join(about).reset_index().assign(method=method)[["method", "item", "group", "kind", *CURVES]]


def by_strength(rows: Table) -> Table:
    """What each method comes to at each strength, over the items that ask for a change.

    Returns:
        "method", "strength", "measure" (such as "error"), "mean", "low", "high", "pictures".
    """
    asking, keys = rows[rows["effect"].notna()], ["method", "strength"]
    parts = [part for _, part in asking.groupby(keys, sort=False)]
    found = [row for part in parts for name in _BY_STRENGTH if name in part for row in means(part, keys, name)]
    return pd.DataFrame(found, columns=[*keys, "measure", "mean", "low", "high", "pictures"])
