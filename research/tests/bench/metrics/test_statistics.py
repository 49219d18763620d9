"""Means, ratios and their intervals over images, against SciPy's bootstrap."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from latentedit_bench.metrics.statistics import (
    Estimate,
    apart,
    between,
    decide,
    estimate,
    ratio_over_draws,
    ratio_over_groups,
    with_numbers,
)


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = np.random.default_rng(0).normal(size=40)
    found = estimate(values.tolist(), [(index,) for index in range(40)])
    theirs = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    # both ends are percentiles of 2,000 and 9,999 draws of a mean with standard error .16: about .008 each
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    assert found.low == pytest.approx(theirs.low, abs=0.04)
    assert found.high == pytest.approx(theirs.high, abs=0.04)
    assert found.images == 40


def test_the_difference_of_two_samples_has_the_interval_of_independent_means() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(9, 1, 50), generator.normal(4, 2, 20)
    samples = [(values.tolist(), [(index,) for index in range(len(values))]) for values in (first, second)]
    found, other = apart(samples[0], samples[1]), apart(samples[1], samples[0])
    half = 1.96 * math.sqrt(first.var() / 50 + second.var() / 20)
    assert found.mean == pytest.approx(first.mean() - second.mean(), rel=1e-12) == -other.mean
    for one in (found, other):
        # percentiles of 2,000 draws, and a bootstrap of 20 values that are not normal: a tenth of the width
        assert [one.low, one.high] == pytest.approx([one.mean - half, one.mean + half], abs=0.2 * half)
        assert one.images == 20, "those of the smaller sample"
    equal = apart(samples[1], samples[1])
    half = 1.96 * math.sqrt(2 * second.var() / 20)
    assert [equal.low, equal.high] == pytest.approx([-half, half], abs=0.2 * half), "each has draws of its own"


def test_pairs_that_share_images_are_not_taken_for_independent() -> None:
    generator = np.random.default_rng(0)
    own = generator.normal(size=12)
    pairs = [(i, j) for i in range(12) for j in range(i)]
    values = [own[i] + own[j] for i, j in pairs]
    by_images = estimate(values, pairs)
    as_if_independent = estimate(values, [(index,) for index in range(len(pairs))])
    # the variance of the mean is 4 var / 12 and not 2 var / 66: intervals 3.3 times as wide, here at least twice
    assert by_images.high - by_images.low > 2 * (as_if_independent.high - as_if_independent.low)


def test_unknown_values_are_left_out() -> None:
    found = estimate([1.0, math.nan, 3.0], [(0,), (1,), (2,)])
    assert (found.mean, found.images) == (2.0, 2)
    nothing = estimate([math.nan], [(0,)])
    assert math.isnan(nothing.mean)
    assert decide(nothing) == "undecided at this size"


def test_a_ratio_is_of_means_and_paired() -> None:
    """Twice as much on every item is 2 in every draw, however items differ; scipy's interval where it is not."""
    generator = np.random.default_rng(0)
    bottom = pd.Series(generator.uniform(1, 3, 40), index=pd.Index([f"g{n}" for n in range(40)], name="group"))
    twice = ratio_over_groups(2 * bottom, bottom)
    assert (twice.mean, twice.low, twice.high) == pytest.approx((2, 2, 2))
    top = bottom + pd.Series(generator.normal(size=40), index=bottom.index)
    found = ratio_over_groups(top, bottom)
    theirs = bootstrap(
        (top.to_numpy(), bottom.to_numpy()),
        lambda a, b, axis: a.mean(axis=axis) / b.mean(axis=axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found.mean == pytest.approx(top.mean() / bottom.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert math.isnan(ratio_over_groups(top, 0 * bottom).mean)
    # a third of the draws have none of the only group that counts: there is nothing to divide by
    one = pd.Series([1.0, 0, 0, 0, 0, 0], index=bottom.index[:6])
    rare = ratio_over_groups(one * 0 + 1, one)
    assert rare.mean == pytest.approx(6)
    assert 1 <= rare.low < rare.high <= 6


@pytest.mark.parametrize(
    ("apart_by", "half"),
    [
        (0.5, 1.959964 * 0.5),  # two draws e^-d and e^d of variance v < 2 d^2: between is 2 d^2 - v, the mean's is d^2
        (0.05, 1.959964 * 0.1 / math.sqrt(2)),  # v > 2 d^2: the draws agree, and the mean's variance is v / 2
    ],
)
def test_draws_that_differ_by_more_than_their_width_are_the_unit(apart_by: float, half: float) -> None:
    own = 1.959964 * 0.1
    draws = [
        Estimate(mean=math.exp(log), low=math.exp(log - own), high=math.exp(log + own), images=8)
        for log in (-apart_by, apart_by)
    ]
    found = ratio_over_draws(draws)
    assert (found.mean, found.images) == (pytest.approx(1), 16)
    assert [math.log(found.low), math.log(found.high)] == pytest.approx([-half, half], rel=1e-6)


def test_a_surer_draw_weighs_more_where_draws_agree() -> None:
    sure, unsure = (Estimate(mean=math.exp(log), low=1, high=math.exp(2 * log), images=8) for log in (0.1, 0.2))
    assert ratio_over_draws([sure]).high == pytest.approx(sure.high), "one draw is itself"
    # variances are 1 : 4
    assert math.log(ratio_over_draws([sure, unsure]).mean) == pytest.approx(0.8 * 0.1 + 0.2 * 0.2)


def test_five_images_have_no_interval_and_six_have_one() -> None:
    five, six = (estimate([float(i) for i in range(count)], [(i,) for i in range(count)]) for count in (5, 6))
    assert five.mean == 2
    assert (math.isnan(five.low), math.isnan(five.high)) == (True, True)
    assert six.low < six.mean < six.high
    assert (between(0.12345, 0.5), between(math.nan, math.nan), between(None, None)) == ("[0.123, 0.500]", "", "")


def test_only_empty_columns_become_numbers() -> None:
    table = pd.DataFrame({"nothing": [None, None], "some": ["a", None], "number": [1, 2]})
    assert with_numbers(table).dtypes.map(str).to_dict() == {**table.dtypes.map(str), "nothing": "float64"}
