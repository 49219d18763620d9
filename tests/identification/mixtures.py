"""Latents of analytic models and dense matrices, for the tests of directions, inversion and editors."""

import dataclasses
from typing import final

import torch
from torch import Tensor

from latentedit.encoding.joint import JointLatent
from latentedit.models.callable import CallableBackbone
from latentedit.models.capabilities import Capabilities
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import draw, stream
from tests.numerics.dense import batch_matvec
from tests.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from tests.testing.mixture import GaussianMixture


def mixture_latent(
    backbone: GaussianMixtureBackbone, count: int = 3, *, condition: Condition | None = None
) -> JointLatent:
    """Random clean latents under one text."""
    z = torch.randn(count, *backbone.latent, generator=stream(5, "tests"), dtype=torch.float32).to(backbone.dtype)
    text = backbone.embed(["a"]) if condition is None else condition
    return JointLatent(backbone=backbone, z=z, condition=text.expand(count), captions=("a",) * count)


def word_mixture(*words: str) -> GaussianMixtureBackbone:
    """A mixture in which every word has its own random vector."""
    mixture = example_mixture().mixture
    vectors = torch.randn(len(words), 3, generator=stream(0, "words"), dtype=torch.float32).double()
    return GaussianMixtureBackbone(
        means=mixture.means, covariances=mixture.covariances, words=dict(zip(words, vectors, strict=True))
    )


def guidance_distilled(mixture: GaussianMixtureBackbone, *, published: float = 3.5) -> CallableBackbone:
    """A guidance-distilled mixture: the guidance weight is an input, 3.5 by default."""

    def velocity(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        null = mixture.velocity(z, s, mixture.embed([""]))
        weight = published if condition.guidance is None else condition.guidance
        return null + weight * (mixture.velocity(z, s, dataclasses.replace(condition, guidance=None)) - null)

    return CallableBackbone(
        velocity,
        embed=mixture.embed,
        latent_shape=lambda height, width: mixture.latent,
        capabilities=Capabilities(pixels=False, guidance=published, guidance_kind="embedded"),
        dtype=mixture.dtype,
    )


def levels_of(z: Tensor, level: float) -> Tensor:
    return torch.full((len(z),), level, dtype=z.dtype)


def noise_of(latent: JointLatent, *, seed: int, index: int, noises: int = 1) -> Tensor:
    """The noise that `identify` draws, ``[noises, *latent]``."""
    return draw((noises, *latent.z.shape[1:]), seed=seed, purpose="hsds", index=index).to(latent.z.dtype)


def clean_at(backbone: GaussianMixtureBackbone, z: Tensor, s: float, condition: Condition) -> Tensor:
    """The posterior mean in closed form."""
    return backbone.at(z, levels_of(z, s), condition).clean.reshape(z.shape)


def scaled_hessian(backbone: GaussianMixtureBackbone, z: Tensor, s: float, condition: Condition) -> Tensor:
    """``s^2 H`` in closed form, ``[b, d, d]``."""
    return -(s**2) * backbone.at(z, levels_of(z, s), condition).hessian


def dense_solve(matrices: Tensor, vectors: Tensor) -> Tensor:
    """``A^-1 u`` of each element, for latents of any shape."""
    return torch.linalg.solve(matrices, vectors.flatten(1)).reshape(vectors.shape)


def two_modes(distance: float = 3.0) -> GaussianMixtureBackbone:
    """Two narrow modes far apart along the first axis: between them, ``-log p`` of the empty text is not convex."""
    means = torch.zeros(2, 4, dtype=torch.float64)
    means[0, 0], means[1, 0] = -distance, distance
    spectrum = torch.tensor([[0.1, 0.2, 0.4, 0.8], [0.1, 0.3, 0.6, 0.5]], dtype=torch.float64)
    return GaussianMixtureBackbone(means=means, covariances=torch.diag_embed(spectrum))


def between_modes(backbone: GaussianMixtureBackbone, *, offset: float = 0.0) -> JointLatent:
    """One latent halfway between the modes, moved by ``offset`` along every axis, and one nearer to the first mode."""
    z = torch.full((2, 4), offset, dtype=backbone.dtype)
    z[1, 0] = -0.6
    return JointLatent(backbone=backbone, z=z, condition=backbone.embed(["", ""]), captions=("", ""))


@final
class LinearTextBackbone(GaussianMixtureBackbone):
    """One Gaussian whose mean is linear in the text, ``mu(c) = sum_k c_k mu_k``; every x_hat is affine in the text."""

    def __init__(self, mixture: GaussianMixture) -> None:
        super().__init__(means=mixture.means, covariances=mixture.covariances)
        self.name = "linear-text"

    def mean(self, condition: Condition) -> Tensor:
        return condition.tokens.sum(1) @ self.mixture.means

    def _flat_velocity(self, z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        mean, eye = self.mean(condition), torch.eye(z.shape[1], dtype=z.dtype)
        level = s[:, None, None]
        covariance = self.mixture.covariances[0]
        white = torch.linalg.solve((1 - level) ** 2 * covariance + level**2 * eye, z - (1 - s[:, None]) * mean)
        return batch_matvec(level * eye - (1 - level) * covariance, white) - mean
