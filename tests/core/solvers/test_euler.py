"""Row 17: Euler is exact for a single point, and first order otherwise."""

import pytest
import torch
from torch import Tensor

from latentedit.core.rng import draw
from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.midpoint import MidpointSolver
from latentedit.testing.tolerances import relative_error


def point_field(x: Tensor):
    """Data that are one point: the clean estimate is always x, so the velocity is (z - x) / s."""
    return lambda z, s: (z - x) / s[:, None]


@pytest.mark.parametrize(("s", "s_next"), [(1.0, 0.0), (0.9, 0.1), (0.2, 1.0)])
def test_row_17_one_step_is_exact_for_a_point(s: float, s_next: float) -> None:
    x, e = draw((2, 3, 5), seed=0, purpose="point").double()
    z = EulerSolver().step(point_field(x), (1 - s) * x + s * e, s, s_next)
    assert relative_error(z, (1 - s_next) * x + s_next * e) <= 1e-12


def test_step_is_the_formula_and_not_the_other_direction() -> None:
    z = draw((3, 5), seed=0, purpose="z").double()
    stepped = EulerSolver().step(lambda z, s: z * s[:, None], z, 0.8, 0.5)
    assert relative_error(stepped, z * (1 - 0.3 * 0.8)) <= 1e-14
    assert not torch.allclose(stepped, z * (1 + 0.3 * 0.8))


def test_a_field_linear_in_the_level_is_beyond_euler_and_within_midpoint() -> None:
    z = torch.zeros(1, 1, dtype=torch.float64)
    euler = EulerSolver().step(lambda z, s: s[:, None], z, 0.0, 1.0)
    assert float(euler) == 0
    assert float(MidpointSolver().step(lambda z, s: s[:, None], z, 0.0, 1.0)) == pytest.approx(0.5, rel=1e-14)
