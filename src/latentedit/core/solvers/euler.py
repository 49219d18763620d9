"""Euler's method: on a variance-preserving model, exactly DDIM."""

from typing import ClassVar, final

from torch import Tensor

from latentedit.core.solvers.base import Field, Solver, level_batch


@final
class EulerSolver(Solver):
    """``z' = z + (s' - s) v(z, s)``.

    Exact, over any interval, for data that is a single point. Never asks for the velocity at ``s_next``.

    Source:
        In coordinates of alpha and sigma this is the deterministic DDIM step (Song et al. 2021, eq. 12, eta = 0).
    """

    order: ClassVar[int] = 1
    evaluations_per_step: ClassVar[int] = 1

    def _step(self, field: Field, z: Tensor, s: float, s_next: float) -> Tensor:
        return z + (s_next - s) * field(z, level_batch(s, z))
