import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional import relative_squared_error

from latentedit_bench.metrics.counterfactual import counterfactual_error
from tests.bench.metrics.constructed import noise, world


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


def test_it_is_relative_to_the_answer_as_torchmetrics_does_relative_squares() -> None:
    """Theirs divides by the squares around the mean of the target: that is ours where the source is that mean."""
    truth = noise(1, 3, 4, 4)
    source = truth.mean().expand_as(truth).clone()
    edited = noise(1, 3, 4, 4, seed=5)
    theirs = relative_squared_error(edited.flatten(), truth.flatten())
    assert counterfactual_error(edited, source, truth).item() == pytest.approx(theirs.item(), rel=1e-12)
