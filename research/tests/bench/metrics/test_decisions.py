"""Numbers that decide, of tables for which they are known."""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from latentedit_bench.metrics.decisions import (
    UNDECIDED,
    Difference,
    MeansCorrelation,
    Measure,
    ModelDifference,
    Outcome,
    RankCorrelation,
    rank_correlation,
    slope,
)
from latentedit_bench.metrics.statistics import Table, estimate

TWIN = Difference("network", "trained", "untrained")
KEYS, IMAGES = ("image", "level"), ("image",)


def rows_of(value: Any, *, levels: tuple[float, ...] = (0.9, 0.5, 0.1), images: int = 7, **axes: Any) -> Table:
    """``value(image, level, *others)`` for each combination of values of the axes, of one model."""
    names = ["image", "level", *axes]
    combined = itertools.product(range(images), levels, *axes.values())
    return pd.DataFrame(
        [{"model": "one", **dict(zip(names, one, strict=True)), "value": value(*one)} for one in combined]
    )


def only(number: Measure, rows: Table, keys: tuple[str, ...] = KEYS, images: tuple[str, ...] = IMAGES) -> Outcome:
    (found,) = number.outcomes(rows, keys, images)
    return found


def test_a_mean_is_judged_by_its_bar() -> None:
    rows = rows_of(lambda image, level: 0.2 + 0.01 * (image - 3))
    above = only(Measure(name="n", column="value", threshold=0.1), rows)
    assert (above.estimate, above.threshold, above.verdict, above.images) == (pytest.approx(0.2), 0.1, "holds", 7)
    assert [only(Measure(name="n", column="value", threshold=threshold), rows).verdict for threshold in (0.2, 0.3)] == [
        UNDECIDED,
        "does not hold",
    ]
    assert (above.model, above.measure) == ("one", "n")
    few = only(Measure(name="n", column="value"), rows[rows["image"] < 5])
    assert (few.verdict, few.estimate, math.isnan(few.low)) == (UNDECIDED, pytest.approx(0.19), True)
    outcome = only(Measure(name="n", column="value", undecided="one training"), rows)
    assert (outcome.verdict, outcome.low > 0) == (UNDECIDED, True), "there is a stated cause"


def test_rows_are_chosen_by_values_by_several_and_by_the_ends_of_the_levels() -> None:
    rows = rows_of(lambda image, level, kind: level + 10 * (kind == "a") + 20 * (kind == "b"), kind=("a", "b", "c"))

    def mean(**where: Any) -> float:
        return only(Measure(name="n", column="value", where=where), rows).estimate

    assert mean(kind="a") == pytest.approx(10.5)
    assert mean(kind=("a", "b")) == pytest.approx(15.5)
    assert mean(kind="b", level="highest") == pytest.approx(20.9)
    assert mean(kind="b", level="lowest") == pytest.approx(20.1)
    assert mean(kind="c", level=(0.5, 0.1)) == pytest.approx(0.3)
    number = Measure(name="n", column="value", where={"kind": "a", "level": 0.5}, differences=(TWIN,))
    other = Measure(name="m", column="error", where={"kind": "b", "level": 0.5}, differences=(TWIN,), threshold=0.1)
    assert number.variant("m", kind="b", column="error", threshold=0.1) == other
    assert number.variant(kind="b").name == "n"


@pytest.mark.parametrize(("trend", "sign"), [("rise", 1), ("fall", -1)])
def test_rise_and_fall_are_between_the_highest_and_the_lowest_level(trend: Any, sign: int) -> None:
    """Independent of values between them; unknown levels are ignored; one level has no rise."""
    rows = rows_of(
        lambda image, level: {0.9: 1.0, 0.5: 7.0, 0.1: 1.5, 0.05: math.nan}[level], levels=(0.05, 0.1, 0.9, 0.5)
    )
    number = Measure(name="n", column="value", trend=trend)
    assert only(number, rows).estimate == pytest.approx(sign * 0.5)
    alone = only(number, rows[rows["level"] == 0.5])
    assert (math.isnan(alone.estimate), alone.images, alone.verdict) == (True, 0, UNDECIDED)
    missing = rows[(rows["image"] > 0) | (rows["level"] != 0.1)]
    assert only(number, missing).images == 6, "an image without one end has no rise"


def test_differences_are_paired_and_unpaired_values_are_left_out() -> None:
    """Several rows of one key are averaged; the order of rows does not matter."""
    trained = pd.DataFrame({"image": [0, 1, 1, 2], "value": [1.0, 4.0, 6.0, 9.0], "network": "trained"})
    untrained = pd.DataFrame({"image": [1, 0], "value": [2.0, 0.5], "network": "untrained"})
    rows = pd.concat([trained, untrained]).assign(model="one")
    number = Measure(name="n", column="value", differences=(TWIN,))
    assert number.values(rows, ("image",)).tolist() == pytest.approx([0.5, 3.0, math.nan], nan_ok=True)
    claim = only(number, rows, ("image",))
    assert (claim.estimate, claim.images) == (pytest.approx(1.75), 2)


def test_nested_differences_take_the_last_one_first() -> None:
    """(lerp - slerp) of the trained network less that of its twin."""
    sizes = {"trained": {"lerp": 5.0, "slerp": 3.0}, "untrained": {"lerp": 2.5, "slerp": 2.0}}
    rows = rows_of(
        lambda p, level, network, way: sizes[network][way] * (1 + p),
        network=("trained", "untrained"),
        way=("lerp", "slerp"),
    )
    number = Measure(name="n", column="value", differences=(TWIN, Difference("way", "lerp", "slerp")))
    assert only(number, rows).estimate == pytest.approx(4 * 1.5)
    sides = number.sides()
    assert [only(side, rows).estimate for side in sides] == pytest.approx([4 * 2.0, 4 * 0.5])
    assert [only(side, rows).estimate for side in sides[0].sides()] == pytest.approx([4 * 5.0, 4 * 3.0])
    named = [number.full_name, sides[1].full_name, sides[0].sides()[1].full_name]
    assert named == [
        "n, lerp minus slerp, trained minus untrained",
        "n, untrained, lerp minus slerp",
        "n, trained, slerp",
    ]
    assert Measure(name="n", column="value").sides() == []


@pytest.mark.parametrize(("joint", "verdict"), [(0.8, "holds"), (0.65, "does not hold"), (0.7, UNDECIDED)])
def test_a_gain_is_over_the_best_of_each_image(joint: float, verdict: str) -> None:
    """Text is 0.7 on even images and 0.5 on odd ones, image the other way round: the better one is 0.7 on all."""
    scores = {"joint": (joint, joint), "text": (0.7, 0.5), "image": (0.5, 0.7)}
    rows = rows_of(lambda p, level, arm: scores[arm][p % 2], levels=(0.5,), arm=tuple(scores))
    number = Measure(name="n", column="value", differences=(Difference("arm", "joint", ("text", "image")),))
    claim = only(number, rows)
    assert (claim.estimate, claim.verdict) == (pytest.approx(joint - 0.7), verdict)
    assert len(number.sides()) == 3
    rows.loc[(rows["image"] == 0) & (rows["arm"] == "text"), "value"] = None
    assert only(number, rows).images == 6, "without one arm there is no best one"


def test_images_are_drawn_and_not_rows() -> None:
    """Rows that repeat an image add no information about others."""
    once = rows_of(lambda image, level: float(image), levels=(0.5,))
    often = rows_of(lambda image, level: float(image), levels=tuple(np.linspace(0.1, 0.9, 30)))
    few, many = (only(Measure(name="n", column="value"), rows) for rows in (once, often))
    assert (few.low, few.high, few.images) == pytest.approx((many.low, many.high, 7))
    pairs = pd.DataFrame(list(itertools.combinations(range(7), 2)), columns=["first", "second"])
    rows = pairs.assign(model="one", value=pairs["first"] + pairs["second"] * 1.0)
    both = only(Measure(name="n", column="value"), rows, ("first", "second"), ("first", "second"))
    expected = estimate(rows["value"].tolist(), pairs.to_numpy().tolist())
    assert (both.estimate, both.low, both.high, both.images) == (expected.mean, expected.low, expected.high, 7)


def test_one_outcome_for_each_model_or_one_for_all() -> None:
    one = rows_of(lambda image, level: 1.0 + image)
    rows = pd.concat([one, one.assign(model="two", value=one["value"] - 0.5)])
    number = Measure(name="n", column="value")
    assert [(claim.model, claim.estimate) for claim in number.outcomes(rows, KEYS, IMAGES)] == [
        ("one", 4),
        ("two", 3.5),
    ]
    apart = dataclasses.replace(number, per="", differences=(Difference("model", "one", "two"),))
    claim = only(apart, rows)
    assert (claim.model, claim.estimate, claim.low) == ("one and two", pytest.approx(0.5), pytest.approx(0.5))


def test_a_slope_and_a_rank_correlation_of_each_image() -> None:
    """A slope of 2 + image; ranks that agree, are reversed, and are undefined."""
    rows = rows_of(lambda image, level: (2 + image) * level + image)
    assert only(Measure(name="n", column=slope("value", "level")), rows, ("image",)).estimate == pytest.approx(5)
    agree = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 8.0, 27.0, 20.0], "flat": [3.0] * 4})
    assert rank_correlation("y", "x")(agree) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert rank_correlation("y", "x", sign=-1)(agree) == pytest.approx(-0.8)
    assert math.isnan(rank_correlation("flat", "x")(agree))
    assert math.isnan(rank_correlation("y", "flat")(agree))


def pairs_of(y: Any, *, images: int = 8, **columns: Any) -> Table:
    """Pairs of each image and the three after it in a ring; columns are functions of the two images."""
    rows = [
        {"model": "one", "first": i, "second": (i + k) % images, "kind": kind, "y": y(i, k, kind)}
        | {name: made(i, k) for name, made in columns.items()}
        for i in range(images)
        for k in (1, 2, 3)
        for kind in ("carried", "random")
    ]
    return pd.DataFrame(rows)


def test_a_rank_correlation_over_pairs_is_of_the_difference_and_draws_images() -> None:
    """A measure that falls with the distance, less a control that rises with it; each side has its own correlation."""
    y = Measure(name="y", column="y", differences=(Difference("kind", "carried", "random"),))
    number = RankCorrelation(name="n", y=y, x=Measure(name="x", column="x"), sign=-1)
    rows = pairs_of(lambda i, k, kind: -(k**3) if kind == "carried" else 0.1 * k, x=lambda i, k: k)
    (found,) = number.outcomes(rows, ("first", "second"), ("first", "second"))
    assert (found.estimate, found.low, found.verdict, found.images) == (pytest.approx(1), pytest.approx(1), "holds", 8)
    assert found.measure == "n, carried minus random"
    sides = [side.outcomes(rows, ("first", "second"), ("first", "second"))[0] for side in number.sides()]
    assert [(side.measure, round(side.estimate, 6)) for side in sides] == [("n, carried", 1), ("n, random", -1)]


def test_a_partial_rank_correlation_leaves_out_what_another_column_explains() -> None:
    """It is the correlation of residuals of the ranks; without pairs, or where nothing varies, it is unknown."""
    generator = np.random.default_rng(0)
    noise = {(i, k): generator.normal(size=2) for i in range(8) for k in (1, 2, 3)}
    rows = pairs_of(lambda i, k, _: k + noise[i, k][0], x=lambda i, k: k + noise[i, k][1], z=lambda i, k: k)
    rows = rows[rows["kind"] == "carried"]
    measures = {name: Measure(name=name, column=name) for name in "xyz"}
    number = RankCorrelation(name="n", y=measures["y"], x=measures["x"])
    given = number.variant("given", given=measures["z"])
    keys = ("first", "second")
    assert number.outcomes(rows, keys, keys)[0].estimate == pytest.approx(rows["y"].corr(rows["x"], method="spearman"))
    ranks = rows[["x", "y", "z"]].rank()
    design = np.column_stack([np.ones(len(ranks)), ranks["z"]])
    rest = [ranks[name] - design @ np.linalg.lstsq(design, ranks[name], rcond=None)[0] for name in "yx"]
    assert given.outcomes(rows, keys, keys)[0].estimate == pytest.approx(np.corrcoef(rest)[0, 1])
    (flat,) = number.outcomes(rows.assign(y=1.0), keys, keys)
    (none,) = number.outcomes(rows.assign(y=math.nan), keys, keys)
    assert [one.verdict for one in (flat, none)] == [UNDECIDED] * 2
    assert math.isnan(flat.estimate)
    assert math.isnan(none.estimate)


def two_sets(more: Table, less: Table) -> Table:
    return pd.concat([more.assign(model="portraits"), less.assign(model="discs")])


BETWEEN = ModelDifference(measure=Measure(name="b", column="value"), model="portraits", baseline="discs")


def test_between_models_the_images_of_each_are_drawn_independently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Equal numbers would cancel if they were drawn together; drawn independently, their variances add up."""
    monkeypatch.setattr("latentedit_bench.metrics.statistics._DRAWS", 2000)
    rows = rows_of(lambda image, level: float(image))
    (found,) = BETWEEN.outcomes(two_sets(rows, rows), KEYS, IMAGES)
    (alone,) = Measure(name="", column="value").outcomes(rows, KEYS, IMAGES)
    # Standard deviations from 2000 draws are known to 2 %, ends of intervals to some 5 %.
    assert found.high - found.low == pytest.approx(2**0.5 * (alone.high - alone.low), rel=0.15)
    assert (found.model, found.estimate, found.images, found.verdict) == ("discs vs portraits", 0, 7, UNDECIDED)
    assert BETWEEN.sides() == []
    for more, verdict in ((5.0, "holds"), (-5.0, "does not hold")):
        (found,) = BETWEEN.outcomes(two_sets(rows.assign(value=rows["value"] + more), rows), KEYS, IMAGES)
        assert (found.estimate, found.verdict) == (pytest.approx(more), verdict)
    (found,) = BETWEEN.outcomes(two_sets(rows, rows[rows["image"] < 5]), KEYS, IMAGES)
    assert (found.images, found.verdict, math.isnan(found.low)) == (5, UNDECIDED, True), "the smaller set counts"


def _settings(noise: float) -> Table:
    """Five settings of twelve images each, whose values rise with the setting apart from noise."""
    generator = np.random.default_rng(3)
    return pd.DataFrame(
        [
            {"model": "one", "edit": edit, "at": at, "group": group}
            | {"x": 2 * edit + at + noise * generator.normal(), "y": 2 * edit + at + noise * generator.normal()}
            for edit, at in [(0, 0.0), (0, 1.0), (1, 0.0), (1, 1.0), (2, 0.0)]
            for group in range(12)
        ]
    )


def _of_means(rows: Table) -> float:
    means = rows.groupby(["edit", "at"])[["x", "y"]].mean()
    found: Any = scipy.stats.spearmanr(means["x"], means["y"])
    return float(found.statistic)


@pytest.mark.slow
def test_the_correlation_of_means_is_that_of_scipy_and_its_draws_are_of_images() -> None:
    number = MeansCorrelation(name="n", x="x", y="y", across=("edit", "at"), threshold=0.8)
    rows = _settings(noise=3)
    (found,) = number.outcomes(rows, (), ("group",))
    assert found.estimate == pytest.approx(_of_means(rows), abs=1e-12)
    generator = np.random.default_rng(0)
    by_setting, drawn = rows[["x", "y"]].to_numpy().reshape(5, 12, 2), list[float]()
    for _ in range(300):
        x, y = by_setting[:, generator.integers(12, size=12)].mean(axis=1).T
        one: Any = scipy.stats.spearmanr(x, y)
        drawn.append(one.statistic)
    # Rank correlations of five settings are multiples of .1; 300 draws place a quantile within one step of that.
    assert (found.low, found.high) == pytest.approx(np.percentile(drawn, (2.5, 97.5)), abs=0.11)
    assert (found.images, found.threshold, found.model) == (12, 0.8, "one")


def test_the_correlation_of_means_is_decided_by_its_threshold() -> None:
    number = MeansCorrelation(name="n", x="x", y="y", across=("edit", "at"), threshold=0.8)
    clear = _settings(noise=0.01)
    assert [one.verdict for one in number.outcomes(clear, (), ("group",))] == ["holds"]
    turned = clear.assign(y=-clear["y"])
    (found,) = number.outcomes(turned, (), ("group",))
    assert (found.verdict, found.estimate) == ("does not hold", pytest.approx(-1))
    flat = clear.assign(y=1.0)
    assert [math.isnan(one.estimate) for one in number.outcomes(flat, (), ("group",))] == [True]
    both = pd.concat([clear.assign(domain="a"), turned.assign(domain="b")])
    assert [one.estimate for one in number.variant("m", per="domain").outcomes(both, (), ("group",))] == pytest.approx(
        [1, -1]
    )
    missing = clear.assign(x=clear["x"].where(clear["group"] > 2))
    assert [one.images for one in number.outcomes(missing, (), ("group",))] == [9]
