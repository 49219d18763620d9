"""Steering by the embedded text alone: what a shifted text changes in a sample, added to the picture."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Guidance, Level, settings
from latentedit.core.solvers import each_step, level_batch
from latentedit.editors.baselines.path_editor import PathEditor, branches, towards
from latentedit.editors.baselines.text_field import text_field
from latentedit.latents.joint import JointLatent


@settings
class TextSteering(PathEditor):
    """``y = x + R(c0 + strength (c1 - c0)) - R(c0)``, R(c) the sample under c from ``(1 - s) x + s e``, s = level.

    The noise is drawn once and both samples start there, so what they have in common, the reconstruction's error with
    it, goes out. The two are calls of one shape: equal texts leave exactly zero.

    Args:
        level: where the samples start, in (0, 1]; the higher, the more the text decides.
        guidance: classifier-free guidance weight of both samples.

    Source:
        Steering of text embeddings for generation with a real strength: arXiv 2603.17998, without its search for a
        direction (ours is the difference of the two texts). The difference of two samples on a real picture is ours.
    """

    name: ClassVar[str] = "text-steering"

    level: Level = 0.8
    guidance: Guidance = 1.0

    def _cost(self, k: int) -> int:
        """``k * 2``, twice that if guided."""
        return 2 * k * branches(self.guidance)

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        levels = self._path(latent).levels
        noise = noise_like(latent.z, seed=seed, purpose=self.name)
        plain, steered = (
            text_field(latent, text, guidance=self.guidance)
            for text in (latent.condition, towards(latent, target, strength))
        )
        z = moved = (1 - levels[0]) * latent.z + levels[0] * noise
        for _, s, s_next in each_step(levels, name=self.name, progress=progress):
            at = level_batch(s, z)
            z, moved = z + (s_next - s) * plain(z, at), moved + (s_next - s) * steered(moved, at)
        return latent.z + (moved - z)
