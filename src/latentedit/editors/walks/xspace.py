"""Moves of latents at one level: x-space guidance, and the normalisation of the contrast that moves distort."""

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.flow import clean_estimate, noise_estimate, per_element
from latentedit.core.progress import Progress
from latentedit.core.solvers.base import level_batch
from latentedit.models.base import Backbone


def noise_guided(
    backbone: Backbone,
    z: Float[Tensor, "b *latent"],
    level: float,
    condition: Condition,
    v: Float[Tensor, "b *latent"],
    scales: Float[Tensor, " b"],
    *,
    repeats: int,
    probe: float,
    progress: Progress | None = None,
) -> Float[Tensor, "b *latent"]:
    """X-space guidance, ``n`` times over: ``Z <- Z + g (e_hat(Z + h v) - e_hat(Z))`` with ``e_hat = Z + (1 - s) v(Z)``.

    The probe is ``h = probe * sign(scale)`` and the gain ``g = |scale| / (repeats * probe)``, so to first order the
    latent moves by ``scale * J_e v`` with ``J_e = de_hat/dZ = I + (1 - s) J_v``: by the scale itself along what the
    data leave open, and by less along what they pin down. In a model's own coordinates ``x_t = (alpha + sigma) Z`` the
    same step reads ``x_t + gamma (eps(x_t + delta v) - eps(x_t))`` with both ``gamma`` and ``delta`` ``alpha + sigma``
    times as large.

    Args:
        z: latents at the level.
        level: s.
        condition: text under which the noise is estimated, one a latent or one for all.
        v: direction of each latent; need not be of unit length.
        scales: how far along it each latent goes, in the unit of v; either sign.
        repeats: n, at least 1.
        probe: above 0.
        progress: told after each repetition.

    Cost:
        Two evaluations a latent and repetition.

    Source:
        Park et al. 2023 (arXiv 2307.12868), eq. 7 and its public code, rewritten in flow coordinates here.
    """
    s = level_batch(level, z)
    both, texts = torch.cat([s, s]), condition.expand(len(z)).repeat(2)
    ahead = per_element(probe * scales.sign(), z) * v
    gain = per_element(scales.abs() / (repeats * probe), z)
    for done in range(1, repeats + 1):
        points = torch.cat([z + ahead, z])
        probed, here = noise_estimate(points, both, backbone.velocity(points, both, texts)).chunk(2)
        z = z + gain * (probed - here)
        if progress is not None:
            progress("guide", done, repeats)
    return z


def clean_and_noise(
    backbone: Backbone, z: Float[Tensor, "b *latent"], level: float, condition: Condition
) -> tuple[Float[Tensor, "b *latent"], Float[Tensor, "b *latent"]]:
    """``x_hat = z - s v`` and ``e_hat = z + (1 - s) v``.

    Cost:
        One evaluation a latent.
    """
    s = level_batch(level, z)
    v = backbone.velocity(z, s, condition)
    return clean_estimate(z, s, v), noise_estimate(z, s, v)


def with_contrast_of(
    clean: Float[Tensor, "b *latent"], reference: Float[Tensor, "b *latent"]
) -> Float[Tensor, "b *latent"]:
    """``(x - mean(x)) / std(x) * std(r) + mean(x)``: its own mean, and the standard deviation of a reference.

    Both are over all numbers of a latent. A latent without any spread comes back as it is.

    Args:
        clean: x.
        reference: r, one a latent.

    Source:
        Park et al. 2023 (arXiv 2302.12469), section 3.4.
    """
    axes = tuple(range(1, clean.ndim))
    mean, spread = clean.mean(axes, keepdim=True), clean.std(axes, keepdim=True, correction=0)
    wanted = reference.std(axes, keepdim=True, correction=0)
    rounding = clean.abs().amax(axes, keepdim=True) * (8 * torch.finfo(clean.dtype).eps)  # of the mean
    straight = (clean - mean) / spread.clamp_min(torch.finfo(clean.dtype).tiny)
    return torch.where(spread > rounding, straight * wanted + mean, clean)
