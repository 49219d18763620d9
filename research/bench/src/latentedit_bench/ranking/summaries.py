"""Summaries of the rows of a run: rankings at strength 1, curves over strengths, and the tables of both.

The primary measure is the error above the codec's,

    above = min(error, 1) - min(error of the codec alone, 1)

of the same item: 0 is the right answer as well as the model's codec can draw it. An edit that is worse than none counts
as none. Less change is less error; so "above scaled" is the same of the change enlarged or shrunk to the whole effect.

Everything is averaged over the seeds of an item, differences between two methods are paired, item by item, and
intervals draw images, with all their items and seeds. Curves give leakage as a function of effect, and rank nothing.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from latentedit.core import ConfigError
from latentedit_bench.metrics.decisions import Difference, Measure
from latentedit_bench.metrics.matched import leakage_at, linearity, matched_error
from latentedit_bench.metrics.pie_bench import MODES, SCALE
from latentedit_bench.metrics.registered import registered_metrics
from latentedit_bench.metrics.statistics import (
    SEEDS,
    Estimate,
    Table,
    Verdict,
    between,
    by_item,
    decide,
    over_groups,
    ratio_over_groups,
)
from latentedit_bench.ranking.evaluate import ANSWERS, CODEC, REFINED
from latentedit_bench.ranking.search_spaces import ROLES, Roles

PRIMARY = "above"  # measure that ranks the methods
COMPARED = (PRIMARY, "above scaled", "error")  # pair by pair; "error" with the codec's share in it
CHANGES = {"one change": ("single", "graded"), "several changes": ("pair", "triple")}
"""Parts of the items, by kind, on which `PRIMARY` is also compared."""

_DERIVED = {  # measures that `per_item` adds to the metrics of an edit, and titles of their columns
    PRIMARY: "above the codec",
    "above scaled": "above, scaled",
    "scaled": "",
}

EFFECTS = (0.25, 0.5, 0.75, 1.0)  # at which curves are read; leakages count at most 1 there
CURVES = ("matched", "reached", "linearity", *(f"leakage at {wanted:g}" for wanted in EFFECTS))
"""What `item_curves` finds."""

MEAN = "mean of attributes"  # the attribute of a row over all attributes, each with the same weight
OVERALL = "all"  # the category of a row over all categories of PIE-Bench
_KEYS = ("method", "item", "group", "kind", "requested")
_BY_STRENGTH = ("error", "effect", "leakage", "effectiveness", "decomposability", "disentanglement")
_ESTIMATE = [field.name for field in dataclasses.fields(Estimate)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Ours against another method, item by item; ours is refined against others that are."""

    ours: str
    other: str
    measure: str  # the compared measure
    difference: Estimate  # mean of the other's less ours, above 0 where ours is better
    ratio: Estimate  # ratio of the means, ours over the other's
    verdict: Verdict  # whether ours is better

    @property
    def text(self) -> str:
        """The difference with its interval, such as "0.0421 [0.0310, 0.0550]"."""
        return f"{self.difference.mean:.4f} {between(self.difference.low, self.difference.high, 4)}".rstrip()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Summaries:
    """The tables of a run with right answers."""

    ours: str  # the method that is compared
    order: Sequence[str]  # names of the ranked methods and of the right answers, the best first
    apart: Sequence[str]  # methods that are not text editors, the best first
    rivals: Sequence[str]  # methods that are not of our family, the best first
    items: Table  # from `per_item`, `summary` and so on
    table: Table
    kinds: Table
    attributes: Table
    still: Table
    curves: Table | None  # from `summary_of_curves`; None for a run at one strength
    strengths: Table
    seeds: int  # smallest number among the methods; below `statistics.SEEDS` no methods are compared
    comparisons: Sequence[tuple[Comparison, ...]]  # ours with others, by each of `COMPARED`, then on each of `CHANGES`

    @staticmethod
    def of(rows: Table, roles: Roles = ROLES) -> "Summaries":
        """Compute all of them; methods that are not named in the roles are ranked."""
        items = per_item(rows)
        table = summary(items)
        everyone = list(dict.fromkeys(table["method"]))
        order = [name for name in everyone if name not in roles.apart]
        others = [name for name in order if name not in (*ANSWERS, roles.ours)]
        seeds = int(items[~items["method"].isin(ANSWERS)]["seeds"].min())
        compared, ours = seeds >= SEEDS, dict.fromkeys(others, roles.ours)
        if (refined := roles.ours + REFINED) in others:
            ours |= {name: refined for name in others if name.endswith(REFINED) and name != refined}
        return Summaries(
            ours=roles.ours,
            order=order,
            apart=[name for name in everyone if name in roles.apart],
            rivals=[name for name in others if name.removesuffix(REFINED) not in roles.family],
            items=items,
            table=table,
            kinds=means(items, ["method", "kind"], PRIMARY),
            attributes=by_attribute(items),
            still=still(rows),
            curves=summary_of_curves(rows) if rows["strength"].nunique() > 1 else None,
            strengths=by_strength(rows),
            seeds=seeds,
            comparisons=[
                tuple(_compared(items, ours[name], name))
                for name in (others if compared and roles.ours in order else [])
            ],
        )

    @property
    def too_few_seeds(self) -> str:
        """Why no methods are compared; empty if they are."""
        if self.seeds >= SEEDS:
            return ""
        return f"Methods are not compared: that takes {SEEDS} seeds, and this run has {self.seeds}."


def titles() -> dict[str, str]:
    """Measures of the items that request a change, and what their columns are called; "" for those without one."""
    metrics = {one.name: one.title for one in registered_metrics() if one.title or one.better}
    return _DERIVED | metrics | {"evaluations": "evaluations"}


def is_ranked(rows: Table) -> bool:
    """Whether there are right answers to rank by."""
    return "effect" in rows and bool(rows["effect"].notna().any())


def has_edits(rows: Table) -> bool:
    """Whether there is an edit by any method, besides the right answers."""
    return len(rows) > 0 and not rows["method"].isin(ANSWERS).all()


def means(rows: Table, by: Sequence[str], *measures: str) -> Table:
    """Means of some columns for each value of others, in the order of the rows."""
    parts = [(dict(zip(by, key, strict=True)), part) for key, part in rows.groupby(list(by), sort=False)]
    each = [(about, name, over_groups(part.set_index("group")[name])) for name in measures for about, part in parts]
    found = [about | {"measure": name} | dataclasses.asdict(one) for about, name, one in each]
    return pd.DataFrame(found, columns=[*by, *(["measure"] if len(measures) > 1 else []), *_ESTIMATE])


def per_item(rows: Table) -> Table:
    """One row per method and item that requests a change, at strength 1: means over the seeds.

    Columns: "method", "item", "group", "kind", "requested", "seeds" (their number), "above", "above scaled", "scaled"
    (the error of the change enlarged or shrunk to the whole effect), and every metric.
    Without rows of the codec, its error counts as 0.
    """
    if not is_ranked(rows):
        raise ConfigError("ranking needs right answers, and no item has one. Add truths to the manifest")
    one = rows[rows["effect"].notna() & (rows["strength"] == 1)]
    effect, leakage = (one[name].to_numpy(float)[:, None] for name in ("effect", "leakage"))
    one = one.assign(scaled=matched_error(effect, leakage, 1.0), capped=one["error"].astype(float).clip(upper=1))
    codec = one[one["method"] == CODEC].set_index("item")
    for name, measure in ((PRIMARY, "capped"), ("above scaled", "scaled")):
        floor = one["item"].map(codec[measure]) if len(codec) else 0.0
        one[name] = one[measure] - floor
    measures = [name for name in titles() if name in one]
    grouped = one.astype(dict.fromkeys(measures, float)).groupby(list(_KEYS), sort=False)
    return grouped[measures].mean().assign(seeds=grouped["seed"].nunique()).reset_index()


def summary(items: Table) -> Table:
    """Every measure of every method, from `per_item`, the best by `PRIMARY` first."""
    table = means(items, ["method"], *(name for name in items.columns if name not in (*_KEYS, "seeds")))
    order = table[table["measure"] == PRIMARY].sort_values("mean", kind="stable")["method"]
    return pd.concat([table[table["method"] == name] for name in order], ignore_index=True)


def compare_methods(items: Table, ours: str, other: str, *, measure: str = PRIMARY) -> Comparison:
    """Whether ours errs less than another method, from `per_item`."""
    both = items[items["method"].isin((ours, other))]
    less = Measure(name=measure, column=measure, differences=(Difference("method", other, ours),))
    wide = by_item(both, measure).dropna()
    found = less.estimate(both, ["group", "item"], ["group"])
    return Comparison(
        ours=ours,
        other=other,
        measure=measure,
        difference=found,
        ratio=ratio_over_groups(wide[ours], wide[other]),
        verdict=decide(found),
    )


def _compared(items: Table, ours: str, other: str) -> Iterator[Comparison]:
    """Comparisons by each of `COMPARED`, and by `PRIMARY` on each of the items' `CHANGES`, named "MEASURE, PART"."""
    for measure in COMPARED:
        yield compare_methods(items, ours, other, measure=measure)
    for part, kinds in CHANGES.items():
        some = items[items["kind"].isin(kinds)]
        if len(some):
            yield dataclasses.replace(compare_methods(some, ours, other), measure=f"{PRIMARY}, {part}")


def still(rows: Table) -> Table:
    """How far images move whose right answer is the image itself, at strength 1: root mean square, white is 1."""
    quiet = rows[rows["effect"].isna() & (rows["strength"] == 1)]
    return means(quiet, ["method", "kind"], "changed_rms")


def by_attribute(items: Table) -> Table:
    """`PRIMARY` on each attribute that is requested alone, and `MEAN`: every attribute weighs the same.

    If a change of a part also changes its color, the item counts for the part.
    """
    single = items[(items["kind"] == "single") & (items["requested"] != "")]
    keys = ["method", "attribute"]
    single = single.assign(attribute=single["requested"].str.split(",").str[0])
    count = single.groupby(keys)[PRIMARY].transform("size")
    several = single.groupby("method")["attribute"].transform("nunique")
    weight = single.groupby("method")[PRIMARY].transform("size") / (count * several)
    whole = single.assign(attribute=MEAN, **{PRIMARY: single[PRIMARY] * weight})
    return means(pd.concat([single, whole]), keys, PRIMARY)


def item_curves(rows: Table) -> Table:
    """`CURVES` of each method and item that requests a change: means over the seeds."""
    found = [_curves(str(name), part) for name, part in rows[rows["effect"].notna()].groupby("method", sort=False)]
    return pd.concat(found, ignore_index=True)


def summary_of_curves(rows: Table) -> Table:
    """`CURVES` of every method."""
    return means(item_curves(rows), ["method"], *CURVES)


def _curves(method: str, part: Table) -> Table:
    keys = ["item", "seed"]
    effects = part.pivot_table(index=keys, columns="strength", values="effect", sort=True)
    leakages = part.pivot_table(index=keys, columns="strength", values="leakage", sort=True).reindex(effects.index)
    effect, leakage = effects.to_numpy(float), leakages.to_numpy(float)
    strengths = np.array(effects.columns, dtype=np.float64)
    table = pd.DataFrame(
        {
            "matched": matched_error(effect, leakage, 1.0),
            "reached": leakage_at(effect, leakage, 1.0)[1].astype(float),
            "linearity": linearity(effect, strengths) if len(strengths) > 1 else np.nan,
        }
        | {f"leakage at {wanted:g}": np.minimum(leakage_at(effect, leakage, wanted)[0], 1) for wanted in EFFECTS},
        index=effects.index,
    )
    about = part.drop_duplicates("item").set_index("item")[["group", "kind"]]
    means_of_seeds: Table = table.groupby("item", sort=False).mean()
    return means_of_seeds.join(about).reset_index().assign(method=method)[["method", "item", "group", "kind", *CURVES]]


def by_strength(rows: Table) -> Table:
    """Each method's measures at each strength, over the items that request a change."""
    changes, keys = rows[rows["effect"].notna()], ["method", "strength"]
    measures = [name for name in _BY_STRENGTH if name in changes]
    return pd.concat([means(part, keys, *measures) for _, part in changes.groupby(keys, sort=False)], ignore_index=True)


def pie_bench_table(rows: Table) -> Table | None:
    """PIE-Bench's numbers at strength 1, by "method", "category" and "metric"; None without masks.

    For each category and then `OVERALL`: the estimate over rows with a number, all "rows", and those without ("nan").
    """
    measured = [f"{mode} {name}" for mode in MODES for name in SCALE if f"{mode} {name}" in rows]
    found: list[dict[str, Any]] = []
    for method, of_method in rows[rows["strength"] == 1].groupby("method", sort=False) if measured else ():
        part = of_method.assign(group=pd.factorize(of_method["group"])[0])
        categories = [(str(kind), some) for kind, some in part.groupby("kind", sort=True)]
        for category, some in [*categories, (OVERALL, part)]:
            for metric in measured:
                values = some.set_index("group")[metric].astype(float)
                counts = {"rows": len(some), "nan": int((~np.isfinite(values)).sum())}
                estimate = dataclasses.asdict(over_groups(values))
                found.append({"method": method, "category": category, "metric": metric, **estimate, **counts})
    return pd.DataFrame(found) if found else None
