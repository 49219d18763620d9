import inspect
import math

import pytest
import torch

from latentedit.core.errors import ConfigError, ShapeError
from latentedit_bench.metrics.drift import nuisance_drift

CHANGES = torch.tensor([[1.0, 0.5, 0.25], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
ASKED = torch.tensor([[True, False, False], [True, False, False], [False, True, False]])


def test_it_is_the_mean_of_what_was_not_asked_for() -> None:
    assert nuisance_drift(CHANGES, ASKED).tolist() == [0.375, 0, 1]
    assert nuisance_drift(CHANGES, ~ASKED).tolist() == [1, 1, 1]


def test_it_is_undefined_where_all_was_asked_for() -> None:
    found = nuisance_drift(CHANGES, torch.tensor([[True] * 3, [False] * 3, [True] * 3]))
    assert found[1].item() == pytest.approx(1 / 3)
    assert [math.isnan(value) for value in found.tolist()] == [True, False, True]


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_what_is_no_total_variation_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"outside \[0, 1\]"):
        nuisance_drift(torch.tensor([[0.0, value]]), torch.tensor([[True, False]]))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match="Give both as"):
        # without the shapes that tests check
        inspect.unwrap(nuisance_drift)(torch.zeros(3, 2), torch.zeros(2, 2, dtype=torch.bool))
