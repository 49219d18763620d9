"""Latents of a mixture whose velocities, posteriors and flows have a closed form."""

import pytest

from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from tests.directions.mixtures import mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    """Three latents of six numbers."""
    return mixture_latent(example_mixture(dimension=6))


@pytest.fixture
def places() -> JointLatent:
    """Three latents of two channels with three places."""
    return mixture_latent(example_mixture(dimension=6, latent=(2, 3)))
