"""Constructed rows, whose errors are known: the order, paired differences, curves, and the tables beside them."""

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from latentedit.core.errors import ConfigError
from latentedit_bench.metrics.statistics import SEEDS, estimate
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.summaries import (
    COMPARED,
    MEAN,
    PRIMARY,
    Summaries,
    by_attribute,
    compare,
    is_ranked,
    item_curves,
    means,
    per_item,
    pie_bench_table,
    still,
    summary,
    summary_of_curves,
)
from latentedit_bench.tuning.search_spaces import Roles
from tests.bench.rendered_network import constructed
from tests.bench.report.report_runs import SLOPES, rows_of

STRENGTHS = (0.5, 1.0, 2.0)
APART = Roles(family=frozenset(("eim", "eim joint", "eim text")), apart=frozenset(("sdedit",)))


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


def by_kind(items: Any) -> Any:
    return means(items, ["method", "kind"], PRIMARY)


def test_errors_count_from_the_codecs_own() -> None:
    """min(error, 1) - min(codec, 1) of the same item, and the same of leakage^2 / effect^2, at strength 1."""
    paths = {
        CODEC: {"i0": [(1.0, 1.0, 0.1)], "i1": [(1.0, 0.5, 0.2)]},
        "a": {"i0": [(0.5, 0.1, 9.0), (1.0, 0.5, 0.3)], "i1": [(1.0, 3.0, 1.5)]},
        "idle": {"i0": [(1.0, 0.0, 0.0)]},
    }
    items = per_item(pd.DataFrame(constructed(paths))).set_index(["method", "item"])
    codec = {"i0": 0.01, "i1": 0.25 + 0.04}
    assert items.loc[("a", "i0"), "above"] == pytest.approx(0.25 + 0.09 - codec["i0"])
    assert items.loc[("a", "i1"), "above"] == pytest.approx(1 - codec["i1"]), "worse than no edit counts as none"
    assert items.loc[("a", "i0"), "above scaled"] == pytest.approx((0.3 / 0.5) ** 2 - 0.01)
    assert items.loc[("a", "i1"), "above scaled"] == pytest.approx(0.25 - (0.2 / 0.5) ** 2)
    assert items.loc[("a", "i1"), "error"] == pytest.approx(4 + 2.25), "as it is"
    assert items.loc[(CODEC, "i1"), "above"] == 0
    assert list(items.loc[("idle", "i0"), ["above", "above scaled"]]) == pytest.approx([0.99, 0.99])


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
    shuffled = more.sample(frac=1, random_state=3)
    first, second = (per_item(t).sort_values(["method", "item"]).reset_index(drop=True) for t in (more, shuffled))
    pd.testing.assert_frame_equal(first, second)


def test_the_best_is_first() -> None:
    table = summary(per_item(of_slopes(worst=[0.9, 0.8], best=[0.1, 0.2], middle=[0.5, 0.5])))
    assert list(dict.fromkeys(table["method"])) == ["best", "middle", "worst"]
    assert number(table, "best", "above") == pytest.approx(0.025)
    assert number(table, "middle", "evaluations") == 28
    assert number(table, "best", "above", "pictures") == 2
    assert math.isnan(number(table, "best", "above", "low")), "two pictures are too few for an interval"


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
    # methods that err on the same items differ by as much on each, whatever the spread: the interval is a point
    worse = np.sqrt(ours**2 + 0.05)
    paired = compare(per_item(of_slopes(ours=ours.tolist(), other=worse.tolist())), "ours", "other").difference
    assert (paired.low, paired.high) == pytest.approx((0.05, 0.05))


def test_items_that_one_method_lacks_are_left_out_and_five_seeds_are_needed() -> None:
    paths = {"ours": {"i0": straight(0.1), "i1": straight(0.9)}, "other": {"i0": straight(0.2)}}
    five = with_seeds(pd.DataFrame(constructed(paths)))
    found = compare(per_item(five), "ours", "other")
    assert found.difference.pictures == 1
    assert found.ratio.mean == pytest.approx(0.01 / 0.04)
    with pytest.raises(ConfigError, match="got 4"):
        compare(per_item(five.query("method == 'ours' or seed < 4")), "ours", "other")


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
    kinds = by_kind(per_item(rows)).set_index("kind")
    assert kinds["mean"].to_dict() == pytest.approx({"single": (3 * 0.04 + 0.81 + 0.25) / 5, "pair": 0.25})
    assert kinds.loc["pair", "pictures"] == 1


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


@pytest.mark.slow
def test_intervals_draw_pictures_and_not_items() -> None:
    """Two items of each picture that agree say no more than one: as many pictures, and the same interval."""
    slopes = {"ours": np.linspace(0.1, 0.4, 7), "other": np.linspace(0.5, 0.3, 7)}

    def rows(copies: int) -> Any:
        paths = {
            method: {f"p{index}-{copy}": straight(slope) for index, slope in enumerate(some) for copy in range(copies)}
            for method, some in slopes.items()
        }
        return with_seeds(pd.DataFrame(constructed(paths)))

    once, twice = rows(1), rows(2)
    first, second = (compare(per_item(table), "ours", "other").difference for table in (once, twice))
    assert (first.pictures, second.pictures) == (7, 7)
    assert dataclasses.astuple(second) == pytest.approx(dataclasses.astuple(first))
    for measure in (summary, by_kind):
        again = measure(per_item(twice))
        assert set(again["pictures"]) == {7}
        pd.testing.assert_frame_equal(again, measure(per_item(once)))


def test_curves_in_numbers() -> None:
    """Straight ways: at effect w a leakage of slope * w, and a line through the origin."""
    items = item_curves(of_slopes(a=[0.2, 0.6]))
    assert list(items["matched"]) == pytest.approx([0.04, 0.36])
    assert list(items["leakage at 0.25"]) == pytest.approx([0.05, 0.15])
    assert list(items["leakage at 0.75"]) == pytest.approx([0.15, 0.45])
    assert list(items["linearity"]) == pytest.approx([1, 1])
    assert list(items["reached"]) == [1, 1]
    assert number(summary_of_curves(of_slopes(a=[0.2, 0.6])), "a", "matched") == pytest.approx(0.2)


def test_curves_of_timid_and_idle_methods() -> None:
    """Equal effects are compared, not equal strengths; what moves nothing, or takes one strength, has no line."""
    once = {"i0": [(1.0, 1.0, 0.5)], "i1": [(1.0, 0.5, 0.1)]}
    idle = {"i0": [(s, 0.0, 0.0) for s in STRENGTHS]}
    paths = {"bold": {"i0": straight(0.8)}, "timid": {"i0": straight(0.8, gain=0.5)}, "once": once, "idle": idle}
    items = item_curves(pd.DataFrame(constructed(paths))).set_index("method")
    assert items.loc["timid", "matched"] == pytest.approx(items.loc["bold", "matched"]) == pytest.approx(0.64)
    assert list(items.loc["once", "matched"]) == pytest.approx([0.25, 0.04])
    assert items.loc["idle", "matched"] == 1
    assert list(items["linearity"].isna()) == [False, False, True, True, True]


def test_each_seed_has_a_curve_of_its_own() -> None:
    """The mean of the numbers of two curves, not the numbers of a mean curve: .01 and .49; half of them arrives."""
    timid = pd.DataFrame(constructed({"a": {"i0": straight(0.7, gain=0.4)}})).assign(seed=2)
    rows: Any = pd.concat([of_slopes(a=[0.1]).query("seed == 1"), timid])
    found = item_curves(rows)
    assert len(found) == 1
    assert found.loc[0, "matched"] == pytest.approx((0.01 + 0.49) / 2)
    assert found.loc[0, "reached"] == 0.5


@pytest.mark.nightly
def test_methods_are_in_order_and_ours_is_compared_by_each_error() -> None:
    """Straight paths: what is above the codec, scaled or not, is the square of the slope less that of the codec's."""
    rows = pd.DataFrame([row for name in reversed(SLOPES) for row in rows_of(name)])
    found = Summaries.of(rows, APART)
    ranked = [name for name in SLOPES if name != "sdedit"]
    assert list(found.order) == sorted(ranked, key=lambda name: SLOPES[name])
    assert list(found.apart) == ["sdedit"]
    assert list(found.rivals) == ["flow<edit>"], "neither our family nor what stands apart"
    assert [one[0].other for one in found.comparisons] == ["eim joint", "eim text", "flow<edit>"]
    assert [one.measure for one in found.comparisons[0]] == list(COMPARED)
    slopes, (above, scaled, error) = np.arange(8) / 100, found.comparisons[-1]
    ours, other, codec = (((SLOPES[name] + slopes) ** 2).mean() for name in ("eim", "flow<edit>", CODEC))
    assert [one.difference.mean for one in (above, scaled, error)] == pytest.approx([other - ours] * 3)
    assert [above.ratio.mean, scaled.ratio.mean] == pytest.approx([(ours - codec) / (other - codec)] * 2)
    assert error.ratio.mean == pytest.approx(ours / other)
    assert found.curves is not None
    few = Summaries.of(rows[rows["seed"] < 4], APART)
    assert (len(few.order), few.comparisons) == (len(ranked), [])
    assert "4" in few.too_few_seeds


def test_without_ours_other_strengths_or_right_answers() -> None:
    rows = pd.DataFrame([row for name in ("flow<edit>", CODEC) for row in rows_of(name) if row["strength"] == 1])
    found = Summaries.of(rows, APART)
    assert (found.comparisons, found.curves) == ([], None)
    rows = pd.DataFrame({"method": ["a"], "strength": [1.0]})
    assert not is_ranked(rows)
    assert is_ranked(rows.assign(effect=0.5))
    for without in (rows, rows.assign(effect=None)):
        with pytest.raises(ConfigError, match="no item has a right answer"):
            Summaries.of(without, APART)


def test_pie_bench_by_category() -> None:
    """Means leave out nan, intervals draw groups, and each category and all of them have a row of each number."""
    generator = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "method": "a",
            "strength": 1.0,
            "kind": ["change style"] * 10 + ["add object"] * 8,
            "group": [f"picture {index // 2}" for index in range(18)],
            "legacy background_mse": generator.random(18),
            "corrected background_mse": generator.random(18),
        }
    )
    rows.loc[[0, 12, 13], "legacy background_mse"] = float("nan")
    table = pie_bench_table(rows)
    assert table is not None
    assert table["category"].tolist() == ["add object"] * 2 + ["change style"] * 2 + ["all"] * 2
    told = table.set_index(["category", "metric"])
    assert told["rows"].unstack().loc["all"].tolist() == [18, 18]
    assert told["nan"].tolist() == [2, 0, 1, 0, 3, 0]
    # two rows a picture; the picture whose rows are both nan is behind no number
    assert told["pictures"].to_dict()["add object", "legacy background_mse"] == 3
    assert told["pictures"].to_dict()["change style", "legacy background_mse"] == 5
    overall, values = table[table["category"] == "all"].iloc[0], rows["legacy background_mse"]
    assert overall["mean"] == pytest.approx(np.nanmean(values), rel=1e-12)
    expected = estimate(values.tolist(), [(index // 2,) for index in range(18)])
    assert (overall["low"], overall["high"]) == (expected.low, expected.high)
    assert pie_bench_table(rows[["method", "strength", "kind", "group"]]) is None, "without masks"


def test_means_are_in_the_order_of_the_rows() -> None:
    """Of an item with two rows, both count."""
    rows = pd.DataFrame({"method": ["b", "a", "b"], "group": ["x", "x", "y"], "error": [1.0, 2.0, 4.0]})
    assert means(rows, ["method"], "error")[["method", "mean"]].to_numpy().tolist() == [["b", 2.5], ["a", 2.0]]
