"""Effect, leakage, the scores that follow from them, and the distance to the right answer."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit_bench.metrics.counterfactual import counterfactual_error
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.pictures import SAME
from tests.bench.metrics.constructed import world

SCORES = ("effect", "leakage", "decomposability", "effectiveness", "disentanglement")


def all_of(edited: Tensor, source: Tensor, truth: Tensor) -> list[list[float]]:
    found = all_scores(edited, source, truth)
    assert set(found) == set(SCORES)
    return [found[name].tolist() for name in SCORES]


@pytest.mark.parametrize(
    ("along", "beside", "expected"),
    [
        (1, 0, [1, 0, 1, 1, 1]),
        (0, 0, [0, 0, math.nan, 0, 0]),
        (-0.5, 0, [-0.5, 0, 1, 0, 0]),
        (0.8, 0.6, [0.8, 0.6, 0.8, 0.6, 24 / 35]),
        (1, 0.75, [1, 0.75, 0.8, 0.4375, 56 / 99]),
        (0.3, 0.4, [0.3, 0.4, 0.6, 0.35, 42 / 95]),
        (1.5, 2, [1.5, 2, 0.6, 0, 0]),
    ],
    ids=[
        "an oracle",
        "no edit",
        "the opposite",
        "most of it",
        "all of it and more",
        "some of it",
        "more harm than good",
    ],
)
def test_known_edits(along: float, beside: float, expected: list[float]) -> None:
    w = world()
    found = all_of(w.edited(along, beside), w.source, w.truth)
    # float64: each is a quotient of two sums of 90 products
    for row, value in zip(found, expected, strict=True):
        assert row == pytest.approx([value] * 2, abs=1e-13, nan_ok=True)


@given(st.floats(-3, 3), st.floats(0, 3))
def test_effect_and_leakage_say_the_rest(a: float, b: float) -> None:
    """The identities of the module, for any effect and leakage."""
    w = world(seed=1)
    effect, leakage, decomposability, effectiveness, disentanglement = all_of(w.edited(a, b), w.source, w.truth)
    assert effect == pytest.approx([a, a], abs=1e-13)
    assert leakage == pytest.approx([b, b], abs=1e-13)
    eff = min(1.0, max(0.0, a * (2 - a) - b * b))
    assert effectiveness == pytest.approx([eff, eff], abs=1e-12)
    if math.hypot(a, b) > 1e-3:  # below, the cosine has the rounding of source + d, 1e-16 / 1e-3, and more
        dec = abs(a) / math.hypot(a, b)
        close = 1e-10 if math.hypot(a, b) < 0.1 else 1e-12
        assert decomposability == pytest.approx([dec, dec], abs=close)
        sde = 2 * eff * dec / (eff + dec) if eff else 0
        assert disentanglement == pytest.approx([sde, sde], abs=2 * close)


def test_where_nothing_was_asked_for_all_are_undefined() -> None:
    w = world()
    for row in all_of(w.truth, w.source, w.source):
        assert all(math.isnan(value) for value in row)


def test_a_change_that_is_rounding_is_none() -> None:
    w = world()
    nothing, little = (all_scores(w.source + size * w.wanted, w.source, w.truth) for size in (1e-8, 1e-3))
    assert nothing["decomposability"].isnan().all()
    assert little["decomposability"].tolist() == pytest.approx([1, 1], rel=1e-9)
    assert nothing["disentanglement"].tolist() == [0, 0]


def test_what_is_too_small_to_count_is_the_same_in_pictures_of_every_size() -> None:
    """Less than `SAME` at the average pixel."""
    w = world()
    size = SAME / w.wanted.flatten(1).square().mean(1).sqrt().max().item()
    smaller, larger = (all_scores(w.source + part * size * w.wanted, w.source, w.truth) for part in (0.5, 2))
    assert smaller["decomposability"].isnan().all()
    assert not larger["decomposability"].isnan().any()


def test_rounding_makes_no_score_larger_than_one() -> None:
    w = world(batch=200)
    found = all_scores(w.edited(0.3, 0), w.source, w.truth)
    assert float(found["decomposability"].max()) <= 1


def test_the_answer_has_no_error_no_edit_has_one_and_where_nothing_was_asked_for_there_is_none() -> None:
    w = world()
    assert counterfactual_error(w.truth, w.source, w.truth).tolist() == [0, 0]
    assert counterfactual_error(w.source, w.source, w.truth).tolist() == [1, 1]
    assert counterfactual_error(w.truth, w.source, w.source).isnan().all()


@given(st.floats(-3, 3), st.floats(0, 3))
def test_it_is_made_of_effect_and_leakage(a: float, b: float) -> None:
    w = world()
    expected = (1 - a) ** 2 + b**2
    found = counterfactual_error(w.edited(a, b), w.source, w.truth)
    assert found.tolist() == pytest.approx([expected] * 2, abs=1e-12)
