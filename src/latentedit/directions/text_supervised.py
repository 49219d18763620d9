"""A direction at a level from two texts: towards what another text would change in the clean estimate.

With ``x_hat(Z, c)`` the clean estimate at a picture's latent and m a mask,

    d = m (x_hat(Z, c1) - x_hat(Z, c0))        v = J^T d / |J^T d|,  J = dx_hat/dZ (Z, c1) = I - s J_v

so v is the direction of latents in which the clean estimate under the target text grows most along d: one product, and
no search. It moves no text: the picture returns under its own caption.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.solvers.base import level_batch
from latentedit.directions.at_level import direction_at
from latentedit.directions.base import Direction
from latentedit.directions.distillation import check_finite
from latentedit.directions.text import embed_aligned
from latentedit.latents.inversion import InversionTrace
from latentedit.latents.joint import JointLatent
from latentedit.models.derivatives import VelocityJacobian
from latentedit.models.feature_jacobian import reduced_mask


def text_supervised(
    latent: JointLatent,
    trace: InversionTrace,
    target_captions: Sequence[str],
    *,
    steps: int = 28,
    mask: Bool[Tensor, "h w"] | None = None,
    step: float = 1.0,
) -> Direction:
    """The direction from the pictures' captions to others, at the top of their inversion.

    Args:
        latent: the pictures.
        trace: their way up; its top is where the direction lives.
        target_captions: full captions of what is wanted, one a picture.
        steps: of the model's whole grid, on which the trace was walked.
        mask: where the clean latent is to change, true inside, on the latent's grid or finer by whole factors;
            everywhere by default.
        step: length of the displacement of the latent at the level.

    Returns:
        One displacement a picture.

    Raises:
        ConfigError: a target that changes nothing inside the mask.
        ShapeError: a mask that does not fit, or another number of captions than of pictures.
        ModelError: the network gave values that are not finite.

    Cost:
        Four evaluations a picture: two estimates, and one product in reverse mode.

    Source:
        Chen et al. 2024, text-supervised LOCO Edit (arXiv 2409.02374), without guidance.
    """
    backbone, top, level = latent.backbone, trace.top, trace.levels[-1]
    if len(target_captions) != len(latent):
        raise ShapeError(f"expected one target caption a picture ({len(latent)}); got {len(target_captions)}")
    target = embed_aligned(backbone, latent.captions, tuple(target_captions))
    s = level_batch(level, top)
    jacobian = VelocityJacobian(backbone, top, s, target)
    change = level * (backbone.velocity(top, s, latent.condition) - backbone.velocity(top, s, target))
    if mask is not None:
        change = change * reduced_mask(mask, *top.shape[-2:]).to(change.device)
    check_finite(change, "change", backbone.name, level)
    v = change - level * jacobian.rmatvec(change)
    length = torch.linalg.vector_norm(v.flatten(1), dim=1)
    if not bool((length > 0).all()):
        raise ConfigError(
            f"expected a target caption that changes the picture at level {level:g}; got {target_captions[0]!r}. "
            "Name what should change, or take a larger mask"
        )
    return direction_at(
        latent,
        step * v / length.reshape(-1, *[1] * (v.ndim - 1)),
        level=level,
        method="text-supervised pullback",
        settings={"steps": steps, "targets": list(target_captions), "masked": mask is not None, "step": step},
    )
