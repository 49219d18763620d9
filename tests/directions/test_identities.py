"""The identities that the filters rest on, each against autograd, quadrature or a closed form of the mixture.

Tweedie's are among the tests of the mixture, those of the operators among the tests of `models.derivatives`.
a = 1 - s is the signal's share, S the score, H = -dS/dz, D = dx_hat/dz. Tolerances are relative, in float64; "score"
is 1e-10 and "covariance" 1e-9 because they cancel near s = 0.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.rng import draw
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.mixture import MixturePosterior
from latentedit.testing.tolerances import relative_error, tolerance
from tests.directions.mixtures import times

LEVELS = torch.tensor([0.05, 0.2, 0.5, 0.8, 0.98], dtype=torch.float64)
S, A = LEVELS[:, None, None], 1 - LEVELS[:, None, None]
EYE = torch.eye(5, dtype=torch.float64)
SCORE = tolerance("score", torch.float64)
COVARIANCE = tolerance("covariance", torch.float64)
DERIVATIVE = tolerance("derivative", torch.float64)


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
def truth(backbone: GaussianMixtureBackbone, z: Tensor) -> MixturePosterior:
    return backbone.at(z, LEVELS, backbone.embed(["a"]))


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


def test_gradient_of_the_score_residual_keeps_the_hessian(
    backbone: GaussianMixtureBackbone, x: Tensor, e: Tensor, truth: MixturePosterior, other: MixturePosterior
) -> None:
    """``|e_hat(z; c1) - e_0|^2 / 2`` has the gradient ``a s H (e_1 - e_0)``: gamma = -1."""
    fixed = -S[..., 0] * truth.score

    def loss(point: Tensor) -> Tensor:
        there = (1 - LEVELS[:, None]) * point + LEVELS[:, None] * e
        return (-S[..., 0] * backbone.at(there, LEVELS, backbone.embed(["c"])).score - fixed).square().sum() / 2

    residual = -S[..., 0] * other.score - fixed
    expected = A[..., 0] * S[..., 0] * times(-other.hessian, residual)
    assert relative_error(torch.func.grad(loss)(x), expected) < COVARIANCE


def mixed(backbone: GaussianMixtureBackbone, z: Tensor, text: Condition, way: Condition) -> Tensor:
    """``(dS / dc) n`` by autograd."""

    def score(tokens: Tensor) -> Tensor:
        return backbone.at(z, LEVELS, Condition(tokens=tokens, pooled=text.pooled).expand(5)).score

    return torch.func.jvp(score, (text.tokens,), (way.tokens,))[1]


def test_delta_denoising_is_the_integral_of_the_mixed_hessian(backbone: GaussianMixtureBackbone, z: Tensor) -> None:
    """Gauss-Legendre over the way from source to target; 40 nodes leave 1e-12 of these analytic curves."""
    source, target = backbone.embed(["a"]), backbone.embed(["c"])
    nodes, weights = np.polynomial.legendre.leggauss(40)
    total = sum(
        weight / 2 * mixed(backbone, z, source.lerp(target, (node + 1) / 2), target - source)
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True)
    )
    difference = backbone.at(z, LEVELS, target).score - backbone.at(z, LEVELS, source).score
    assert isinstance(total, Tensor)
    assert relative_error(total, difference) < COVARIANCE
    assert relative_error(mixed(backbone, z, source, target - source), difference) > 0.1
