"""Principal components of a feature over many latents: directions of GANSpace, in a diffusion model's feature space.

A component is a change of the feature, the same for all images. `transport.pulled_back` takes it to a displacement of
one image's latent, as it takes a global direction there.
"""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.geometry.means import positive_rows


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeaturePCA:
    """Principal components of a feature, in float64 on the CPU."""

    u: Float[Tensor, "r *feature"]  # orthonormal, most variance first; in each the largest entry is positive
    deviations: Float[Tensor, " r"]  # standard deviation of the feature along each


def feature_pca(features: Float[Tensor, "n *feature"], rank: int) -> FeaturePCA:
    """The directions in which a feature varies most over samples (PCA).

    Args:
        features: of n latents at one level, as a `FeatureMap` gives them; their mean is subtracted.
        rank: number of components, less than n and at most the numbers of a feature.

    Raises:
        ConfigError: a rank that the samples do not support.

    Cost:
        A thin SVD of n rows of m numbers in float64, ``min(n, m)^2 max(n, m)`` operations; no evaluations.

    Source:
        Härkönen et al. 2020, "GANSpace" (arXiv 2004.02546), with features of a diffusion model in place of a GAN's.
    """
    rows = features.detach().cpu().double().flatten(1)
    most = min(len(rows) - 1, rows.shape[1])
    if not 1 <= rank <= most:
        raise ConfigError(f"the rank must be from 1 to {most} for {len(rows)} samples; got {rank}. Use more samples")
    _, values, v = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    u = positive_rows(v[:rank]).reshape(rank, *features.shape[1:])
    return FeaturePCA(u=u, deviations=values[:rank] / (len(rows) - 1) ** 0.5)
