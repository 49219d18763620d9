"""DiffEdit: a mask from the texts, inversion, and a way down that changes only what is inside the mask."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Count, Guidance, Level, Scale, Share, settings
from latentedit.core.solvers import each_step, level_batch
from latentedit.editors.baselines.difference_mask import difference_mask
from latentedit.editors.baselines.path_editor import PathEditor, branches, towards
from latentedit.editors.baselines.text_field import text_field
from latentedit.latents.inversion import invert
from latentedit.latents.joint import JointLatent

Under = Literal["empty", "source"]
"""The text of the inversion: none, as published, or the pictures' own."""


@settings
class DiffEdit(PathEditor):
    """``z <- m (z + (s' - s) v_w(z, s, c)) + (1 - m) Z(s')``, down from the top of the inversion Z.

    The mask m is where the two texts' estimates differ most (`difference_mask`); outside of it the picture comes back
    bit for bit. The text of the way down is ``c0 + strength (c1 - c0)``, which is ours: the mask does not depend on
    the strength, and inside it small strengths tend to a reconstruction under the source text, not to the picture.

    Args:
        level: how far up the inversion goes, in (0, 1].
        guidance: classifier-free guidance weight of the way down.
        under: text of the inversion.
        mask_level: at which the mask is found, cut to what the model knows.
        maps: noises averaged for the mask.
        ratio: a place is inside where the map is above ``ratio / 2`` times its mean.

    Source:
        Couairon et al. 2022, arXiv 2210.11427. diffusers' pipeline blends each step with the inverted latent of the
        level before the step; here it is that of the level at which the step ends, as published.
    """

    name: ClassVar[str] = "diffedit"

    level: Level = 0.8
    guidance: Guidance = 2.0
    under: Under = "empty"
    mask_level: Share = 0.5
    maps: Count = 10
    ratio: Scale = 3.0

    def _cost(self, k: int) -> int:
        """``2 * maps + k (1 up + 1 down, or 2 down if guided)``."""
        return 2 * self.maps + k * (1 + branches(self.guidance))

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        mask = difference_mask(latent, target, level=self.mask_level, maps=self.maps, ratio=self.ratio, seed=seed)
        start = latent.under("") if self.under == "empty" else latent
        trace = invert(start, self._path(latent), progress=progress)
        text = towards(latent, target, strength)
        field, z = text_field(latent, text, guidance=self.guidance), trace.top
        for done, s, s_next in each_step(trace.levels[::-1], name=self.name, progress=progress):
            z = z + (s_next - s) * field(z, level_batch(s, z))
            z = torch.where(mask, z, trace.states[-2 - done])
        return z
