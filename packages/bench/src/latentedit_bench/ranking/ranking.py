"""What the rows of a run say at strength 1: a ranking with intervals, and every other measure beside it.

The primary measure is the error above the codec's,

    above = min(error, 1) - min(error of the codec alone, 1)

of the same item: 0 is the right answer as well as the model's codec can draw it. An edit that is worse than none counts
as none, since a user would drop it. Errors are in units of the energy of the wanted change (`metrics.disentanglement`),
so a small part of a portrait weighs as much as a large one. Less change is less error; so the same stands beside it for
the change enlarged or shrunk to the whole effect ("above scaled").

Everything is averaged over the seeds of an item, differences between two methods are paired, item by item, and
intervals draw pictures, with all their items and seeds together.
"""

import dataclasses

import pandas as pd

from latentedit.core.errors import ConfigError
from latentedit_bench.metrics.matched import matched_error
from latentedit_bench.metrics.statistics import (
    Estimate,
    Table,
    Verdict,
    between,
    by_item,
    check_seeds,
    decide,
    means,
    over_groups,
    ratio_over_groups,
)
from latentedit_bench.ranking.evaluate import CODEC

PRIMARY = "above"
"""By which methods are ranked."""

COMPARED = (PRIMARY, "above scaled", "error")
"""Measures in which methods are compared pair by pair; "error" with the codec's share in it."""

AT_ONE = (
    "error",
    "effect",
    "leakage",
    "effectiveness",
    "decomposability",
    "disentanglement",
    "outside_change",
    "outside",
    "outside_psnr",
    "side_effect",
    "done",
    "others_changed",
    "evaluations",
)
"""Measures of the items that ask for a change, at strength 1."""

MEAN = "mean of attributes"
"""The attribute of a row over all attributes, each with the same weight."""

_KEYS = ("method", "item", "group", "kind", "asked")
_ESTIMATE = ["mean", "low", "high", "pictures"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two methods, item by item.

    Args:
        ours: name.
        other: name.
        measure: that is compared.
        difference: mean of the other's less ours, above 0 where ours is better.
        ratio: of the means, ours over the other's.
        verdict: whether ours is better.
    """

    ours: str
    other: str
    measure: str
    difference: Estimate
    ratio: Estimate
    verdict: Verdict

    @property
    def text(self) -> str:
        """The difference with its interval, such as "0.0421 [0.0310, 0.0550]"."""
        return f"{self.difference.mean:.4f} {between(self.difference.low, self.difference.high, 4)}".rstrip()


def per_item(rows: Table) -> Table:
    """One row a method and item that asks for a change, at strength 1: means over the seeds.

    Columns: "method", "item", "group", "kind", "asked", "seeds" (their number), "above", "above scaled", "scaled" (the
    error of the change enlarged or shrunk to the whole effect), and those of `AT_ONE`. Without rows of the codec its
    error counts as 0.

    Raises:
        ConfigError: rows without right answers.
    """
    if "effect" not in rows or rows["effect"].isna().all():
        raise ConfigError("no item has a right answer to rank by. Give the manifest truths")
    one = rows[rows["effect"].notna() & (rows["strength"] == 1)]
    effect, leakage = (one[name].to_numpy(float)[:, None] for name in ("effect", "leakage"))
    one = one.assign(scaled=matched_error(effect, leakage, 1.0), capped=one["error"].astype(float).clip(upper=1))
    codec = one[one["method"] == CODEC].set_index("item")
    for name, measure in ((PRIMARY, "capped"), ("above scaled", "scaled")):
        floor = one["item"].map(codec[measure]) if len(codec) else 0.0
        one[name] = one[measure] - floor
    measures = [name for name in (PRIMARY, "above scaled", "scaled", *AT_ONE) if name in one]
    grouped = one.astype(dict.fromkeys(measures, float)).groupby(list(_KEYS), sort=False)
    return grouped[measures].mean().assign(seeds=grouped["seed"].nunique()).reset_index()


def summary(items: Table) -> Table:
    """Mean and interval of every measure of every method, the best by `PRIMARY` first.

    Args:
        items: from `per_item`.

    Returns:
        "method", "measure", "mean", "low", "high", "pictures".
    """
    measures = [name for name in items.columns if name not in (*_KEYS, "seeds")]
    table = pd.DataFrame([row for name in measures for row in means(items, ["method"], name)])
    ranked: Table = table[table["measure"] == PRIMARY]
    order = ranked.sort_values("mean", kind="stable")["method"]
    return pd.concat([table[table["method"] == name] for name in order], ignore_index=True)


def compare(items: Table, ours: str, other: str, *, measure: str = PRIMARY) -> Comparison:
    """Whether one method errs less than another.

    Args:
        items: from `per_item`.
        ours: name.
        other: name.
        measure: one of `COMPARED`.

    Raises:
        ConfigError: too few seeds of one of them, see `statistics.check_seeds`.
    """
    check_seeds(int(items[items["method"].isin((ours, other))]["seeds"].min()))
    wide = by_item(items, measure)[[ours, other]].dropna()
    found = over_groups(wide[other] - wide[ours])
    ratio = ratio_over_groups(wide[ours], wide[other])
    return Comparison(ours=ours, other=other, measure=measure, difference=found, ratio=ratio, verdict=decide(found))


def still(rows: Table) -> Table:
    """How far pictures move whose right answer is the picture itself, at strength 1: root mean square, white is 1.

    Returns:
        "method", "kind", "mean", "low", "high", "pictures".
    """
    quiet = rows[rows["effect"].isna() & (rows["strength"] == 1)]
    return pd.DataFrame(means(quiet, ["method", "kind"], "changed_rms"), columns=["method", "kind", *_ESTIMATE])


def by_kind(items: Table) -> Table:
    """`PRIMARY` of each method on each kind of change: "method", "kind", "mean", "low", "high", "pictures"."""
    return pd.DataFrame(means(items, ["method", "kind"], PRIMARY), columns=["method", "kind", *_ESTIMATE])


def by_attribute(items: Table) -> Table:
    """`PRIMARY` of each method on each attribute that is asked for alone, and `MEAN`: every attribute weighs the same.

    Where a part brings its colour along, the item is of the part.

    Returns:
        "method", "attribute", "mean", "low", "high", "pictures".
    """
    single = items[(items["kind"] == "single") & (items["asked"] != "")]
    keys = ["method", "attribute"]
    single = single.assign(attribute=single["asked"].str.split(",").str[0])
    count = single.groupby(keys)[PRIMARY].transform("size")
    several = single.groupby("method")["attribute"].transform("nunique")
    weight = single.groupby("method")[PRIMARY].transform("size") / (count * several)
    whole = single.assign(attribute=MEAN, **{PRIMARY: single[PRIMARY] * weight})
    return pd.DataFrame(means(pd.concat([single, whole]), keys, PRIMARY), columns=[*keys, *_ESTIMATE])
