"""Heun's method: the trapezoidal rule with an Euler predictor."""

from typing import ClassVar, final

from torch import Tensor

from latentedit.core.solvers.base import Field, Solver, level_batch


@final
class HeunSolver(Solver):
    """``z' = z + (s' - s) / 2 (v(z, s) + v(z + (s' - s) v(z, s), s'))``.

    Asks for the velocity at ``s_next``, so the field has to be defined there.

    Source:
        Karras et al. 2022, algorithm 1, without its Euler fallback at the last step: velocities are finite at s = 0.
    """

    order: ClassVar[int] = 2
    evaluations_per_step: ClassVar[int] = 2

    def _step(self, field: Field, z: Tensor, s: float, s_next: float) -> Tensor:
        first = field(z, level_batch(s, z))
        second = field(z + (s_next - s) * first, level_batch(s_next, z))
        return z + (s_next - s) / 2 * (first + second)
