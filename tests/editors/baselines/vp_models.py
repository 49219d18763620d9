"""A variance-preserving model with known answers, whose levels end before 0 and before 1."""

import torch

from latentedit.core.schedule import scaled_linear_schedule
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.vp_mixture import VariancePreservingMixture


def vp_model(
    *, dtype: torch.dtype = torch.float64, latent: tuple[int, ...] | None = (2, 3)
) -> VariancePreservingMixture:
    """The example mixture of six dimensions behind a network that predicts epsilon."""
    flow = example_mixture(dimension=6, dtype=dtype)
    return VariancePreservingMixture(
        mixture=flow.mixture,
        weights=flow.weights,
        schedule=scaled_linear_schedule(),
        prediction="epsilon",
        latent=latent,
    )
