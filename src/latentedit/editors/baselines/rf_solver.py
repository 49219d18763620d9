"""RF-Solver: inversion and sampling with the explicit midpoint rule; attention values may be shared."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from latentedit.core.progress import Progress
from latentedit.core.settings import Share, settings
from latentedit.core.solvers import Field, MidpointSolver, integrate
from latentedit.editors.baselines.path_editor import branches
from latentedit.editors.baselines.value_sharing import Evaluation, ValueSharing


@settings
class RFSolver(ValueSharing):
    """Up under c0 and down under ``c0 + strength (c1 - c0)``, both ``z <- z + h v + h^2/2 dv/ds``.

    With ``dv/ds = (v(z + h/2 v, s + h/2) - v(z, s)) / (h/2)`` this is the explicit midpoint rule. With ``share``, 2 to
    5 of 25 in the published scripts, the way down has values of the way up; see `ValueSharing`.

    Source:
        Wang et al. 2024, arXiv 2411.04746, equation of the second-order step; sharing from its code for FLUX.1, in the
        last 18 of 57 layers. There the text's values are shared, too; here those of the picture only.
    """

    name: ClassVar[str] = "rf-solver"

    first_layer: Share = 0.684

    def _cost(self, k: int) -> int:
        """``2 k (1 up + 1 down, or 2 down if guided)``."""
        return 2 * k * (1 + branches(self.guidance))

    def _evaluations(self, steps: int) -> list[Evaluation]:
        return [(step, place) for step in range(steps) for place in (0, 1)]

    def _walk(self, field: Field, z: Tensor, levels: Sequence[float], progress: Progress | None) -> Tensor:
        return integrate(field, z, levels, MidpointSolver(), progress=progress).final
