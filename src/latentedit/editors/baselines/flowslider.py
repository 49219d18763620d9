"""FlowSlider: FlowEdit's difference of velocities in two parts, of which the strength scales only the second."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Count, settings
from latentedit.editors.baselines.flow_path import fidelity_and_steering, follow_difference
from latentedit.editors.baselines.path_editor import PathEditor
from latentedit.latents.joint import JointLatent


@settings
class FlowSlider(PathEditor):
    """``y <- y + (s' - s) mean[(v(b, s, c0) - v(a, s, c0)) + strength (v(b, s, c1) - v(b, s, c0))]``, from y = x.

    With ``a = (1 - s) x + s e`` and ``b = a + (y - x)``; see `flow_path.fidelity_and_steering`. Strength 1 is FlowEdit
    without guidance, on the same noises; any real strength is allowed, also negative ones and those above 1.

    Args:
        noises: noises averaged in each step.

    Source:
        FlowSlider, arXiv 2604.02088, after its abstract and descriptions by others; the real-valued start and the
        average over noises are FlowEdit's (Kulikov et al. 2024, arXiv 2412.08629) as we have it.
    """

    name: ClassVar[str] = "flowslider"

    noises: Count = 1

    def _cost(self, k: int) -> int:
        """``3 * k * noises``."""
        return 3 * k * self.noises

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        difference = fidelity_and_steering(latent, target, strength, times=self.noises)
        return follow_difference(
            latent, self._path(latent), difference, noises=self.noises, seed=seed, name=self.name, progress=progress
        )
