"""Curves over strengths whose numbers are known."""

from typing import Any

import pandas as pd
import pytest

from latentedit_bench.ranking.curves import by_strength, item_curves, summary_of_curves
from tests.bench.ranking.test_ranking import STRENGTHS, of_slopes, straight
from tests.bench.rendered_network import constructed


def test_curves_in_numbers() -> None:
    """Straight ways: at effect w a leakage of slope * w, an area of slope / 2, and a line through the origin."""
    items = item_curves(of_slopes(a=[0.2, 0.6]))
    assert list(items["matched"]) == pytest.approx([0.04, 0.36])
    assert list(items["area"]) == pytest.approx([0.1, 0.3])
    assert list(items["leakage at 0.25"]) == pytest.approx([0.05, 0.15])
    assert list(items["leakage at 0.75"]) == pytest.approx([0.15, 0.45])
    assert list(items["linearity"]) == pytest.approx([1, 1])
    assert list(items["monotonicity"]) == pytest.approx([1, 1])
    assert list(items["reached"]) == [1, 1]
    table = summary_of_curves(of_slopes(a=[0.2, 0.6])).set_index("measure")
    assert table.loc["matched", "mean"] == pytest.approx(0.2)


def test_equal_effects_are_compared_not_equal_strengths() -> None:
    """A timid method of the same slope has the same matched error."""
    paths = {"bold": {"i0": straight(0.8)}, "timid": {"i0": straight(0.8, gain=0.5)}}
    items = item_curves(pd.DataFrame(constructed(paths))).set_index("method")
    assert items.loc["timid", "matched"] == pytest.approx(items.loc["bold", "matched"]) == pytest.approx(0.64)


def test_each_seed_has_a_curve_of_its_own() -> None:
    """The mean of the numbers of two curves, not the numbers of a mean curve: .01 and .49; half of them arrives."""
    timid = pd.DataFrame(constructed({"a": {"i0": straight(0.7, gain=0.4)}})).assign(seed=2)
    rows: Any = pd.concat([of_slopes(a=[0.1]).query("seed == 1"), timid])
    found = item_curves(rows)
    assert len(found) == 1
    assert found.loc[0, "matched"] == pytest.approx((0.01 + 0.49) / 2)
    assert found.loc[0, "reached"] == 0.5


def test_a_method_that_moves_nothing_has_no_line() -> None:
    items = item_curves(pd.DataFrame(constructed({"idle": {"i0": [(s, 0.0, 0.0) for s in STRENGTHS]}})))
    assert list(items["matched"]) == list(items["area"]) == [1]
    assert items["linearity"].isna().all()


def test_a_method_with_one_strength_has_no_line() -> None:
    """Some editors refuse all others; that they are linear in one number says nothing."""
    once = {"i0": [(1.0, 1.0, 0.5)], "i1": [(1.0, 0.5, 0.1)]}
    paths = {"once": once, "a": {"i0": straight(0.3), "i1": straight(0.3)}}
    items = item_curves(pd.DataFrame(constructed(paths)))
    once = items[items["method"] == "once"]
    assert list(once["matched"]) == pytest.approx([0.25, 0.04])
    assert once["linearity"].isna().all()
    assert once["monotonicity"].isna().all()
    assert items[items["method"] == "a"]["linearity"].notna().all()


def test_disentanglement_over_strengths() -> None:
    """Each strength by itself, items that ask for nothing left out."""
    rows = of_slopes(a=[0.2, 0.6])
    rows["disentanglement"] = rows["strength"] / 4
    rows["effectiveness"], rows["decomposability"] = 0.5, 1.0
    found = by_strength(rows)
    told = found[found["measure"] == "disentanglement"]
    assert list(told["strength"]) == [0.5, 1.0, 2.0]
    assert list(told["mean"]) == pytest.approx([0.125, 0.25, 0.5])
    assert set(told["pictures"]) == {2}
