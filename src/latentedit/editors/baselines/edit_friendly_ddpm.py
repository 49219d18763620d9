"""Edit-friendly DDPM: the noise that ancestral steps miss under the source text, put back under the target text."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Count, Guidance, Level, settings
from latentedit.editors.base import Editor
from latentedit.editors.baselines.flow_path import Latents, Levels
from latentedit.editors.baselines.noise_maps import follow_maps, noise_maps
from latentedit.editors.baselines.path_editor import two_fields
from latentedit.latents.joint import JointLatent


@settings
class EditFriendlyDDPM(Editor):
    """``y_{k+1} = mu(y_k, c0) + strength (mu(y_k, c1) - mu(y_k, c0)) + r_k``, ``r_k = x_{k+1} - mu(x_k, c0)``.

    The states x_k and the ancestral step mu are those of `noise_maps`. Strength 1 is the published method; other
    strengths, also negative ones, scale what the target text adds to each step and take the source branch at y as well.
    It is delta denoising whose levels fall, with a learning rate of ``(r^2 - r'^2) / r`` and one noise a level.

    Args:
        level: where the path starts, any number in (0, 1].
        steps: of the model's whole grid; an edit walks the part below ``level``.
        source_guidance: weight of the source branch; 1 is the conditional velocity.
        target_guidance: weight of the target branch.

    Source:
        Huberman-Spiegelglas et al. 2024, arXiv 2304.06140; the strength and the real-valued start are ours. That it is
        annealed delta denoising was found by Deutch et al. 2024, arXiv 2408.00735.
    """

    name: ClassVar[str] = "edit-friendly-ddpm"

    level: Level = 0.8
    steps: Count = 28
    source_guidance: Guidance = 1.0
    target_guidance: Guidance = 2.0

    @property
    def keeps_equal_texts(self) -> bool:
        """With equal weights the branches are the same call."""
        return self.source_guidance == self.target_guidance

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """``k (source + target)``, and ``k * source`` more unless the strength is 1.

        Each branch counts 2 if guided; k steps of the grid below ``level``.
        """
        if strength == 0:
            return 0
        branches = latent.backbone.capabilities.branches
        source, target = (branches(weight) for weight in (self.source_guidance, self.target_guidance))
        return latent.path(self.steps, self.level).steps * (target + (source if strength == 1 else 2 * source))

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        source_field, target_field = two_fields(latent, target, self.source_guidance, self.target_guidance)

        def difference(a: Latents, b: Latents, levels: Levels) -> Latents:
            ahead = target_field(b, levels)
            if strength == 1:
                return ahead - source_field(a, levels)
            held = source_field(b, levels)
            return (held - source_field(a, levels)) + strength * (ahead - held)

        maps = noise_maps(latent, latent.path(self.steps, self.level), seed=seed)
        return follow_maps(latent, maps, difference, name=self.name, progress=progress)
