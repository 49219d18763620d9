"""RF-Solver: inversion and sampling with a second-order step, which is the explicit midpoint rule."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from latentedit.core.progress import Progress
from latentedit.core.settings import settings
from latentedit.core.solvers.base import Field
from latentedit.core.solvers.integrate import integrate
from latentedit.core.solvers.midpoint import MidpointSolver
from latentedit.editors.baselines.path_editor import branches
from latentedit.editors.baselines.round_trip import RoundTrip


@settings
class RFSolver(RoundTrip):
    """Up under c0 and down under ``c0 + strength (c1 - c0)``, both ``z <- z + h v + h^2/2 dv/ds``.

    With ``dv/ds = (v(z + h/2 v, s + h/2) - v(z, s)) / (h/2)`` this is the explicit midpoint rule. The published editor
    also shares the values of attention layers between the ways up and down, which is not done here.

    Source:
        Wang et al. 2024, arXiv 2411.04746, equation of the second-order step, without feature sharing.
    """

    name: ClassVar[str] = "rf-solver"

    def _cost(self, k: int) -> int:
        """``2 k (1 up + 1 down, or 2 down if guided)``."""
        return 2 * k * (1 + branches(self.guidance))

    def _walk(self, field: Field, z: Tensor, levels: Sequence[float], progress: Progress | None) -> Tensor:
        return integrate(field, z, levels, MidpointSolver(), progress=progress).final
