"""Effects of a factorial whose answers are made of known effects."""

import itertools
from typing import Any

import pandas as pd
import pytest

from latentedit_bench.ranking.parts import part_effects
from latentedit_bench.tuning.search_spaces import ROLES

NAMES = ("keep", "local", "release")
PARTS = {
    "+".join(some) or "none": frozenset(some) for count in range(4) for some in itertools.combinations(NAMES, count)
}


def made(parts: frozenset[str], place: int) -> float:
    """keep: -.1; local: -.2 alone and .05 more of it beside keep; release: + place / 10; on top of .5 + place."""
    together = -0.05 if {"keep", "local"} <= parts else 0.0
    return (
        0.5 + place - 0.1 * ("keep" in parts) - 0.2 * ("local" in parts) + together + place / 10 * ("release" in parts)
    )


def items_of(methods: list[str]) -> Any:
    told = [
        {"method": name, "item": f"i{place}", "group": f"g{place}", "above": made(PARTS[name], place)}
        for name in methods
        for place in range(8)
    ]
    return pd.DataFrame(told)


def test_effects_by_hand() -> None:
    """A main effect is over all settings of the others: half of them have what only both together give."""
    table = part_effects(items_of(list(PARTS)), PARTS).set_index("part")
    expected = {"keep": -0.125, "local": -0.225, "release": 0.35}
    expected |= {"keep x local": -0.05, "keep x release": 0.0, "local x release": 0.0}
    assert table["mean"].to_dict() == pytest.approx(expected)
    assert (table["measure"] == "above").all()
    assert table.loc["keep", ["low", "high"]].tolist() == pytest.approx([-0.125] * 2), "the same on every item: paired"
    assert table.loc["release", "low"] < 0.35 < table.loc["release", "high"]
    assert set(table["pictures"]) == {8}


def test_without_one_of_the_methods_there_are_no_effects() -> None:
    assert part_effects(items_of(list(PARTS)[1:]), PARTS).empty


def test_the_benchmark_has_a_full_factorial_of_four_parts() -> None:
    assert len(ROLES.parts) == 2**4
    assert len(set(map(frozenset, ROLES.parts.values()))) == 2**4
    assert set().union(*ROLES.parts.values()) == {"antithetic", "keep", "release", "local"}
