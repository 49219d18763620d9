"""The identity that the filter gamma = -1 rests on, against autograd.

H = -dS/dz with the score S. Tolerances are relative, in float64; "covariance" is 1e-9 because it cancels near s = 0.
"""

import pytest
import torch
from torch import Tensor

from latentedit.core.rng import draw
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.mixture import MixturePosterior
from latentedit.testing.tolerances import relative_error, tolerance
from tests.directions.mixtures import times

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
def other(backbone: GaussianMixtureBackbone, z: Tensor) -> MixturePosterior:
    """The same points under another text."""
    return backbone.at(z, LEVELS, backbone.embed(["c"]))


def test_gradient_of_score_distillation_in_velocity(
    backbone: GaussianMixtureBackbone, x: Tensor, e: Tensor, z: Tensor, other: MixturePosterior
) -> None:
    """``s H (v - (e - x))``: the target holds -x, so the Jacobian of the network alone is another vector.

    In the scale of the data, ``-s^2`` of it is ``s^2 H (x_hat - x)``, the filter gamma = -1 of the residual "sds"
    (where the Jacobian is the target's).
    """

    def loss(point: Tensor, *, target_moves: bool) -> Tensor:
        there = (1 - LEVELS[:, None]) * point + LEVELS[:, None] * e
        v = backbone.at(there, LEVELS, backbone.embed(["c"])).velocity
        return (v - (e - (point if target_moves else x))).square().sum() / 2

    gradient = torch.func.grad(lambda p: loss(p, target_moves=True))(x)
    hessian = -other.hessian
    assert relative_error(S[..., 0] * times(hessian, other.velocity - (e - x)), gradient) < COVARIANCE
    filtered = S[..., 0] ** 2 * times(hessian, other.clean - x)
    assert relative_error(filtered, -(S[..., 0] ** 2) * gradient) < COVARIANCE
    detached = torch.func.grad(lambda p: loss(p, target_moves=False))(x)
    assert relative_error(detached, gradient) > 0.1
