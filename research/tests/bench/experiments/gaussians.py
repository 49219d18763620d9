"""Studies of analytic models, whose local bases are known."""

from collections.abc import Sequence

import torch
from torch import Tensor

from latentedit import JointLatent
from latentedit.numerics import stream
from latentedit_bench.experiments.study import Study
from tests.testing.gaussian_mixture import GaussianMixtureBackbone


def gaussian(variances: Tensor, axes: Tensor, latent: tuple[int, ...]) -> GaussianMixtureBackbone:
    """One Gaussian with a variance along each of some orthonormal axes (rows), and 0.01 along all others.

    The Jacobian of its clean estimate is ``(1 - s) C ((1 - s)^2 C + s^2)^-1`` everywhere, so its singular vectors are
    the axes, in the order of their variances, for all images and all levels.
    """
    columns = axes.flatten(1).double().T
    rest = torch.eye(len(columns), dtype=torch.float64) - columns @ columns.T
    covariance = (columns * variances.double()) @ columns.T + 0.01 * rest
    means = torch.zeros(1, len(columns), dtype=torch.float64)
    return GaussianMixtureBackbone(means=means, covariances=covariance[None], latent=latent)


def study_of(backbone: GaussianMixtureBackbone, count: int, *, levels: Sequence[float], rank: int) -> Study:
    """Random latents, read in the clean estimate."""
    z = torch.randn(count, *backbone.latent, generator=stream(4, "tests"), dtype=torch.float64)
    text = {"condition": backbone.embed([""]), "captions": ("",)}
    latents = tuple(JointLatent(backbone=backbone, z=one, **text) for one in z.split(1))
    return Study(backbone=backbone, latents=latents, levels=tuple(levels), rank=rank, site="clean", steps=4)


def small_study(count: int, *, rank: int = 2) -> Study:
    """Latents of one Gaussian at two levels."""
    variances = torch.tensor([4.0, 1.0, 0.3])
    return study_of(gaussian(variances, torch.eye(6)[:3], (6,)), count, levels=(0.9, 0.6), rank=rank)
