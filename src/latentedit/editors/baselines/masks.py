"""DiffEdit, and its mask of where two texts differ: the pixels at which their velocities differ most."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentedit.core.flow import level_batch, per_element
from latentedit.core.settings import Count, Guidance, Scale, Share, Start, settings
from latentedit.core.solvers import EulerSolver
from latentedit.editors.base import Editor
from latentedit.editors.edit import Edit, Latents, Under
from latentedit.latents.inversion import End


@settings
class DiffEdit(Editor):
    """DiffEdit: a mask from the texts, inversion, and a way down that changes only what is inside the mask.

    ``z <- m (z + (s' - s) v_w(z, s, c)) + (1 - m) Z(s')``, down from the top of the inversion Z. The mask m is where
    the two texts' estimates differ most (`difference_mask`); outside of it the image comes back bit for bit. The text
    of the way down is ``c0 + strength (c1 - c0)``, which is ours: the mask does not depend on the strength, and inside
    it small strengths tend to a reconstruction under the source text, not to the image.

    Args:
        under: text of the inversion; the empty one as published.
        time: of the network in a step of the inversion, see `invert`; None is "end" where networks predict noise.
        mask_level: level of the latents from which the mask is made, clipped to the model's range.
        maps: noises averaged for the mask.
        ratio: a pixel is inside where the map is above ``ratio / 2`` times its mean.

    Source:
        Couairon et al. 2022, arXiv 2210.11427. diffusers' pipeline blends each step with the inverted latent of the
        level before the step; here it is that of the level at which the step ends, as published. Of SD, its half of the
        steps is a mask level of .60, and its .8 a level of .82.
    """

    name: ClassVar[str] = "diffedit"
    steps_by_map: ClassVar[bool] = True

    level: Start = 0.8
    steps: Count = 28
    guidance: Guidance = 2.0
    under: Under = "empty"
    time: End | None = None
    mask_level: Share = 0.5
    maps: Count = 10
    ratio: Scale = 3.0

    def cost(self, edit: Edit) -> int:
        """``2 * maps + k (1 up + 1 down, or 2 down if guided)``."""
        k = edit.path(self.steps, self.level).steps
        return 2 * self.maps + k * (1 + edit.branches(self.guidance))

    def move(self, edit: Edit) -> Latents:
        mask = difference_mask(edit, level=self.mask_level, maps=self.maps, ratio=self.ratio)
        trace = edit.ddim_inversion(edit.path(self.steps, self.level), self.time, edit.under(self.under))
        field, z = edit.field(edit.text, self.guidance), trace.top
        for index, s, s_next in edit.steps(trace.levels[::-1]):
            z = torch.where(mask, EulerSolver().step(field, z, s, s_next), trace.states[-2 - index])
        return z


def difference_map(edit: Edit, *, level: float, maps: int) -> Float[Tensor, "b *place"]:
    """``mean |v(x_s, c1) - v(x_s, c0)|`` over noises and channels, ``x_s = (1 - s) x + s e``.

    A guided difference of noise estimates, ``e_hat_w(c1) - e_hat_w(c0)``, is ``w (1 - s)`` times this one: the
    unconditional branch cancels. So guidance would cost twice as much and change no mask that is relative. The two
    texts are calls of one shape, so equal texts give exactly zero. It costs ``2 * maps`` evaluations per image.
    Latents without height and width are not averaged over channels. Couairon et al. 2022, arXiv 2210.11427, step 1.
    """
    x, backbone = edit.x, edit.backbone
    s = min(max(level, backbone.capabilities.s_min), backbone.capabilities.s_max)
    noise = edit.noise("difference mask", count=maps)
    noisy = ((1 - s) * x + s * noise).flatten(0, 1)
    at = level_batch(s, noisy)
    target, source = (backbone.velocity(noisy, at, c.repeat(maps)) for c in edit.texts[::-1])
    difference = (target - source).abs().unflatten(0, (maps, len(x))).mean(0)
    return difference.mean(1, keepdim=True) if x.ndim == 4 else difference


def binarised(difference: Float[Tensor, "b *place"], ratio: float) -> Bool[Tensor, "b *place"]:
    """Where a map is above ``ratio / 2`` times the mean of its image; 3 is the published ratio.

    The published form clamps the map at ``ratio`` times the mean, divides by that and cuts at one half, which is the
    same. Each image has its own mean, where diffusers takes one of the batch.
    """
    return difference > ratio / 2 * per_element(difference.flatten(1).mean(1), difference)


def difference_mask(edit: Edit, *, level: float, maps: int, ratio: float) -> Bool[Tensor, "b *place"]:
    """`difference_map`, `binarised`: true where the texts differ; it broadcasts against latents."""
    return binarised(difference_map(edit, level=level, maps=maps), ratio)
