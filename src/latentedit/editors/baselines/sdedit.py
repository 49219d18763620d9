"""SDEdit: add noise up to a level, then sample down from there under the target text."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Count, Guidance, Level, settings
from latentedit.core.solvers import EulerSolver, sample
from latentedit.editors.base import Editor
from latentedit.editors.baselines.text_field import text_field
from latentedit.latents.joint import JointLatent


@settings
class SDEdit(Editor):
    """``z = (1 - s) x + s e`` at ``s = strength * level``, then sampling under the target text.

    Args:
        level: where strength 1 starts, in (0, 1].
        steps: of the model's whole grid; an edit walks the part below its start.
        guidance: classifier-free guidance weight; 1 is the conditional velocity.

    Source:
        Meng et al. 2021, arXiv 2108.01073; the start level is a real number here, not a step of the grid.
    """

    name: ClassVar[str] = "sdedit"

    level: Level = 0.7
    steps: Count = 28
    guidance: Guidance = 3.0

    @property
    def keeps_equal_texts(self) -> bool:
        """Noise replaces what the caption does not say."""
        return False

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """``k * (2 if guided else 1)``, k steps of the grid below ``strength * level``."""
        if strength == 0:
            return 0
        steps = latent.path(self.steps, self._start(latent, strength)).steps
        return steps * latent.backbone.capabilities.branches(self.guidance)

    def _start(self, latent: JointLatent, strength: float) -> float:
        highest = latent.backbone.capabilities.s_max
        if strength < 0 or strength * self.level > highest + 1e-9:
            raise ConfigError(
                f"the strength of sdedit must lie from 0 to {highest / self.level:g}, since it is a share of the "
                f"start level {self.level:g}; got {strength:g}. For signed strengths use eim or flowedit"
            )
        return strength * self.level

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        grid = latent.path(self.steps, self._start(latent, strength))
        start = grid.levels[0]
        noise = noise_like(latent.z, seed=seed, purpose="sdedit")
        z = (1 - start) * latent.z + start * noise
        field = text_field(latent, target, guidance=self.guidance)
        return sample(field, z, grid, EulerSolver(), progress=progress).final
