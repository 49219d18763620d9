"""What each part of a method gives: main effects and interactions of a full factorial, each part on and off."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence, Set

import numpy as np
import pandas as pd

from latentedit_bench.metrics.statistics import Table, by_item, over_groups

EFFECTS = ("above", "above scaled", "outside_change", "others_changed")
"""Measures whose effects are told; all of them are better when they fall."""


def part_effects(items: Table, parts: Mapping[str, Set[str]]) -> Table:
    """By how much a part changes a measure, paired by item.

    The main effect of a part is its mean with the part less that without it, over all settings of the others. The
    interaction of two is the effect of the one with the other less its effect without: below 0 where both together
    give more than the sum.

    Args:
        items: from `ranking.per_item`.
        parts: method to the parts that are switched on in it; every combination of the parts once.

    Returns:
        "part", such as "keep" or "keep x release", "measure", "mean", "low", "high", "pictures"; empty where one of the
        methods did not run.
    """
    names = list(dict.fromkeys(part for some in parts.values() for part in sorted(some)))
    rows: list[dict[str, object]] = []
    for measure in EFFECTS if set(parts) <= set(items["method"]) else ():
        if measure not in items:
            continue
        wide = by_item(items, measure).reindex(columns=list(parts))
        for several in [(one,) for one in names] + list(itertools.combinations(names, 2)):
            told = dataclasses.asdict(over_groups(effect_by_item(wide, parts, several)))
            rows.append({"part": " x ".join(several), "measure": measure, **told})
    return pd.DataFrame(rows, columns=["part", "measure", "mean", "low", "high", "pictures"])


def effect_by_item(wide: Table, parts: Mapping[str, Set[str]], several: Sequence[str]) -> Table:
    """The main effect of one part, or the interaction of some, of each item; see `part_effects`.

    Args:
        wide: a row an item, a column a method, those of ``parts`` among them.
        parts: likewise.
        several: names of parts.
    """
    count = len(set().union(*parts.values()))
    signs = [np.prod([1 if name in some else -1 for name in several]) for some in parts.values()]
    return (wide[list(parts)] * signs).sum(axis=1, skipna=False) / 2 ** (count - len(several))
