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
from tests.directions.mixtures import dense_solve, times, two_modes

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


def test_no_curvature_exceeds_one_and_some_is_negative(backbone: GaussianMixtureBackbone, z: Tensor) -> None:
    """Cov >= 0 gives h <= 1; nothing bounds h by 0, for between two modes it is negative."""
    for text in ("a", "b", "a b", ""):
        scaled = -(S**2) * backbone.at(z, LEVELS, backbone.embed([text])).hessian
        assert float(torch.linalg.eigvalsh(scaled).max()) <= 1 + 1e-12
    modes = two_modes()
    middle = modes.at(torch.zeros(1, 4, dtype=torch.float64), LEVELS[1:2], modes.embed([""]))
    scaled = -(LEVELS[1] ** 2) * middle.hessian
    assert float(torch.linalg.eigvalsh(scaled).min()) < -1


@pytest.mark.parametrize(("s", "ratio"), [(0.5, 2.0), (0.2, 17.0), (0.1, 82.0)])
def test_curvature_of_a_gaussian(s: float, ratio: float) -> None:
    """``h = s^2 / (a^2 tau^2 + s^2)``: 1 for a point mass, and Newton re-weights unit variance by 2, 17 and 82."""
    variances = torch.tensor([1e-12, 0.25, 1.0, 9.0], dtype=torch.float64)
    one = GaussianMixtureBackbone(means=torch.zeros(1, 4, dtype=torch.float64), covariances=torch.diag(variances)[None])
    point = torch.ones(1, 4, dtype=torch.float64)
    scaled = -(s**2) * one.at(point, torch.tensor([s], dtype=torch.float64), one.embed([""])).hessian[0]
    h = scaled.diagonal()
    assert relative_error(h, s**2 / ((1 - s) ** 2 * variances + s**2)) < SCORE
    assert float(h[0]) == pytest.approx(1, abs=1e-9)  # tau^2 / s^2 is 1e-10
    assert float(h[0] / h[2]) == pytest.approx(ratio, rel=1e-9)
    assert relative_error(scaled, torch.diag(h)) < SCORE


def test_total_covariance() -> None:
    """Not naming k adds ``p (1 - p) dx_hat dx_hat^T``: the two Hessians differ by the delta direction only."""
    two = example_mixture(components=2)
    z = draw((5, 5), seed=1, purpose="identities").double()
    open_, first, second = (two.at(z, LEVELS, text) for text in (two.embed([""]), two.only(0), two.only(1)))
    p = open_.weights[:, 1, None, None]
    within = (1 - p) * first.covariance + p * second.covariance
    delta = second.clean - first.clean
    between = p * (1 - p) * delta[:, :, None] * delta[:, None]
    assert relative_error(within + between, open_.covariance) < COVARIANCE
    assert relative_error(within, open_.covariance) > 1e-3


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


def test_deltas_in_three_parameters(truth: MixturePosterior, other: MixturePosterior) -> None:
    """``dx_hat = (s^2 / a) dS = -(s / a) de_hat = -s dv``."""
    s, a = S[..., 0], A[..., 0]
    delta = other.clean - truth.clean
    assert relative_error(s**2 / a * (other.score - truth.score), delta) < SCORE
    assert relative_error(-s * (other.velocity - truth.velocity), delta) < SCORE
    e_hat = [-s * side.score for side in (other, truth)]
    assert relative_error(-s / a * (e_hat[0] - e_hat[1]), delta) < SCORE


def test_newton_in_three_parameters(backbone: GaussianMixtureBackbone, z: Tensor) -> None:
    """The same d from a flow, a noise and a data network; under one component, where H is definite."""
    first, second = (backbone.at(z, LEVELS, backbone.only(k)) for k in (0, 1))
    s, a, damping = S[..., 0], A[..., 0], 0.3
    data = dense_solve((1 + damping) * EYE - A * (EYE - S * first.jacobian), second.clean - first.clean)
    flow = -dense_solve((1 + damping / S) * EYE + A * first.jacobian, second.velocity - first.velocity)
    slope = -S * first.hessian
    noise = -dense_solve(slope + damping / S * EYE, -s * (second.score - first.score)) / a
    assert relative_error(flow, data) < COVARIANCE
    assert relative_error(noise, data) < COVARIANCE


def mixed(backbone: GaussianMixtureBackbone, z: Tensor, text: Condition, way: Condition) -> Tensor:
    """``(dS / dc) n`` by autograd."""

    def score(tokens: Tensor) -> Tensor:
        return backbone.at(z, LEVELS, Condition(tokens=tokens, pooled=text.pooled).expand(5)).score

    return torch.func.jvp(score, (text.tokens,), (way.tokens,))[1]


def test_the_mixed_hessian_is_a_covariance(backbone: GaussianMixtureBackbone, z: Tensor) -> None:
    """``(dS / dc) n = Cov_{k | z}(n_k, S_k)``, the gradient of the model's own reading of the attribute."""
    source, target = backbone.embed(["a"]), backbone.embed(["c"])
    way = target - source
    there = backbone.at(z, LEVELS, source)
    scores = torch.stack([backbone.at(z, LEVELS, backbone.only(k)).score for k in range(3)], dim=1)
    logits = way.tokens.sum(1).expand(5, 3)
    centred = logits - (there.weights * logits).sum(1, keepdim=True)
    covariance = torch.einsum("bk,bk,bki->bi", there.weights, centred, scores)
    assert relative_error(covariance, mixed(backbone, z, source, way)) < COVARIANCE


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
