"""T4: RF-Solver's second-order Taylor step is the explicit midpoint rule."""

import pytest
from torch import Tensor

from latentedit.core.rng import draw
from latentedit.core.solvers.base import Field, level_batch
from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.midpoint import MidpointSolver
from latentedit.models.guidance import GuidedField
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error


def rf_solver_step(field: Field, z: Tensor, s: float, s_next: float) -> Tensor:
    """RF-Solver as published: a Taylor step whose second derivative is a difference over half the step."""
    h = s_next - s
    v = field(z, level_batch(s, z))
    ahead = field(z + h / 2 * v, level_batch(s + h / 2, z))
    return z + h * v + h**2 / 2 * (ahead - v) / (h / 2)


@pytest.mark.parametrize(("s", "s_next"), [(1.0, 0.7), (0.3, 0.0), (0.1, 0.6)])
def test_t4_rf_solver_is_midpoint(s: float, s_next: float) -> None:
    backbone = example_mixture()
    field = GuidedField(backbone=backbone, condition=backbone.embed(["b"]))
    z = draw((4, 5), seed=0, purpose="midpoint").double()
    expected = rf_solver_step(field, z, s, s_next)
    assert relative_error(MidpointSolver().step(field, z, s, s_next), expected) <= 1e-14
    assert relative_error(EulerSolver().step(field, z, s, s_next), expected) > 1e-4
