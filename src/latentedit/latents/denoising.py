"""Denoising losses of pictures, on which verdicts and the check for out-of-distribution pictures rest."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.rng import Seed, noise_like
from latentedit.core.solvers import level_batch
from latentedit.models.base import Backbone


def denoising_losses(
    backbone: Backbone,
    z: Float[Tensor, "b *latent"],
    texts: Sequence[Condition],
    *,
    level: float,
    pairs: int,
    seed: Seed,
    purpose: str,
) -> Float[Tensor, "texts b"]:
    """``loss(z, c) = mean |x_hat(z_s, c) - z|^2`` of clean latents under each text, small where z is likely under c.

    All texts have the same noises, in antithetic pairs; it costs ``2 pairs`` evaluations a latent and text.
    """
    noise = noise_like(z, seed=seed, purpose=purpose, count=pairs)
    noise = torch.cat([noise, -noise])
    noised = ((1 - level) * z + level * noise).flatten(0, 1)
    found: list[Tensor] = []
    for text in texts:
        v = backbone.velocity(noised, level_batch(level, noised), text.expand(len(z)).repeat(len(noise)))
        error = noised - level * v - z.repeat(len(noise), *[1] * (z.ndim - 1))
        found.append(error.flatten(1).square().mean(1).unflatten(0, (len(noise), len(z))).mean(0))
    return torch.stack(found)
