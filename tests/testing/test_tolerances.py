"""Tolerances are found by name and dtype, and an unknown one is refused."""

import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.testing.tolerances import relative_error, tolerance


def test_known_unknown_and_narrow() -> None:
    assert tolerance("velocity", torch.float64) == 1e-12
    assert tolerance("velocity", torch.bfloat16) == 32 * 2**-7
    with pytest.raises(ConfigError, match="velocity"):
        tolerance("velocty", torch.float64)
    with pytest.raises(ConfigError):
        tolerance("edit", torch.float32)


def test_relative_error_is_relative_and_finite_at_zero() -> None:
    one = torch.ones(4)
    assert relative_error(1.01 * one, one) == pytest.approx(0.01, rel=1e-4)
    assert relative_error(0 * one, 0 * one) == 0
