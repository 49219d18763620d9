"""The identity behind the filter gamma = -1, against autograd.

H = -dS/dz with the score S. Tolerances are relative, in float64; "covariance" is 1e-9 because it cancels near s = 0.
"""

import pytest
import torch
from torch import Tensor

from latentedit.core.rng import draw
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.mixture import MixturePosterior
from latentedit.testing.tolerances import relative_error, tolerance
from tests.directions.mixtures import batch_matvec

LEVELS = torch.tensor([0.05, 0.2, 0.5, 0.8, 0.98], dtype=torch.float64)
S = LEVELS[:, None, None]
COVARIANCE = tolerance("covariance", torch.float64)


@pytest.fixture(scope="module")
def backbone() -> GaussianMixtureBackbone:
    return example_mixture()


@pytest.fixture(scope="module")
def x(backbone: GaussianMixtureBackbone) -> Tensor:
    return backbone.draw_clean(backbone.embed(["a"] * 5), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def e() -> Tensor:
    return draw((5, 5), seed=0, purpose="identities").double()


@pytest.fixture(scope="module")
def z(x: Tensor, e: Tensor) -> Tensor:
    return (1 - LEVELS[:, None]) * x + LEVELS[:, None] * e


@pytest.fixture(scope="module")
def target_posterior(backbone: GaussianMixtureBackbone, z: Tensor) -> MixturePosterior:
    """The posterior at the same points under another text."""
    return backbone.at(z, LEVELS, backbone.embed(["c"]))


def test_gradient_of_score_distillation_in_velocity(
    backbone: GaussianMixtureBackbone, x: Tensor, e: Tensor, z: Tensor, target_posterior: MixturePosterior
) -> None:
    """``s H (v - (e - x))``: the regression target contains -x, so the network's Jacobian alone gives another gradient.

    In the scale of the data, ``-s^2`` of it is ``s^2 H (x_hat - x)``, the filter gamma = -1 of the residual "sds"
    (where the Jacobian is the target's).
    """

    def loss(point: Tensor, *, target_moves: bool) -> Tensor:
        noised = (1 - LEVELS[:, None]) * point + LEVELS[:, None] * e
        v = backbone.at(noised, LEVELS, backbone.embed(["c"])).velocity
        return (v - (e - (point if target_moves else x))).square().sum() / 2

    gradient = torch.func.grad(lambda p: loss(p, target_moves=True))(x)
    hessian = -target_posterior.hessian
    assert relative_error(S[..., 0] * batch_matvec(hessian, target_posterior.velocity - (e - x)), gradient) < COVARIANCE
    filtered = S[..., 0] ** 2 * batch_matvec(hessian, target_posterior.clean - x)
    assert relative_error(filtered, -(S[..., 0] ** 2) * gradient) < COVARIANCE
    detached = torch.func.grad(lambda p: loss(p, target_moves=False))(x)
    assert relative_error(detached, gradient) > 0.1
