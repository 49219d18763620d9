import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional import relative_squared_error

from latentedit.core.errors import ConfigError
from latentedit_bench.metrics.counterfactual import CounterfactualError, counterfactual_error
from tests.bench.metrics.constructed import noise, world


def test_the_answer_has_no_error_and_no_edit_has_one() -> None:
    w = world()
    assert counterfactual_error(w.truth, w.source, w.truth).tolist() == [0, 0]
    assert counterfactual_error(w.source, w.source, w.truth).tolist() == [1, 1]


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


def test_weights_choose_where_to_look() -> None:
    w = world()
    mask = torch.zeros(2, 1, 6, 5)
    mask[:, :, :, :2] = 1
    edited = w.truth.clone()
    edited[:, :, :, 2:] += 1.0
    assert counterfactual_error(edited, w.source, w.truth, weights=mask).tolist() == [0, 0]
    assert (counterfactual_error(edited, w.source, w.truth) > 1).all()
    # a constant cancels, in single precision or not
    torch.testing.assert_close(
        counterfactual_error(edited, w.source, w.truth, weights=torch.full((2, 1, 6, 5), 3.0)),
        counterfactual_error(edited, w.source, w.truth),
        rtol=1e-12,
        atol=0,
    )


def test_it_is_undefined_where_nothing_was_asked_for_or_seen() -> None:
    w = world()
    assert counterfactual_error(w.truth, w.source, w.source).isnan().all()
    assert counterfactual_error(w.truth, w.source, w.truth, weights=torch.zeros(2, 1, 6, 5)).isnan().all()
    # damage where the weights are, and the wanted change is not: nothing to divide by
    corner = torch.zeros(2, 1, 6, 5)
    corner[:, :, 0, 0] = 1
    truth = torch.where(corner.bool(), w.source, w.truth)
    assert counterfactual_error(w.truth, w.source, truth, weights=corner).isnan().all()


def test_negative_weights_are_refused() -> None:
    w = world()
    with pytest.raises(ConfigError, match="expected weights of 0 or more; got -1"):
        counterfactual_error(w.truth, w.source, w.truth, weights=-torch.ones(2, 1, 6, 5))


def test_the_class_is_the_mean() -> None:
    w, mask = world(), torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    metric = CounterfactualError()
    metric.update(w.edited(0.5, 0), w.source, w.truth)
    metric.update(w.edited(1, 2), w.source, w.truth, mask)
    expected = counterfactual_error(w.edited(1, 2), w.source, w.truth, weights=mask)
    assert metric.values.tolist() == pytest.approx([0.25, 0.25, *expected.tolist()], rel=1e-12)
    assert metric.compute().item() == pytest.approx((0.5 + expected.sum().item()) / 4, rel=1e-12)
