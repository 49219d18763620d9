"""Uni-Edit: inversion with a re-used velocity, then steps that the difference of two texts corrects and masks."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.flow import per_element
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Count, Level, Weight, settings
from latentedit.core.solvers import Field, each_step, level_batch
from latentedit.editors.baselines.path_editor import PathEditor
from latentedit.editors.baselines.text_field import text_field
from latentedit.latents.joint import JointLatent


@settings
class UniEdit(PathEditor):
    """Up under c0 by Uni-Inv, then down by ``z <- z + h (v0 + strength (m d + weight (1 + m) d))``.

    ``d = v(z, s, c1) - v(z, s, c0)``, ``v0 = v(z, s, c0)`` and ``m`` is the mask `region_mask` of d. At strength 1
    this is the published step: a velocity that the mask mixes, ``m v(c1) + (1 - m) v(c0)``, and a correction
    ``weight (1 + m) d``. That strength scales d is ours; the mask does not depend on it.

    Args:
        level: how far up, in (0, 1]; the published share of the steps, for a uniform grid.
        weight: of the correction.

    Source:
        Jiao et al. 2025, UniEdit-Flow, arXiv 2504.13109, algorithms 1 and 2, with the mask of its code for FLUX.
    """

    name: ClassVar[str] = "uni-edit"

    level: Level = 0.6
    steps: Count = 15
    weight: Weight = 5.0

    @property
    def keeps_equal_texts(self) -> bool:
        """The way down misses the picture by the solver's error."""
        return False

    def _cost(self, k: int) -> int:
        """``3 k + 1``: one a step and one at first on the way up, two a step down."""
        return 3 * k + 1

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        del seed  # nothing is drawn
        levels = self._path(latent).levels
        z = uni_inv(text_field(latent, latent.condition), latent.z, levels[::-1], progress=progress)
        both = text_field(latent, Condition.cat([latent.condition, target]))
        for _, s, s_next in each_step(levels, name=self.name, progress=progress):
            pair = torch.cat([z, z])
            source, target_v = both(pair, level_batch(s, pair)).chunk(2)
            d = target_v - source
            mask = region_mask(d)
            z = z + (s_next - s) * (source + strength * (mask + self.weight * (1 + mask)) * d)
        return z


def region_mask(d: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *#latent"]:
    """Where two texts disagree: the mean of ``|d|`` over channels, stretched to [0, 1] for each picture.

    The first axis of a latent is its channels; a latent of one axis has none and is not averaged. The mask is 0 where
    all places are alike.
    """
    size = d.abs() if d.ndim < 3 else d.abs().mean(dim=1, keepdim=True)
    low, high = (per_element(bound, d) for bound in (size.flatten(1).amin(1), size.flatten(1).amax(1)))
    return (size - low) / (high - low).clamp_min(torch.finfo(d.dtype).tiny)


def uni_inv(
    field: Field, z: Float[Tensor, "b *latent"], levels: Sequence[float], *, progress: Progress | None = None
) -> Float[Tensor, "b *latent"]:
    """``z <- z + h u'``, ``u' = v(z + h u, s')`` with the last step's u' as u, and ``v(z, s)`` at the first.

    It asks where Euler's way back will ask, so that way back undoes it up to ``h^3`` a step.

    Args:
        z: latents at ``levels[0]``.
        levels: strictly rising.

    Cost:
        ``len(levels)`` evaluations of the field.
    """
    velocity = field(z, level_batch(levels[0], z))
    for _, s, s_next in each_step(levels, name="uni-inv", progress=progress):
        velocity = field(z + (s_next - s) * velocity, level_batch(s_next, z))
        z = z + (s_next - s) * velocity
    return z
