"""FlowAlign: FlowEdit's path with the source as the negative text and a pull between the clean estimates."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Guidance, Level, Share, settings
from latentedit.editors.baselines.flow_path import fidelity_and_steering, follow_difference
from latentedit.editors.baselines.path_editor import PathEditor
from latentedit.latents.joint import JointLatent


@settings
class FlowAlign(PathEditor):
    """``y <- y + (s' - s) (p - q) + pull ((a - s q) - (b - s p))``, from y = x, with two velocities p and q.

    ``p = v(b, s, c0) + strength guidance (v(b, s, c1) - v(b, s, c0))``, ``q = v(a, s, c0)``, ``a = (1 - s) x + s e``,
    ``b = a + (y - x)``. The last bracket is the picture's clean estimate less that of the edit.

    Strength 1 is the published method. That it scales the guidance is ours: so it may have any sign and size, and
    without a pull the product ``strength * guidance`` is `FlowSlider`'s strength.

    Args:
        guidance: weight of the target over the source text.
        pull: of the edit's clean estimate to the picture's, in each step.

    Source:
        Kim et al. 2025, FlowAlign, arXiv 2505.23145, with the defaults of its code; the real-valued start is ours.
    """

    name: ClassVar[str] = "flowalign"

    level: Level = 1.0
    guidance: Guidance = 7.0
    pull: Share = 0.01

    def _cost(self, k: int) -> int:
        """``3 k``."""
        return 3 * k

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        difference = fidelity_and_steering(latent, target, strength * self.guidance)
        return follow_difference(
            latent,
            self._path(latent),
            difference,
            noises=1,
            seed=seed,
            name=self.name,
            pull=self.pull,
            progress=progress,
        )
