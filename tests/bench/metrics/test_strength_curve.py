import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from latentedit.core.errors import ConfigError, ShapeError
from latentedit_bench.metrics.strength_curve import _checked, linearity, monotonicity
from tests.bench.metrics.constructed import noise

STRENGTHS = torch.tensor([0.25, 0.5, 0.75, 1.0], dtype=torch.float64)

tables = st.lists(st.integers(-5, 5), min_size=4, max_size=4)


@pytest.mark.parametrize("slope", [1.0, 0.01, -3.0])
def test_a_multiple_of_the_strength_is_linear(slope: float) -> None:
    assert linearity(slope * STRENGTHS[None], STRENGTHS).item() == pytest.approx(1, rel=1e-14)
    assert monotonicity(slope * STRENGTHS[None], STRENGTHS).item() == pytest.approx(math.copysign(1, slope), rel=1e-14)


def test_linearity_is_what_least_squares_explain() -> None:
    strengths = torch.tensor([-1.0, -0.5, 0.3, 1.0, 2.0], dtype=torch.float64)
    effects = noise(6, 5)
    for row, found in zip(effects.numpy(), linearity(effects, strengths).tolist(), strict=True):
        _, left, _, _ = np.linalg.lstsq(strengths.numpy()[:, None], row, rcond=None)
        assert found == pytest.approx(1 - left.item() / (row @ row), rel=1e-10)


@given(tables)
def test_monotonicity_is_scipys(row: list[int]) -> None:
    """Few whole numbers, so that there are many ties."""
    found = monotonicity(torch.tensor([row], dtype=torch.float64), STRENGTHS).item()
    if len(set(row)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(row, STRENGTHS.numpy()).statistic, abs=1e-12)


@given(tables, st.permutations(range(4)))
def test_the_order_of_the_strengths_does_not_matter(row: list[int], order: list[int]) -> None:
    effects = torch.tensor([row], dtype=torch.float64)
    for measure in (linearity, monotonicity):
        found = measure(effects[:, order], STRENGTHS[order])
        torch.testing.assert_close(found, measure(effects, STRENGTHS), rtol=1e-12, atol=1e-12, equal_nan=True)


def test_no_effect_is_undefined() -> None:
    for measure in (linearity, monotonicity):
        assert measure(torch.zeros(2, 4), STRENGTHS).isnan().all()


def test_what_is_no_curve_is_refused() -> None:
    for measure in (linearity, monotonicity):
        with pytest.raises(ConfigError, match=r"all strengths are 0\.5"):
            measure(torch.ones(1, 3), torch.full((3,), 0.5))
        with pytest.raises(ConfigError, match="not finite"):
            measure(torch.tensor([[1.0, math.nan]]), torch.tensor([1.0, 2.0]))
    for effects, strengths in [((2, 3), (2,)), ((2, 1), (1,)), ((3,), (3,))]:
        with pytest.raises(ShapeError, match="do not fit strengths"):
            _checked(torch.zeros(effects), torch.zeros(strengths))
