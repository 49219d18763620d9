"""RF-Solver: inversion and sampling with a second-order step, which is the explicit midpoint rule."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.settings import Count, Guidance, Level, settings
from latentedit.core.solvers.integrate import invert, sample
from latentedit.core.solvers.midpoint import MidpointSolver
from latentedit.editors.baselines.path_editor import PathEditor, branches, towards
from latentedit.editors.baselines.text_field import text_field
from latentedit.latents.joint import JointLatent


@settings
class RFSolver(PathEditor):
    """Up under c0 and down under ``c0 + strength (c1 - c0)``, both ``z <- z + h v + h^2/2 dv/ds``.

    With ``dv/ds = (v(z + h/2 v, s + h/2) - v(z, s)) / (h/2)`` this is the explicit midpoint rule. The published editor
    also shares the values of attention layers between the ways up and down, which is not done here. Strength by
    interpolating the text is ours.

    Args:
        level: how far up, in (0, 1]; 1 is the whole path.
        steps: of the model's whole grid.
        guidance: classifier-free guidance weight of the way down.

    Raises:
        ConfigError: a setting outside its range.

    Source:
        Wang et al. 2024, arXiv 2411.04746, equation of the second-order step, without feature sharing.
    """

    name: ClassVar[str] = "rf-solver"

    level: Level = 1.0
    steps: Count = 28
    guidance: Guidance = 1.0

    @property
    def keeps_equal_texts(self) -> bool:
        """The way down misses the picture by the solver's error."""
        return False

    def _cost(self, k: int) -> int:
        """``2 k (1 up + 1 down, or 2 down if guided)``."""
        return 2 * k * (1 + branches(self.guidance))

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: int, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        del seed  # nothing is drawn
        grid, solver, source = self._path(latent), MidpointSolver(), latent.condition
        top = invert(text_field(latent, source), latent.z, grid, solver, progress=progress).final
        field = text_field(latent, towards(latent, target, strength), guidance=self.guidance)
        return sample(field, top, grid, solver, progress=progress).final
