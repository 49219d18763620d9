"""Closed forms against quadrature, automatic differentiation, finite differences and each other."""

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.numerics.flow import clean_estimate, noise_estimate
from latentedit.numerics.rng import draw
from tests.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from tests.testing.mixture import GaussianMixture
from tests.testing.tolerances import relative_error, tolerance

LEVELS = torch.tensor([0.02, 0.2, 0.5, 0.8, 0.98], dtype=torch.float64)


@pytest.fixture(scope="module")
def backbone() -> GaussianMixtureBackbone:
    return example_mixture()


@pytest.fixture(scope="module")
def z(backbone: GaussianMixtureBackbone) -> Tensor:
    """Clean samples with noise of each level."""
    x = backbone.draw_clean(backbone.embed(["a"] * 5), generator=torch.Generator().manual_seed(0))
    return (1 - LEVELS[:, None]) * x + LEVELS[:, None] * draw((5, 5), seed=0, purpose="mixture").double()


def density(backbone: GaussianMixtureBackbone, text: str, s: Tensor):
    """The log density of one latent at one level, as a function to differentiate."""
    return lambda point: backbone.at(point[None], s[None], backbone.embed([text])).log_density[0]


def test_velocity_matches_quadrature() -> None:
    mixture_1d = GaussianMixtureBackbone(
        means=torch.tensor([[-1.5], [0.8]], dtype=torch.float64),
        covariances=torch.tensor([[[0.3]], [[0.7]]], dtype=torch.float64),
    )
    condition = mixture_1d.embed(["a"])
    x = torch.linspace(-9, 9, 20001, dtype=torch.float64)
    weights = mixture_1d.weights.log_weights(condition).exp()[0]
    prior = sum(
        weight * torch.exp(-((x - mean) ** 2) / (2 * variance)) / variance**0.5
        for weight, mean, variance in zip(weights, (-1.5, 0.8), (0.3, 0.7), strict=True)
    )
    for s in LEVELS:
        for value in (-1.0, 0.0, 0.4, 2.0):
            e = (value - (1 - s) * x) / s
            posterior = prior * torch.exp(-(e**2) / 2)
            expected = (posterior * (e - x)).sum() / posterior.sum()
            point = torch.tensor([[value]], dtype=torch.float64)
            assert float(mixture_1d.velocity(point, s[None], condition)) == pytest.approx(
                float(expected), rel=1e-8, abs=1e-8
            )


def test_float32_velocity_is_the_rounded_float64_velocity(backbone: GaussianMixtureBackbone, z: Tensor) -> None:
    single_precision = example_mixture(dtype=torch.float32)
    v = single_precision.velocity(z.float(), LEVELS.float(), single_precision.embed(["a"]))
    assert v.dtype == torch.float32
    expected = backbone.velocity(z, LEVELS, backbone.embed(["a"]))
    assert relative_error(v, expected) <= tolerance("velocity", torch.float32)


def test_clean_and_noise_estimates_are_exact_at_the_ends(backbone: GaussianMixtureBackbone, z: Tensor) -> None:
    condition = backbone.embed(["a"])
    zero, one = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    weights = backbone.weights.log_weights(condition).exp()
    mean = weights @ backbone.mixture.means
    # E[e | z] is 0 where there is no noise in z; E[x | z] is the mean where there is only noise.
    assert relative_error(backbone.velocity(z, zero, condition), -z) <= 1e-12
    assert relative_error(backbone.velocity(z, one, condition), z - mean) <= 1e-12
    truth = backbone.at(z, LEVELS, backbone.embed(["a"]))
    assert relative_error(clean_estimate(z, LEVELS, truth.velocity), truth.clean) <= 1e-12
    e_hat = noise_estimate(z, LEVELS, truth.velocity)
    level = LEVELS[:, None]
    assert relative_error((1 - level) * truth.clean + level * e_hat, z) <= 1e-12


def test_score_matches_autograd_and_finite_differences(backbone: GaussianMixtureBackbone, z: Tensor) -> None:
    truth = backbone.at(z, LEVELS, backbone.embed(["a"]))
    derived = -noise_estimate(z, LEVELS, truth.velocity) / LEVELS[:, None]
    assert relative_error(truth.score, derived) <= tolerance("score", torch.float64)
    gradient = torch.stack([torch.func.grad(density(backbone, "a", s))(row) for row, s in zip(z, LEVELS, strict=True)])
    assert relative_error(truth.score, gradient) <= tolerance("score", torch.float64)
    h, steps = 1e-5, torch.eye(5, dtype=torch.float64)
    for row, s, score in zip(z, LEVELS, truth.score, strict=True):
        log_density = density(backbone, "a", s)
        slopes = torch.stack([(log_density(row + h * step) - log_density(row - h * step)) / (2 * h) for step in steps])
        assert relative_error(slopes, score) <= tolerance("difference", torch.float64)


def test_jacobian_matches_forward_and_reverse_mode(backbone: GaussianMixtureBackbone, z: Tensor) -> None:
    condition = backbone.embed(["a"])
    jacobian = backbone.at(z, LEVELS, condition).jacobian
    for row, s, expected in zip(z, LEVELS, jacobian, strict=True):

        def velocity(point: Tensor, level: Tensor = s) -> Tensor:
            return backbone.velocity(point[None], level[None], condition)[0]

        rtol = tolerance("derivative", torch.float64)
        assert relative_error(torch.func.jacfwd(velocity)(row), expected) <= rtol
        assert relative_error(torch.func.jacrev(velocity)(row), expected) <= rtol
    assert relative_error(jacobian, jacobian.mT) <= rtol


def test_hessian_of_the_log_density(backbone: GaussianMixtureBackbone, z: Tensor) -> None:
    truth = backbone.at(z, LEVELS, backbone.embed(["a"]))
    level, eye = LEVELS[:, None, None], torch.eye(5, dtype=torch.float64)
    derived = -(eye + (1 - level) * truth.jacobian) / level
    assert relative_error(derived, truth.hessian) <= tolerance("derivative", torch.float64)
    assert relative_error(-(eye - (1 - level) * truth.jacobian) / level, truth.hessian) > 1e-2
    by_autograd = torch.func.hessian(density(backbone, "a", LEVELS[1]))(z[1])
    assert relative_error(by_autograd, truth.hessian[1]) <= tolerance("derivative", torch.float64)


def test_posterior_covariance(backbone: GaussianMixtureBackbone, z: Tensor) -> None:
    truth = backbone.at(z, LEVELS, backbone.embed(["a"]))
    level, eye = LEVELS[:, None, None], torch.eye(5, dtype=torch.float64)
    rtol = tolerance("covariance", torch.float64)
    assert relative_error(level**2 / (1 - level) * (eye - level * truth.jacobian), truth.covariance) <= rtol
    # At s = 0.02, this form loses four digits in 1 + s^2 H.
    from_hessian = level**2 / (1 - level) ** 2 * (eye + level**2 * truth.hessian)
    assert relative_error(from_hessian, truth.covariance) <= rtol
    assert float(torch.linalg.eigvalsh(truth.covariance).min()) >= -1e-10


def test_counterfactual_between_commuting_covariances_is_the_composed_flow_map() -> None:
    spectra = torch.tensor([[0.2, 0.5, 1.0], [0.6, 0.1, 0.9]], dtype=torch.float64)
    means = draw((2, 3), seed=0, purpose="means").double()
    mixture = GaussianMixture(means=means, covariances=torch.diag_embed(spectra))
    x = draw((4, 3), seed=0, purpose="x").double()
    composed = mixture.flow_map(mixture.flow_map(x, 0.0, 1.0, 0), 1.0, 0.0, 1)
    expected = means[1] + (spectra[1] / spectra[0]).sqrt() * (x - means[0])
    assert relative_error(composed, expected) <= 1e-13
    assert relative_error(mixture.counterfactual(x, 0, 1), expected) <= 1e-12


def test_counterfactual_maps_one_gaussian_to_the_other_and_back(backbone: GaussianMixtureBackbone, z: Tensor) -> None:
    mixture = backbone.mixture
    assert relative_error(mixture.counterfactual(mixture.counterfactual(z, 0, 1), 1, 0), z) <= 1e-10
    mean = mixture.means[:1]
    basis = mixture.counterfactual(torch.eye(5, dtype=torch.float64) + mean, 0, 1) - mixture.counterfactual(mean, 0, 1)
    mapped_covariance = basis.mT @ mixture.covariances[0] @ basis
    assert relative_error(mapped_covariance, mixture.covariances[1]) <= 1e-10
    assert relative_error(basis, basis.mT) <= 1e-10  # the gradient of a convex function, hence optimal


def test_samples_have_the_moments_of_the_mixture(backbone: GaussianMixtureBackbone) -> None:
    mixture, count = backbone.mixture, 20000
    log_weights = backbone.weights.log_weights(backbone.only(2)).expand(count, 3)
    samples = mixture.draw(log_weights, generator=torch.Generator().manual_seed(0))
    assert float((samples.mean(0) - mixture.means[2]).abs().max()) <= 4 * (1.05 / count) ** 0.5
    assert relative_error(torch.cov(samples.mT), mixture.covariances[2]) <= 0.05


def test_tolerances_depend_on_the_quantity_and_the_dtype() -> None:
    assert tolerance("velocity", torch.float64) == 1e-12
    assert tolerance("velocity", torch.bfloat16) == 32 * 2**-7
    with pytest.raises(ConfigError):
        tolerance("velocty", torch.float64)
    with pytest.raises(ConfigError):
        tolerance("edit", torch.float32)


def test_relative_error_is_relative_and_finite_at_zero() -> None:
    one = torch.ones(4)
    assert relative_error(1.01 * one, one) == pytest.approx(0.01, rel=1e-4)
    assert relative_error(0 * one, 0 * one) == 0
