"""The explicit midpoint rule, which is RF-Solver."""

from typing import ClassVar, final

from torch import Tensor

from latentedit.core.solvers.base import Field, Solver, level_batch


@final
class MidpointSolver(Solver):
    """``z' = z + (s' - s) v(z + (s' - s) / 2 v(z, s), (s + s') / 2)``.

    Never asks for the velocity at ``s_next``. On data of a single Gaussian it is of third order.

    Source:
        Equal to the second-order Taylor step of RF-Solver (Wang et al. 2024) with its finite-difference derivative.
    """

    order: ClassVar[int] = 2
    evaluations_per_step: ClassVar[int] = 2

    def _step(self, field: Field, z: Tensor, s: float, s_next: float) -> Tensor:
        half = (s_next - s) / 2
        middle = z + half * field(z, level_batch(s, z))
        return z + (s_next - s) * field(middle, level_batch(s + half, z))
