"""Latents of a mixture whose velocities, posteriors and flows have closed forms."""

import pytest

from latentedit.encoding.joint import JointLatent
from latentedit.numerics.condition import Condition
from tests.identification.mixtures import mixture_latent
from tests.testing.gaussian_mixture import example_mixture


@pytest.fixture
def latent() -> JointLatent:
    """Three latents of shape [6]."""
    return mixture_latent(example_mixture(dimension=6))


@pytest.fixture
def target(latent: JointLatent) -> Condition:
    return latent.backbone.embed(["c"])


@pytest.fixture
def spatial_latent() -> JointLatent:
    """Three latents of shape [2, 3]: two channels, three positions."""
    return mixture_latent(example_mixture(dimension=6, latent=(2, 3)))
