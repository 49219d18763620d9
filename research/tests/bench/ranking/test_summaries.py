"""The order, paired differences, curves and tables of constructed rows, whose errors are known."""

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from latentedit.core import ConfigError
from latentedit_bench.metrics.statistics import estimate
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.search_spaces import Roles
from latentedit_bench.ranking.summaries import (
    CHANGES,
    COMPARED,
    MEAN,
    PRIMARY,
    Summaries,
    by_attribute,
    compare_methods,
    is_ranked,
    item_curves,
    means,
    per_item,
    pie_bench_table,
    still,
    summary,
    summary_of_curves,
)
from research.tests.bench.made_runs import SLOPES, STRENGTHS, constructed, of_slopes, rows_of, straight, with_seeds

APART = Roles(family=frozenset(("eim", "eim joint", "eim text")), apart=frozenset(("sdedit",)))


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
    assert items.loc[("a", "i1"), "error"] == pytest.approx(4 + 2.25), "not capped"
    assert items.loc[(CODEC, "i1"), "above"] == 0
    assert list(items.loc[("idle", "i0"), ["above", "above scaled"]]) == pytest.approx([0.99, 0.99])


def test_seeds_of_an_item_are_averaged_and_drawn_together() -> None:
    """Each error is capped at 1 before averaging; nine equal seeds give the same interval as five."""
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
    nine, five = (dataclasses.astuple(compare_methods(per_item(rows), "a", "b").difference) for rows in (more, once))
    assert nine == pytest.approx(five)


def test_the_best_is_first() -> None:
    table = summary(per_item(of_slopes(worst=[0.9, 0.8], best=[0.1, 0.2], middle=[0.5, 0.5])))
    assert list(dict.fromkeys(table["method"])) == ["best", "middle", "worst"]
    indexed = table.set_index(["method", "measure"])
    assert indexed.loc[("best", "above"), ["mean", "images"]].tolist() == pytest.approx([0.025, 2])
    assert indexed.loc[("middle", "evaluations"), "mean"] == 28
    assert math.isnan(indexed.loc[("best", "above"), "low"]), "two images are too few for an interval"


def test_paired_comparison() -> None:
    """Differences of .16 - .04, .25 - .09, ...: the sign, the mean, the ratio of means, and who is better."""
    ours = np.array([0.2, 0.3, 0.1, 0.4, 0.2, 0.3, 0.25, 0.35])
    other = ours + 0.2
    items = per_item(of_slopes(ours=ours.tolist(), other=other.tolist()))
    found = compare_methods(items, "ours", "other")
    assert (found.ours, found.other) == ("ours", "other")
    assert found.difference.mean == pytest.approx((other**2 - ours**2).mean())
    assert 0 < found.difference.low < found.difference.mean < found.difference.high
    assert found.difference.images == 8
    assert found.ratio.mean == pytest.approx((ours**2).mean() / (other**2).mean())
    assert found.ratio.low < found.ratio.mean < found.ratio.high < 1
    assert found.verdict == "holds"
    back = compare_methods(items, "other", "ours")
    assert back.difference.mean == pytest.approx(-found.difference.mean)
    assert back.ratio.mean == pytest.approx(1 / found.ratio.mean)
    assert back.verdict == "does not hold"
    # methods that err on the same items differ by the same amount on each, whatever the spread: the interval is a point
    worse = np.sqrt(ours**2 + 0.05)
    paired = compare_methods(per_item(of_slopes(ours=ours.tolist(), other=worse.tolist())), "ours", "other").difference
    assert (paired.low, paired.high) == pytest.approx((0.05, 0.05))
    # items that one method lacks are left out
    five = with_seeds(
        pd.DataFrame(constructed({"ours": {"i0": straight(0.1), "i1": straight(0.9)}, "other": {"i0": straight(0.2)}}))
    )
    found = compare_methods(per_item(five), "ours", "other")
    assert (found.difference.images, found.ratio.mean) == (1, pytest.approx(0.01 / 0.04))


def test_attributes_of_different_frequency_have_equal_weights() -> None:
    """Hair three times, eyes once: means of .04 and of .81, and of both."""
    rows = of_slopes(a=[0.2, 0.2, 0.2, 0.9, 0.5, 0.5])
    rows.loc[rows["item"] == "i2", "requested"] = "hair,hair_color"
    rows.loc[rows["item"] == "i3", "requested"] = "eyes"
    rows.loc[rows["item"] == "i4", "kind"] = "pair"
    rows.loc[rows["item"] == "i5", "requested"] = ""
    table = by_attribute(per_item(rows)).set_index("attribute")
    assert table["mean"].to_dict() == pytest.approx({"hair": 0.04, "eyes": 0.81, MEAN: (0.04 + 0.81) / 2})
    assert table.loc["hair", "images"] == 3
    kinds = by_kind(per_item(rows)).set_index("kind")
    assert kinds["mean"].to_dict() == pytest.approx({"single": (3 * 0.04 + 0.81 + 0.25) / 5, "pair": 0.25})
    assert kinds.loc["pair", "images"] == 1


def test_items_without_a_request_are_measured_but_not_ranked() -> None:
    nothing = (math.nan, math.nan)
    quiet = constructed({"a": {"q0": [(1.0, *nothing), (2.0, *nothing)], "q1": [(1.0, *nothing)]}})
    for row, moved in zip(quiet, (0.1, 9.0, 0.3), strict=True):
        row |= {"kind": "nothing", "changed_rms": moved}
    rows = pd.concat([of_slopes(a=[0.2]), pd.DataFrame(quiet)], ignore_index=True)
    assert list(per_item(rows)["item"]) == ["i0"]
    (found,) = still(rows).to_dict("records")
    assert (found["kind"], found["mean"]) == ("nothing", pytest.approx(0.2)), "at strength 1 alone"
    assert len(still(of_slopes(a=[0.2]))) == 0


def test_intervals_draw_images_and_not_items() -> None:
    """Two items per image that agree give the same interval as one."""
    slopes = {"ours": np.linspace(0.1, 0.4, 7), "other": np.linspace(0.5, 0.3, 7)}

    def rows(copies: int) -> Any:
        paths = {
            method: {f"p{index}-{copy}": straight(slope) for index, slope in enumerate(some) for copy in range(copies)}
            for method, some in slopes.items()
        }
        return with_seeds(pd.DataFrame(constructed(paths)))

    once, twice = rows(1), rows(2)
    first, second = (compare_methods(per_item(table), "ours", "other").difference for table in (once, twice))
    assert (first.images, second.images) == (7, 7)
    assert dataclasses.astuple(second) == pytest.approx(dataclasses.astuple(first))
    for measure in (summary, by_kind):
        again = measure(per_item(twice))
        assert set(again["images"]) == {7}
        pd.testing.assert_frame_equal(again, measure(per_item(once)))


def test_curves_of_straight_paths() -> None:
    """A leakage of slope * w at effect w; the numbers of two seeds are averaged, not their curves."""
    items = item_curves(of_slopes(a=[0.2, 0.6]))
    assert list(items["matched"]) == pytest.approx([0.04, 0.36])
    assert list(items["leakage at 0.25"]) == pytest.approx([0.05, 0.15])
    assert list(items["leakage at 0.75"]) == pytest.approx([0.15, 0.45])
    assert list(items["linearity"]) == pytest.approx([1, 1])
    assert list(items["reached"]) == [1, 1]
    curves = summary_of_curves(of_slopes(a=[0.2, 0.6])).set_index("measure")
    assert curves.loc["matched", "mean"] == pytest.approx(0.2)
    timid = pd.DataFrame(constructed({"a": {"i0": straight(0.7, gain=0.4)}})).assign(seed=2)
    found = item_curves(pd.concat([of_slopes(a=[0.1]).query("seed == 1"), timid]))
    assert found["matched"].tolist() == pytest.approx([(0.01 + 0.49) / 2])
    assert found["reached"].tolist() == [0.5]


def test_curves_compare_equal_effects() -> None:
    """A method without effect, or with one strength, has no line."""
    once = {"i0": [(1.0, 1.0, 0.5)], "i1": [(1.0, 0.5, 0.1)]}
    idle = {"i0": [(s, 0.0, 0.0) for s in STRENGTHS]}
    paths = {"bold": {"i0": straight(0.8)}, "timid": {"i0": straight(0.8, gain=0.5)}, "once": once, "idle": idle}
    items = item_curves(pd.DataFrame(constructed(paths))).set_index("method")
    assert items.loc["timid", "matched"] == pytest.approx(items.loc["bold", "matched"]) == pytest.approx(0.64)
    assert list(items.loc["once", "matched"]) == pytest.approx([0.25, 0.04])
    assert items.loc["idle", "matched"] == 1
    assert list(items["linearity"].isna()) == [False, False, True, True, True]


@pytest.mark.nightly
def test_methods_are_in_order_and_ours_is_compared_by_each_error() -> None:
    """Straight paths: the error beyond the codec's, scaled or not, is the slope squared minus the codec's squared."""
    rows = pd.DataFrame([row for name in reversed(SLOPES) for row in rows_of(name)])
    found = Summaries.of(rows, APART)
    ranked = [name for name in SLOPES if name != "sdedit"]
    assert list(found.order) == sorted(ranked, key=lambda name: SLOPES[name])
    assert list(found.apart) == ["sdedit"]
    assert list(found.rivals) == ["flow<edit>"], "neither our family nor what stands apart"
    assert [one[0].other for one in found.comparisons] == ["eim joint", "eim text", "flow<edit>"]
    assert [one.measure for one in found.comparisons[0]] == [*COMPARED, f"{PRIMARY}, {next(iter(CHANGES))}"]
    slopes, (above, scaled, error) = np.arange(8) / 100, found.comparisons[-1][:3]
    ours, other, codec = (((SLOPES[name] + slopes) ** 2).mean() for name in ("eim", "flow<edit>", CODEC))
    assert [one.difference.mean for one in (above, scaled, error)] == pytest.approx([other - ours] * 3)
    assert [above.ratio.mean, scaled.ratio.mean] == pytest.approx([(ours - codec) / (other - codec)] * 2)
    assert error.ratio.mean == pytest.approx(ours / other)
    assert found.curves is not None
    few = Summaries.of(rows[rows["seed"] < 4], APART)
    assert (len(few.order), few.comparisons) == (len(ranked), [])
    assert "4" in few.too_few_seeds


@pytest.mark.slow
def test_refined_methods_are_compared_with_ours_refined() -> None:
    slopes = {"eim": 0.5, "eim, refined": 0.4, "other": 0.6, "other, refined": 0.3}
    found = Summaries.of(of_slopes(**{name: [slope, slope] for name, slope in slopes.items()}))
    compared = {first.other: (first.ours, pytest.approx(first.difference.mean)) for first, *_ in found.comparisons}
    assert compared == {
        "eim, refined": ("eim", 0.4**2 - 0.5**2),
        "other": ("eim", 0.6**2 - 0.5**2),
        "other, refined": ("eim, refined", 0.3**2 - 0.4**2),
    }
    assert found.rivals == ["other, refined", "other"]


def test_methods_are_also_compared_on_one_and_on_several_changes() -> None:
    rows = of_slopes(eim=[0.2, 0.5, 0.3, 0.6], other=[0.4, 0.4, 0.6, 0.6])
    kinds = dict(zip(dict.fromkeys(rows["item"]), ("single", "pair", "graded", "triple"), strict=True))
    ((*whole, one, several),) = Summaries.of(rows.assign(kind=rows["item"].map(kinds))).comparisons
    assert len(whole) == len(COMPARED)
    assert (one.measure, several.measure) == ("above, one change", "above, several changes")
    assert one.ratio.mean == pytest.approx((0.2**2 + 0.3**2) / (0.4**2 + 0.6**2))
    assert several.ratio.mean == pytest.approx((0.5**2 + 0.6**2) / (0.4**2 + 0.6**2))


def test_runs_without_our_method_other_strengths_or_right_answers() -> None:
    rows = pd.DataFrame([row for name in ("flow<edit>", CODEC) for row in rows_of(name) if row["strength"] == 1])
    found = Summaries.of(rows, APART)
    assert (found.comparisons, found.curves) == ([], None)
    rows = pd.DataFrame({"method": ["a"], "strength": [1.0]})
    assert not is_ranked(rows)
    assert is_ranked(rows.assign(effect=0.5))
    for without in (rows, rows.assign(effect=None)):
        with pytest.raises(ConfigError):
            Summaries.of(without, APART)


def test_pie_bench_by_category() -> None:
    """Means ignore nan, intervals resample groups, and a category named "all" follows the others."""
    generator = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "method": "a",
            "strength": 1.0,
            "kind": ["change style"] * 10 + ["add object"] * 8,
            "group": [f"image {index // 2}" for index in range(18)],
            "legacy background_mse": generator.random(18),
            "corrected background_mse": generator.random(18),
        }
    )
    rows.loc[[0, 12, 13], "legacy background_mse"] = float("nan")
    table = pie_bench_table(rows)
    assert table is not None
    assert table["category"].tolist() == ["add object"] * 2 + ["change style"] * 2 + ["all"] * 2
    indexed = table.set_index(["category", "metric"])
    assert indexed["rows"].unstack().loc["all"].tolist() == [18, 18]
    assert indexed["nan"].tolist() == [2, 0, 1, 0, 3, 0]
    # two rows per image; an image whose rows are both nan counts in no number
    assert indexed["images"].to_dict()["add object", "legacy background_mse"] == 3
    assert indexed["images"].to_dict()["change style", "legacy background_mse"] == 5
    overall, values = indexed.loc[("all", "legacy background_mse")], rows["legacy background_mse"]
    assert overall["mean"] == pytest.approx(np.nanmean(values), rel=1e-12)
    expected = estimate(values.tolist(), [(index // 2,) for index in range(18)])
    assert (overall["low"], overall["high"]) == (expected.low, expected.high)
    assert pie_bench_table(rows[["method", "strength", "kind", "group"]]) is None, "without masks"
