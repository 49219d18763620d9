"""DVRF: descent on a residual of two velocities with a shift, whose ends are delta denoising score and FlowEdit."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Level, Positive, Share, settings
from latentedit.core.solvers import each_step, level_batch
from latentedit.editors.baselines.flowedit import FlowEdit
from latentedit.editors.baselines.path_editor import two_fields
from latentedit.latents.joint import JointLatent


@settings
class DVRF(FlowEdit):
    """``y <- y - h (strength mean[v(b, s, c1) - v(a, s, c0)] + (1 - q) (y - x))``, from y = x down the model's levels.

    With ``a = (1 - s) x + s e`` and ``b = a + (1 - s + q s) (y - x)``: b is y with the noise, shifted by ``q s`` times
    the change so far. Without a shift, q = 0, a step of ``h = (1 - s) step_size`` is one of `DDS`; with the whole one,
    q = 1, and a step of ``h = s - s'`` it is FlowEdit. Both branches are called alike, so equal texts and weights leave
    exactly zero. That the strength scales the difference of velocities, as in FlowEdit, is ours.

    Args:
        shift: q at the first step, and where it has grown to after the last, evenly.
        step_size: h; None takes the path's own steps, ``s - s'``.

    The weights and the number of noises are FlowEdit's.

    Source:
        Beaudouin et al. 2025, arXiv 2509.05342, eq. 6 and 8, in the form of its code: 50 steps down all levels, the
        shift from 0 to 1, weights 6 and 16.5 on SD3. There the step is .02 or a hump of levels; the path's own is ours.
    """

    name: ClassVar[str] = "dvrf"

    level: Level = 1.0
    shift: tuple[Share, Share] = (0.0, 1.0)
    step_size: Positive | None = None

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        x, grid, times = latent.z, self._path(latent), self.noises
        source, wanted = two_fields(latent, target, self.source_guidance, self.target_guidance, times=times)
        moved, (first, last) = torch.zeros_like(x), self.shift
        for index, s, s_next in each_step(grid.levels, name=self.name, progress=progress):
            shift = first + (last - first) * index / grid.steps
            noise = noise_like(x, seed=seed, purpose="flowedit", index=index, count=times)
            a = ((1 - s) * x + s * noise).flatten(0, 1)
            b = a + ((1 - s + shift * s) * moved).repeat(times, *[1] * (x.ndim - 1))
            at = level_batch(s, a)
            dv = (wanted(b, at) - source(a, at)).unflatten(0, (times, len(x))).mean(0)
            step = s - s_next if self.step_size is None else self.step_size
            moved = moved - step * (strength * dv + (1 - shift) * moved)
        return x + moved
