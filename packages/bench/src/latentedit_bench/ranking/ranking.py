"""What the rows of a run say: a ranking at matched effect with intervals, and every other measure beside it.

At a strength of 1 methods change pictures by different amounts, and less change is less error. So they are compared at
the same effect: each item's curve of leakage against effect over the strengths is read at the whole effect, where

    matched error = leakage^2        (the error to the right answer where the effect is 1)

and counts at most 1, the error of no edit. What a strength other than 1 means is our choice for most baselines; so the
scaled error stands beside it, of the change at strength 1 alone, enlarged or shrunk to the whole effect. Differences
between two methods are paired, item by item.
"""

import dataclasses

import numpy as np
import pandas as pd
import torch

from latentedit.core.errors import ConfigError
from latentedit_bench.metrics.disentanglement import joint_gain
from latentedit_bench.metrics.leakage_matrix import corrected, leakage_matrix
from latentedit_bench.metrics.matched import curve_area, leakage_at, matched_error
from latentedit_bench.metrics.statistics import Estimate, Table, Verdict, by_item, decide, means, over_groups
from latentedit_bench.metrics.strength_curve import linearity, monotonicity
from latentedit_bench.ranking.evaluate import CHANGE, TRUE_CHANGE

EFFECTS = (0.25, 0.5, 0.75, 1.0)
"""At which curves are read; leakages count at most 1 there, as they do in the area."""

AT_ONE = (
    "error",
    "effect",
    "leakage",
    "effectiveness",
    "decomposability",
    "disentanglement",
    "outside",
    "outside_psnr",
    "done",
    "others_changed",
    "drift",
    "residual",
    "undo_error",
    "undo_psnr",
    "evaluations",
)
"""Measures of the items that ask for a change, at strength 1."""

_SCORES = ("effectiveness", "decomposability", "disentanglement")
"""Those that are also told at every strength."""

_BY_KIND = ["method", "kind", "mean", "low", "high", "pictures"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two methods, item by item.

    Args:
        ours: name.
        other: name.
        difference: mean of the other's error less ours, above 0 where ours is better.
        ratio: of the mean errors, ours over the other's.
        verdict: whether ours is better.
    """

    ours: str
    other: str
    difference: Estimate
    ratio: float
    verdict: Verdict

    @property
    def text(self) -> str:
        """The difference with its interval, such as "0.0421 [0.0310, 0.0550]"."""
        return f"{self.difference.mean:.4f} [{self.difference.low:.4f}, {self.difference.high:.4f}]"


def per_item(rows: Table) -> Table:
    """One row a method and item that asks for a change: its curve in numbers, and what was measured at strength 1.

    Columns: "method", "item", "group", "kind", "matched", "scaled", "reached", "area", "linearity", "monotonicity",
    "leakage at EFFECT", and those of `AT_ONE`.
    """
    _check(rows)
    asking = rows[rows["effect"].notna()]
    found: list[Table] = []
    for method, part in asking.groupby("method", sort=False):
        found.append(_curves(str(method), part))
    return pd.concat(found, ignore_index=True)


def _check(rows: Table) -> None:
    if "effect" not in rows or rows["effect"].isna().all():
        raise ConfigError("no item has a right answer to rank by. Give the manifest truths")


def _curves(method: str, part: Table) -> Table:
    effects = part.pivot_table(index="item", columns="strength", values="effect", sort=True)
    leakages = part.pivot_table(index="item", columns="strength", values="leakage", sort=True).reindex(effects.index)
    along, beside = effects.to_numpy(float), leakages.to_numpy(float)
    strengths = torch.tensor(list(effects.columns), dtype=torch.float64)
    lines = len(strengths) > 1  # an editor may take one strength alone
    one = part[part["strength"] == 1].set_index("item").reindex(effects.index)
    single = (one["effect"].to_numpy(float)[:, None], one["leakage"].to_numpy(float)[:, None])
    table = pd.DataFrame(
        {
            "method": method,
            "item": effects.index,
            "group": one["group"].to_numpy(),
            "kind": one["kind"].to_numpy(),
            "matched": matched_error(along, beside, 1.0),
            "scaled": matched_error(*single, 1.0),
            "reached": leakage_at(along, beside, 1.0)[1],
            "area": curve_area(along, beside),
            "linearity": linearity(torch.tensor(along), strengths).numpy() if lines else np.nan,
            "monotonicity": monotonicity(torch.tensor(along), strengths).numpy() if lines else np.nan,
        }
    )
    for wanted in EFFECTS:
        table[f"leakage at {wanted:g}"] = np.minimum(leakage_at(along, beside, wanted)[0], 1)
    for name in AT_ONE:
        if name in one:
            table[name] = one[name].to_numpy(float)
    return table


def summary(items: Table) -> Table:
    """Mean and interval of every measure of every method, the best at matched effect first.

    Args:
        items: from `per_item`.

    Returns:
        "method", "measure", "mean", "low", "high", "pictures".
    """
    measures = [name for name in items.columns if name not in ("method", "item", "group", "kind")]
    table = pd.DataFrame([row for name in measures for row in means(items, ["method"], name)])
    matched: Table = table[table["measure"] == "matched"]
    order = matched.sort_values("mean", kind="stable")["method"]
    return pd.concat([table[table["method"] == name] for name in order], ignore_index=True)


def compare(items: Table, ours: str, other: str, *, measure: str = "matched") -> Comparison:
    """Whether one method errs less than another.

    Args:
        items: from `per_item`.
        ours: name.
        other: name.
        measure: "matched", "scaled" or "error".
    """
    wide = by_item(items, measure)[[ours, other]].dropna()
    found = over_groups(wide[other] - wide[ours])
    ratio = float(wide[ours].mean() / wide[other].mean())
    return Comparison(ours=ours, other=other, difference=found, ratio=ratio, verdict=decide(found))


def still(rows: Table) -> Table:
    """How far pictures move whose right answer is the picture itself, at strength 1: root mean square, white is 1.

    Returns:
        "method", "kind", "mean", "low", "high", "pictures".
    """
    quiet = rows[rows["effect"].isna() & (rows["strength"] == 1)]
    return pd.DataFrame(means(quiet, ["method", "kind"], "changed_rms"), columns=_BY_KIND)


def by_kind(items: Table) -> Table:
    """The matched error of each method on each kind of change: "method", "kind", "mean", "low", "high", "pictures"."""
    return pd.DataFrame(means(items, ["method", "kind"], "matched"), columns=_BY_KIND)


def by_strength(rows: Table) -> Table:
    """The disentanglement of each method at each strength, over the items that ask for a change.

    Returns:
        "method", "strength", "measure" (effectiveness, decomposability or disentanglement), "mean", "low", "high",
        "pictures".
    """
    asking, keys = rows[rows["effect"].notna()], ["method", "strength"]
    parts = [part for _, part in asking.groupby(keys, sort=False)]
    found = [row for part in parts for name in _SCORES if name in part for row in means(part, keys, name)]
    return pd.DataFrame(found, columns=[*keys, "measure", "mean", "low", "high", "pictures"])


def gain(items: Table, joint: str, text: str, image: str) -> Estimate | None:
    """`metrics.disentanglement.joint_gain` of three arms at strength 1, paired; None where one of them is missing."""
    if "disentanglement" not in items:
        return None
    wide = by_item(items, "disentanglement")
    if not {joint, text, image} <= set(wide.columns):
        return None
    found = joint_gain(*(torch.tensor(wide[arm].to_numpy(float)) for arm in (joint, text, image)))
    return over_groups(pd.Series(found.numpy(), index=wide.index))


def leakage_of(rows: Table, method: str) -> Table | None:
    """Lambda of one method over the items that ask for one attribute, the reader's own leakage removed.

    Row j, column k: how far attribute j moves when k is asked for, as a share of how far k moves in the right answer.

    Returns:
        None where nothing was read, an attribute was never asked for, or the reader cannot tell two of them apart.
    """
    columns = [name for name in rows.columns if str(name).startswith(CHANGE)]
    single = rows[(rows["method"] == method) & (rows["kind"] == "single") & (rows["strength"] == 1)]
    if not columns or single.empty:
        return None
    truth = single[[f"{TRUE_CHANGE}{str(name).removeprefix(CHANGE)}" for name in columns]].to_numpy(float)
    asked = sorted(set(truth.argmax(1).tolist()))
    names = [str(columns[index]).removeprefix(CHANGE) for index in asked]
    changes = torch.tensor(single[columns].to_numpy(float)[:, asked])
    wanted = torch.tensor(truth[:, asked])
    place = wanted.argmax(1)
    try:
        matrix = corrected(leakage_matrix(changes, wanted, place), leakage_matrix(wanted, wanted, place))
    except ConfigError:  # two attributes that the reader cannot tell apart in these right answers
        return None
    return pd.DataFrame(matrix.numpy(), index=names, columns=names)
