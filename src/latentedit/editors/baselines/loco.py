"""LOCO Edit supervised by text: one step at one level, inside a mask and away from what moves the rest."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Count, Level, Natural, Scale, Share, settings
from latentedit.core.solvers import level_batch
from latentedit.directions.direction import clean_share
from latentedit.directions.distillation import check_finite
from latentedit.editors.baselines.difference_mask import difference_mask
from latentedit.editors.baselines.path_editor import PathEditor
from latentedit.editors.baselines.power_iteration import leading_span, of_length, projected
from latentedit.editors.baselines.pullback import check_rank, clean_change, known_level
from latentedit.latents.inversion import InversionTrace, invert, replay
from latentedit.latents.joint import JointLatent
from latentedit.models.derivatives import VelocityJacobian, denoiser_jacobian


@settings
class LOCO(PathEditor):
    """Invert, add ``strength scale v`` at the top, and return aligned under the source text.

        d = m (x_hat(Z, c1) - x_hat(Z, c0))        v = (I - V V^T) J^T d,   as long as (1 - s) d

    J is the Jacobian of the clean estimate under the target text, m the mask where the texts differ
    (`difference_mask`), and V the leading right singular vectors of ``(1 - m) dx_hat/dZ`` under the source text: what
    would change the outside most is left out.

    Args:
        level: how far up, in (0, 1].
        scale: of the move at strength 1.
        rank: columns of V, less than the size of a latent; 0 leaves the direction whole.
        iterations: of the search for V, a block power iteration, so that the cost is known.
        mask_level: at which the mask is found, cut to what the model knows.
        maps: noises averaged for the mask.
        ratio: a place is inside where the map is above ``ratio / 2`` times its mean.

    Source:
        Chen et al. 2024, arXiv 2409.02374, its text-supervised form with null-space projection. There masks come from
        a segmentation and lie on pictures; the mask from the texts on the latent (that of DiffEdit, arXiv 2210.11427),
        the length and the aligned way back are ours, and nothing is guided.
    """

    name: ClassVar[str] = "loco"

    level: Level = 0.7
    scale: Scale = 3.0
    rank: Natural = 5
    iterations: Count = 3
    mask_level: Share = 0.5
    maps: Count = 4
    ratio: Scale = 3.0

    def _cost(self, k: int) -> int:
        """``2 k + 2 * maps + 4 + 4 * rank * iterations``."""
        return 2 * k + 2 * self.maps + 4 + 4 * self.rank * self.iterations

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        check_rank(self.rank, latent, spare=1)
        mask = difference_mask(latent, target, level=self.mask_level, maps=self.maps, ratio=self.ratio, seed=seed)
        trace = invert(latent, self._path(latent), progress=progress)
        level = known_level(latent, trace)
        change = mask * clean_change(latent, trace, target)
        at = level_batch(level, trace.top)
        v = denoiser_jacobian(VelocityJacobian(latent.backbone, trace.top, at, target), level).rmatvec(change)
        if self.rank:
            v = v - projected(self._outside(latent, trace, level, mask, seed, progress), v)
        check_finite(v, "direction", latent.backbone.name, level)
        length = clean_share(level) * torch.linalg.vector_norm(change.flatten(1), dim=1)
        offset = strength * self.scale * of_length(v, length)
        return replay(latent, trace, latent.condition, offset=offset, progress=progress)

    def _outside(
        self,
        latent: JointLatent,
        trace: InversionTrace,
        level: float,
        mask: Bool[Tensor, "b *place"],
        seed: Seed,
        progress: Progress | None,
    ) -> Float[Tensor, "b r *latent"]:
        """V of each picture, as rows."""
        batch = len(latent)
        every = torch.arange(batch, device=mask.device).repeat_interleave(self.rank)
        tops, outside = trace.top[every], ~mask[every]
        jacobian = denoiser_jacobian(
            VelocityJacobian(latent.backbone, tops, level_batch(level, tops), latent.condition[every]), level
        )
        start = noise_like(latent.z, seed=seed, purpose=self.name, count=self.rank).transpose(0, 1).to(tops)

        def normal(rows: Float[Tensor, "b r *latent"]) -> Float[Tensor, "b r *latent"]:
            images = outside * jacobian.matvec(rows.flatten(0, 1))
            return jacobian.rmatvec(images).unflatten(0, (batch, self.rank))

        return leading_span(normal, start, iterations=self.iterations, progress=progress)
