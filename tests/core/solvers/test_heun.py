"""Heun on a linear field has the second-order Taylor factor."""

import torch

from latentedit.core.rng import draw
from latentedit.core.solvers.heun import HeunSolver
from latentedit.testing.tolerances import relative_error


def test_linear_field_gives_the_taylor_factor() -> None:
    z = draw((3, 5), seed=0, purpose="heun").double()
    h, rate = -0.4, 1.7
    stepped = HeunSolver().step(lambda z, s: rate * z, z, 0.7, 0.7 + h)
    assert relative_error(stepped, z * (1 + rate * h + (rate * h) ** 2 / 2)) <= 1e-14


def test_second_velocity_is_asked_at_the_next_level() -> None:
    asked: list[float] = []

    def field(z: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        asked.append(float(s[0]))
        return z

    HeunSolver().step(field, torch.ones(1, 1, dtype=torch.float64), 0.75, 0.25)
    assert asked == [0.75, 0.25]
