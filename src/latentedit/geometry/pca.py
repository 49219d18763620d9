"""Principal components of a feature over many latents: changes of the feature that are the same for all images.

`transport.pulled_back` takes one to a displacement of an image's latent, as it does with a global direction.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, explaining
from latentedit.geometry.means import positive_rows
from latentedit.geometry.pullback import LocalBasis
from latentedit.geometry.transport import pulled_back
from latentedit.identification.direction import Direction
from latentedit.models.derivatives import FEATURE_ROWS
from latentedit.numerics.rng import draw

NOISES = 64  # samples of an image at a level; more than three times the directions that people look at


@explaining
def feature_pca(
    features: Float[Tensor, "n *feature"], rank: int
) -> tuple[Float[Tensor, "r *feature"], Float[Tensor, " r"]]:
    """The directions in which a feature varies most over samples (PCA).

    Args:
        features: of n latents at one level, as a `FeatureMap` gives them; their mean is subtracted.
        rank: number of components, less than n and at most the numbers of a feature.

    Returns:
        The components, orthonormal, most variance first, the largest entry of each positive; and the standard deviation
        of the feature along each. Both in float64 on the CPU.

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
    return positive_rows(v[:rank]).reshape(rank, *features.shape[1:]), values[:rank] / (len(rows) - 1) ** 0.5


@torch.no_grad()
def pca_directions(basis: LocalBasis, rank: int) -> list[Direction]:
    """The components of a feature over `NOISES` noises at an image, as directions of unit length at its level.

    Args:
        basis: whose image, site, level and text are taken; of any rank.
        rank: number of directions, less than `NOISES`.

    Cost:
        ``NOISES`` evaluations, and 2 products with the Jacobian for each direction.
    """
    z, s, feature = basis.latent.z, basis.level, basis.feature
    noise = [draw(z.shape[1:], seed=basis.seed, purpose="pca", index=index) for index in range(NOISES)]
    states = (1 - s) * z + s * torch.stack(noise).to(z)
    u, deviations = feature_pca(torch.cat([feature(rows) for rows in states.split(FEATURE_ROWS)]), rank)
    found = pulled_back(u, basis.jacobian)
    return [
        basis.direction_along(
            v, made, {"index": k, "rank": rank, "deviation": float(deviations[k])}, step=1.0, method="pca"
        )
        for k, (v, made) in enumerate(zip(found.v, found.u, strict=True))
    ]
