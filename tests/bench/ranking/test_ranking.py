"""Constructed rows, whose errors are known: the order, the paired difference, and what is told beside."""

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from latentedit.core.errors import ConfigError
from latentedit_bench.metrics.statistics import SEEDS
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.ranking import (
    MEAN,
    by_attribute,
    by_kind,
    compare,
    per_item,
    still,
    summary,
)
from tests.bench.rendered_network import constructed

STRENGTHS = (0.5, 1.0, 2.0)


def straight(slope: float, gain: float = 1.0) -> list[tuple[float, float, float]]:
    """A path whose effect is ``gain`` times the strength, and whose leakage is ``slope`` times the effect."""
    return [(strength, gain * strength, slope * gain * strength) for strength in STRENGTHS]


def of_slopes(**slopes: list[float]) -> Any:
    """One method a name, one item a slope; its error at strength 1 is the slope squared, with each of five seeds."""
    paths = {name: {f"i{index}": straight(slope) for index, slope in enumerate(some)} for name, some in slopes.items()}
    return with_seeds(pd.DataFrame(constructed(paths)))


def with_seeds(rows: Any, count: int = SEEDS) -> Any:
    """The same rows once for each seed."""
    return pd.concat([rows.assign(seed=seed) for seed in range(count)], ignore_index=True)


def number(table: Any, method: str, measure: str, column: str = "mean") -> float:
    return float(table[(table["method"] == method) & (table["measure"] == measure)][column].iloc[0])


def test_errors_count_from_the_codecs_own() -> None:
    """min(error, 1) - min(codec, 1) of the same item, and the same of leakage^2 / effect^2, at strength 1."""
    paths = {
        CODEC: {"i0": [(1.0, 1.0, 0.1)], "i1": [(1.0, 0.5, 0.2)]},
        "a": {"i0": [(0.5, 0.1, 9.0), (1.0, 0.5, 0.3)], "i1": [(1.0, 3.0, 1.5)]},
    }
    items = per_item(pd.DataFrame(constructed(paths))).set_index(["method", "item"])
    codec = {"i0": 0.01, "i1": 0.25 + 0.04}
    assert items.loc[("a", "i0"), "above"] == pytest.approx(0.25 + 0.09 - codec["i0"])
    assert items.loc[("a", "i1"), "above"] == pytest.approx(1 - codec["i1"]), "worse than no edit counts as none"
    assert items.loc[("a", "i0"), "above scaled"] == pytest.approx((0.3 / 0.5) ** 2 - 0.01)
    assert items.loc[("a", "i1"), "above scaled"] == pytest.approx(0.25 - (0.2 / 0.5) ** 2)
    assert items.loc[("a", "i1"), "error"] == pytest.approx(4 + 2.25), "told as it is"
    assert items.loc[(CODEC, "i1"), "above"] == 0


@pytest.mark.slow
def test_seeds_of_an_item_are_averaged_and_drawn_together() -> None:
    """Each error counts at most 1 before the mean; nine equal seeds say no more than five."""
    rows = of_slopes(**{CODEC: [0.1, 0.1], "a": [0.2, 0.5]})
    rows = rows[(rows["strength"] == 1) & (rows["seed"] == 0)]
    again = rows[rows["method"] == "a"].assign(seed=7)
    both = per_item(pd.concat([rows, again.assign(error=4.0, effect=-1.0, leakage=0.0)]))
    of_a = both[both["method"] == "a"]
    assert list(of_a["above"]) == pytest.approx([(0.04 - 0.01 + 0.99) / 2, (0.25 - 0.01 + 0.99) / 2])
    assert list(of_a["effect"]) == pytest.approx([0, 0])
    slopes = np.linspace(0.1, 0.9, 9).tolist()
    once = of_slopes(a=slopes, b=slopes[::-1])
    more = with_seeds(once[once["seed"] == 0], 9)
    pd.testing.assert_frame_equal(summary(per_item(more)), summary(per_item(once)))
    told = dataclasses.astuple(compare(per_item(more), "a", "b").difference)
    assert told == pytest.approx(dataclasses.astuple(compare(per_item(once), "a", "b").difference))


def test_rows_may_come_in_any_order() -> None:
    rows = of_slopes(a=[0.2, 0.6, 0.9], b=[0.1, 0.3, 0.5])
    shuffled = rows.sample(frac=1, random_state=3)
    first, second = (
        per_item(table).sort_values(["method", "item"]).reset_index(drop=True) for table in (rows, shuffled)
    )
    pd.testing.assert_frame_equal(first, second)


def test_the_best_is_first() -> None:
    table = summary(per_item(of_slopes(worst=[0.9, 0.8], best=[0.1, 0.2], middle=[0.5, 0.5])))
    assert list(dict.fromkeys(table["method"])) == ["best", "middle", "worst"]
    assert number(table, "best", "above") == pytest.approx(0.025)
    assert number(table, "middle", "evaluations") == 28
    assert number(table, "best", "above", "pictures") == 2
    assert math.isnan(number(table, "best", "above", "low")), "two pictures are too few for an interval"


def test_a_method_that_moves_nothing_errs_as_no_edit() -> None:
    items = per_item(pd.DataFrame(constructed({"idle": {f"i{n}": [(1.0, 0.0, 0.0)] for n in range(3)}})))
    assert list(items["above"]) == list(items["above scaled"]) == [1, 1, 1]


def test_paired_comparison() -> None:
    """Differences of .16 - .04, .25 - .09, ...: the sign, the mean, the ratio of means, and who is better."""
    ours = np.array([0.2, 0.3, 0.1, 0.4, 0.2, 0.3, 0.25, 0.35])
    other = ours + 0.2
    items = per_item(of_slopes(ours=ours.tolist(), other=other.tolist()))
    found = compare(items, "ours", "other")
    assert (found.ours, found.other) == ("ours", "other")
    assert found.difference.mean == pytest.approx((other**2 - ours**2).mean())
    assert 0 < found.difference.low < found.difference.mean < found.difference.high
    assert found.difference.pictures == 8
    assert found.ratio.mean == pytest.approx((ours**2).mean() / (other**2).mean())
    assert found.ratio.low < found.ratio.mean < found.ratio.high < 1
    assert found.verdict == "holds"
    back = compare(items, "other", "ours")
    assert back.difference.mean == pytest.approx(-found.difference.mean)
    assert back.ratio.mean == pytest.approx(1 / found.ratio.mean)
    assert back.verdict == "does not hold"


def test_pairs_are_of_the_same_item() -> None:
    """Methods that err on the same items differ by as much on each, whatever the spread: the interval is a point."""
    slopes = np.sqrt(np.array([0.1, 0.9, 0.4, 0.2, 0.7, 0.6]))
    worse = np.sqrt(slopes**2 + 0.05)
    found = compare(per_item(of_slopes(ours=slopes.tolist(), other=worse.tolist())), "ours", "other")
    assert found.difference.low == pytest.approx(0.05)
    assert found.difference.high == pytest.approx(0.05)


def test_items_that_one_method_lacks_are_left_out() -> None:
    paths = {"ours": {"i0": straight(0.1), "i1": straight(0.9)}, "other": {"i0": straight(0.2)}}
    found = compare(per_item(with_seeds(pd.DataFrame(constructed(paths)))), "ours", "other")
    assert found.difference.pictures == 1
    assert found.ratio.mean == pytest.approx(0.01 / 0.04)


def test_methods_are_not_compared_over_fewer_than_five_seeds() -> None:
    paths = {name: {f"i{index}": straight(slope) for index in range(8)} for name, slope in (("a", 0.1), ("b", 0.9))}
    rows = pd.DataFrame(constructed(paths))
    five = with_seeds(rows)
    assert compare(per_item(five), "a", "b").verdict == "holds"
    with pytest.raises(ConfigError, match="got 4"):
        compare(per_item(five.query("method == 'a' or seed < 4")), "a", "b")


def test_attributes_weigh_the_same_however_often_they_are_asked_for() -> None:
    """Hair three times, eyes once: means of .04 and of .81, and of both."""
    rows = of_slopes(a=[0.2, 0.2, 0.2, 0.9, 0.5, 0.5])
    rows.loc[rows["item"] == "i2", "asked"] = "hair,hair_color"
    rows.loc[rows["item"] == "i3", "asked"] = "eyes"
    rows.loc[rows["item"] == "i4", "kind"] = "pair"
    rows.loc[rows["item"] == "i5", "asked"] = ""
    table = by_attribute(per_item(rows)).set_index("attribute")
    assert table["mean"].to_dict() == pytest.approx({"hair": 0.04, "eyes": 0.81, MEAN: (0.04 + 0.81) / 2})
    assert table.loc["hair", "pictures"] == 3


def test_each_kind_has_its_own_mean() -> None:
    rows = of_slopes(a=[0.2, 0.6, 0.9])
    rows.loc[rows["item"] == "i2", "kind"] = "pair"
    table = by_kind(per_item(rows)).set_index("kind")
    assert table.loc["single", "mean"] == pytest.approx(0.2)
    assert table.loc["pair", "mean"] == pytest.approx(0.81)
    assert table.loc["pair", "pictures"] == 1


def test_how_far_still_pictures_move() -> None:
    nothing = (math.nan, math.nan)
    quiet = constructed({"a": {"q0": [(1.0, *nothing), (2.0, *nothing)], "q1": [(1.0, *nothing)]}})
    for row, moved in zip(quiet, (0.1, 9.0, 0.3), strict=True):
        row |= {"kind": "nothing", "changed_rms": moved}
    rows = pd.concat([of_slopes(a=[0.2]), pd.DataFrame(quiet)], ignore_index=True)
    assert list(per_item(rows)["item"]) == ["i0"], "they are not ranked"
    table = still(rows)
    assert len(table) == 1
    assert table.loc[0, "kind"] == "nothing"
    assert table.loc[0, "mean"] == pytest.approx(0.2), "at strength 1 alone"
    assert len(still(of_slopes(a=[0.2]))) == 0


@pytest.mark.parametrize("rows", [pd.DataFrame({"method": ["a"]}), of_slopes(a=[0.1]).assign(effect=None)])
def test_rows_without_answers_are_refused(rows: Any) -> None:
    with pytest.raises(ConfigError, match="no item has a right answer"):
        per_item(rows)


@pytest.mark.slow
def test_intervals_draw_pictures_and_not_items() -> None:
    """Two items of each picture that agree say no more than one: as many pictures, and the same interval."""
    slopes = {"ours": np.linspace(0.1, 0.4, 7), "other": np.linspace(0.5, 0.3, 7), "third": np.linspace(0.6, 0.2, 7)}

    def rows(copies: int) -> Any:
        paths = {
            method: {f"p{index}-{copy}": straight(slope) for index, slope in enumerate(some) for copy in range(copies)}
            for method, some in slopes.items()
        }
        return with_seeds(pd.DataFrame(constructed(paths, effectiveness=0.5, disentanglement=0.5)))

    once, twice = rows(1), rows(2)
    still_once, still_twice = (table.assign(effect=np.nan) for table in (once, twice))
    assert len(per_item(twice)) == 2 * len(per_item(once)) == 42
    first, second = (compare(per_item(table), "ours", "other").difference for table in (once, twice))
    assert (first.pictures, second.pictures) == (7, 7)
    assert dataclasses.astuple(second) == pytest.approx(dataclasses.astuple(first))
    for measure, first, second in (
        (summary, per_item(once), per_item(twice)),
        (by_kind, per_item(once), per_item(twice)),
        (still, still_once, still_twice),
    ):
        found, again = measure(first), measure(second)
        assert set(again["pictures"]) == {7}
        pd.testing.assert_frame_equal(again, found)
