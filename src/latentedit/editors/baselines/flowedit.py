"""FlowEdit: integrate the difference of two velocities along one noise, with a real-valued start and strength."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Count, Guidance, settings
from latentedit.editors.baselines.flow_path import follow_difference
from latentedit.editors.baselines.path_editor import PathEditor, branches, two_fields
from latentedit.latents.joint import JointLatent


@settings
class FlowEdit(PathEditor):
    """``y <- y + (s' - s) strength mean[v(a + (y - x), s, c1) - v(a, s, c0)]``, ``a = (1 - s) x + s e``, from y = x.

    Both branches are called alike and ``y - x`` is what is kept, so equal texts and weights leave exactly zero.

    Args:
        source_guidance: weight of the source branch; 1 is the conditional velocity.
        target_guidance: weight of the target branch.
        noises: noises averaged in each step.

    Source:
        Kulikov et al. 2024, arXiv 2412.08629, algorithm 1 with n_min = 0; the real-valued start and the strength, which
        scales the difference of velocities, are ours.
    """

    name: ClassVar[str] = "flowedit"

    source_guidance: Guidance = 1.0
    target_guidance: Guidance = 2.0
    noises: Count = 1

    @property
    def keeps_equal_texts(self) -> bool:
        """With equal weights the two branches are the same call."""
        return self.source_guidance == self.target_guidance

    def _cost(self, k: int) -> int:
        """``k * noises * (source + target)``, each branch 2 if guided."""
        return k * self.noises * (branches(self.source_guidance) + branches(self.target_guidance))

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        source_field, target_field = two_fields(
            latent, target, self.source_guidance, self.target_guidance, times=self.noises
        )
        return follow_difference(
            latent,
            self._path(latent),
            lambda a, b, levels: target_field(b, levels) - source_field(a, levels),
            noises=self.noises,
            seed=seed,
            name=self.name,
            weight=strength,
            progress=progress,
        )
