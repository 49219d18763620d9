"""TurboEdit: edit-friendly inversion for few steps, with shifted noise, a clipped last residual and pseudo-guidance."""

from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.flow import per_element
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Count, Guidance, Natural, settings
from latentedit.core.solvers import each_step, level_batch
from latentedit.editors.baselines.noise_maps import noise_maps
from latentedit.editors.baselines.path_editor import PathEditor
from latentedit.latents.joint import JointLatent


@settings
class TurboEdit(PathEditor):
    """``y' = c x' + (mu(y, c0) - c mu(x, c0)) + w (mu(y, c1) - mu(y, c0))``, ``w = strength * weight``.

    States x and the step mu are those of `noise_maps`, x with the noise of the level ``shift`` steps further down.
    ``c = min(1, clip / rms(x' - mu(x, c0)))`` in the last step, a picture at a time, and 1 before it. Any real strength
    is allowed. Without the clip, ``w = 0`` leaves exactly the picture; with it, a small strength tends to a picture
    whose last residual, detail that the model did not expect, is clipped as well.

    The three branches are three calls of one shape, as in `FlowSlider`.

    Args:
        weight: pseudo-guidance of strength 1.
        shift: by how many steps the noise of a state lies below its level.
        clip: largest root mean square of the last residual, in the units of the latents; None does not clip. The
            published bound is a norm of 15.5 for latents of 4 x 64 x 64, so 0.121.

    Source:
        Deutch et al. 2024, arXiv 2408.00735, with the constants of its code, where the model takes four steps and one
        picture at a time; the bound as a root mean square, for latents of other sizes, is ours.
    """

    name: ClassVar[str] = "turboedit"

    steps: Count = 10
    weight: Guidance = 1.5
    shift: Natural = 1
    clip: Annotated[float, Field(ge=0, le=1e6)] | None = 0.121

    @property
    def keeps_equal_texts(self) -> bool:
        """Without the clip; it takes detail from every picture."""
        return self.clip is None

    def _cost(self, k: int) -> int:
        """``3 k``."""
        return 3 * k

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        velocity, lowest = latent.backbone.velocity, latent.backbone.capabilities.s_min
        maps = noise_maps(latent, self._path(latent), seed=seed, shift=self.shift)
        moved = torch.zeros_like(latent.z)
        for index, s, _ in each_step(maps.levels, name=self.name, progress=progress):
            a = maps.states[index]
            b, levels = a + moved, level_batch(s, a).clamp_min(lowest)
            source, held = velocity(a, levels, latent.condition), velocity(b, levels, latent.condition)
            dv = (held - source) + strength * self.weight * (velocity(b, levels, target) - held)
            moved = maps.mean(index, moved, dv)
            if self.clip is not None and index == maps.steps - 1:
                missed = maps.missed(index, source)
                moved = moved - per_element(1 - clip_factor(missed, self.clip), missed) * missed
        return latent.z + moved


def clip_factor(missed: Float[Tensor, "b *latent"], bound: float) -> Float[Tensor, " b"]:
    """What brings each element's root mean square down to the bound; 1 where it is below."""
    size = missed.flatten(1).square().mean(1).sqrt()
    return (bound / size.clamp_min(torch.finfo(size.dtype).tiny)).clamp_max(1.0)
