"""VeloEdit: sampling from noise whose velocities are mixed, while the levels are high, with those that lead back."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Guidance, Level, Share, settings
from latentedit.core.solvers import each_step, level_batch
from latentedit.editors.baselines.path_editor import PathEditor, branches
from latentedit.editors.baselines.text_field import text_field
from latentedit.latents.joint import JointLatent


@settings
class VeloEdit(PathEditor):
    """``z' = z + (s' - s) u`` from ``(1 - s) x + s e``, with u between v of the target and ``w = (z - x) / s``.

    w leads straight back to the picture x. Above ``until``, numbers of v that resemble w, ``|w| >= threshold (|w| +
    |v - w|)``, are replaced by w, and the others by ``w + strength (v - w)``: there the clean estimate becomes ``x +
    strength (x_hat - x)``. From ``until`` down u is v. So strength says how much of the picture is mixed in, and near
    0 the last steps still show the target.

    It was made for models that see the picture beside their latents. Those that read captions alone have only the mix
    to know the picture by, and want a lower ``level``, where the path starts with more of it.

    Args:
        guidance: classifier-free guidance weight; 1 is the conditional velocity.
        threshold: similarity from which on a number of the velocity is replaced; 1 replaces those that are equal.
        until: steps that start at this level or below are plain.

    Source:
        VeloEdit, arXiv 2603.13388, in the form of its code, which mixes the first 1 of 6 steps of FLUX.1 Kontext at a
        threshold of .8 and counts the strength from the other end; the real-valued start and end are ours.
    """

    name: ClassVar[str] = "veloedit"

    level: Level = 1.0
    guidance: Guidance = 1.0
    threshold: Share = 0.8
    until: Share = 0.84

    @property
    def keeps_equal_texts(self) -> bool:
        """Noise replaces what the text does not say."""
        return False

    def _cost(self, k: int) -> int:
        """``k``, or ``2 k`` if guided."""
        return k * branches(self.guidance)

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        levels = self._path(latent).levels
        noise = noise_like(latent.z, seed=seed, purpose=self.name)
        z = (1 - levels[0]) * latent.z + levels[0] * noise
        field = text_field(latent, target, guidance=self.guidance)
        for _, s, s_next in each_step(levels, name=self.name, progress=progress):
            velocity = field(z, level_batch(s, z))
            if s > self.until:
                back = (z - latent.z) / s
                away = velocity - back
                alike = back.abs() >= self.threshold * (back.abs() + away.abs())
                velocity = torch.where(alike, back, back + strength * away)
            z = z + (s_next - s) * velocity
        return z
