"""Steering by the embedded text alone: what a shifted text changes in a sample, added to the picture."""

import itertools
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import draw
from latentedit.core.settings import Count, Guidance, Level, settings
from latentedit.core.solvers.base import level_batch
from latentedit.editors.base import Editor
from latentedit.latents.joint import JointLatent
from latentedit.models.guidance import GuidedField


@settings
class TextSteering(Editor):
    """``y = x + R(c0 + strength (c1 - c0)) - R(c0)``, R(c) the sample under c from ``(1 - s) x + s e``, s = level.

    The noise is drawn once and both samples start there, so what they have in common, the reconstruction's error with
    it, goes out. The two are calls of one shape: equal texts leave exactly zero.

    Args:
        level: where the samples start, in (0, 1]; the higher, the more the text decides.
        steps: of the model's whole grid; an edit walks the part below ``level``.
        guidance: classifier-free guidance weight of both samples.

    Raises:
        ConfigError: a setting outside its range.

    Source:
        Steering of text embeddings for generation with a real strength: arXiv 2603.17998, without its search for a
        direction (ours is the difference of the two texts). The difference of two samples on a real picture is ours.
    """

    name: ClassVar[str] = "text-steering"

    level: Level = 0.8
    steps: Count = 28
    guidance: Guidance = 1.0

    @property
    def keeps_equal_texts(self) -> bool:
        """With equal texts the two samples are the same calls."""
        return True

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """``k * 2``, twice that if guided, k steps of the grid below ``level``."""
        if strength == 0:
            return 0
        return 2 * latent.path(self.steps, self.level).steps * (1 if self.guidance == 1 else 2)

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: int, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        backbone, grid = latent.backbone, latent.path(self.steps, self.level)
        start, lowest = grid.levels[0], backbone.capabilities.s_min
        empty = None if self.guidance == 1 else backbone.null(target)
        noise = draw(latent.z.shape[1:], seed=seed, purpose=self.name).to(latent.z.device, latent.z.dtype)
        text = latent.condition + strength * (target - latent.condition)
        plain, steered = (
            GuidedField(backbone=backbone, condition=words, guidance=self.guidance, unconditional=empty)
            for words in (latent.condition, text)
        )
        z = moved = (1 - start) * latent.z + start * noise
        for index, (s, s_next) in enumerate(itertools.pairwise(grid.levels)):
            at = level_batch(s, z).clamp_min(lowest)
            z, moved = z + (s_next - s) * plain(z, at), moved + (s_next - s) * steered(moved, at)
            if progress is not None:
                progress(self.name, index + 1, grid.steps)
        return latent.z + (moved - z)
