"""Latents of the analytic mixture, for the tests of directions, inversion and editors."""

import torch
from torch import Tensor

from latentedit.encoding.joint import JointLatent
from latentedit.noise.rng import draw, stream
from latentedit.testing.gaussian_mixture import WordMixtureBackbone
from latentedit.types import Condition


def mixture_latent(backbone: WordMixtureBackbone, count: int = 3, *, condition: Condition | None = None) -> JointLatent:
    """Random clean latents under one text."""
    z = torch.randn(count, *backbone.latent, generator=stream(5, "tests"), dtype=torch.float32).to(backbone.dtype)
    text = backbone.embed(["a"]) if condition is None else condition
    return JointLatent(backbone=backbone, z=z, condition=text.expand(count), captions=("a",) * count)


def levels_of(z: Tensor, level: float) -> Tensor:
    return torch.full((len(z),), level, dtype=z.dtype)


def noise_of(latent: JointLatent, *, seed: int, index: int, noises: int = 1) -> Tensor:
    """What `identify` draws: ``[noises, *latent]``."""
    return draw((noises, *latent.z.shape[1:]), seed=seed, purpose="hsds", index=index).to(latent.z.dtype)
