"""X-space guidance against its own definition in other coordinates, its first order, and contrasts."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.rng import stream
from latentedit.core.schedule import scaled_linear_schedule
from latentedit.editors.walks.xspace import clean_and_noise, noise_guided, with_contrast_of
from latentedit.models.base import Backbone
from latentedit.models.derivatives import VelocityJacobian
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, WordWeights, example_mixture, letters
from latentedit.testing.tolerances import relative_error, tolerance
from latentedit.testing.vp_mixture import VariancePreservingMixture
from tests.directions.mixtures import levels_of, mixture_latent

LEVEL = 0.6


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=stream(seed, "tests"), dtype=torch.float32).double()


@pytest.fixture
def mixture() -> GaussianMixtureBackbone:
    return example_mixture(dimension=6)


def guided(backbone: Backbone, z: Tensor, v: Tensor, scales: Tensor, *, repeats: int = 1, probe: float = 1.0) -> Tensor:
    return noise_guided(backbone, z, LEVEL, backbone.embed(["a"]), v, scales, repeats=repeats, probe=probe)


@pytest.mark.parametrize("scale", [0.8, -0.8])
def test_it_is_the_papers_step_in_the_models_own_coordinates(mixture: GaussianMixtureBackbone, scale: float) -> None:
    """``x' = x + gamma (eps(x + delta v) - eps(x))``, three times at one time, by a network that predicts epsilon."""
    model = VariancePreservingMixture(
        mixture=mixture.mixture,
        weights=WordWeights(letters(mixture.mixture.means), mixture.weights.prior),
        schedule=scaled_linear_schedule(),
        prediction="epsilon",
    )
    z, v, text, repeats, probe = drawn(2, 6), drawn(2, 6, seed=2), model.embed(["a", "a"]), 3, 0.7
    level = levels_of(z, LEVEL)
    alpha, sigma = model.schedule.alpha_sigma(level)
    size, time = (alpha + sigma)[:, None], model.schedule.time(level)
    delta, gamma = size * probe * (1 if scale > 0 else -1), size * abs(scale) / (repeats * probe)
    x_t = size * z
    for _ in range(repeats):
        x_t = x_t + gamma * (model.predict(x_t + delta * v, time, text) - model.predict(x_t, time, text))
    found = guided(model, z, v, torch.full((2,), scale, dtype=torch.float64), repeats=repeats, probe=probe)
    assert relative_error(found, x_t / size) < tolerance("prediction", torch.float64)


def test_scales_and_contrasts_that_change_nothing(mixture: GaussianMixtureBackbone) -> None:
    z, v = drawn(3, 6), drawn(3, 6, seed=2)
    assert torch.equal(guided(mixture, z, v, torch.zeros(3).double(), repeats=4), z)
    clean, flat = drawn(2, 5), torch.full((2, 5), 3.0).double()
    assert relative_error(with_contrast_of(clean, clean), clean) < 1e-14
    assert torch.equal(with_contrast_of(flat, clean), flat)
    rounded = torch.tensor([0.1, 1 / 3, -0.7])[:, None].expand(3, 49)  # whose mean is not quite the number
    assert torch.equal(with_contrast_of(rounded, drawn(3, 49).float()), rounded)


def test_to_first_order_it_is_the_jacobian_of_the_noise(mixture: GaussianMixtureBackbone) -> None:
    """``scale (I + (1 - s) J_v) v``; what is left is of second order in the scale, and odd in it to that order."""
    z, v = drawn(3, 6), drawn(3, 6, seed=2)
    jacobian = VelocityJacobian(mixture, z, levels_of(z, LEVEL), mixture.embed(["a"]), mode="double_backward")
    slope = v + (1 - LEVEL) * jacobian.matvec(v)
    assert relative_error(slope, v) > 0.05  # it is no addition

    def move(scale: float) -> Tensor:
        return guided(mixture, z, v, torch.full((3,), scale, dtype=torch.float64), probe=abs(scale)) - z

    errors = [relative_error(move(scale) / scale, slope) for scale in (1e-2, 5e-3, -5e-3)]
    assert errors[0] < 0.05
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.1)
    even = [relative_error(move(scale), -move(-scale)) for scale in (1e-2, 5e-3)]
    assert 1e-9 < even[1] < even[0] < 0.05
    assert even[0] / even[1] == pytest.approx(2, abs=0.1)
    assert errors[2] == pytest.approx(errors[1], rel=0.1)


def test_each_repetition_starts_where_the_last_one_ended(mixture: GaussianMixtureBackbone) -> None:
    """Along the same v; and latents do not know of one another."""
    z, v, scales = drawn(3, 6), drawn(3, 6, seed=2), torch.tensor([0.9, -0.6, 0.0], dtype=torch.float64)
    expected = z
    for _ in range(3):
        expected = guided(mixture, expected, v, scales / 3, probe=0.5)
    heard = list[tuple[str, int, int]]()
    with mixture.count() as cost:
        found = noise_guided(
            mixture,
            z,
            LEVEL,
            mixture.embed(["a"]),
            v,
            scales,
            repeats=3,
            probe=0.5,
            progress=lambda *told: heard.append(told),
        )
    assert cost.evaluations == 3 * 3 * 2
    assert heard == [("guide", 1, 3), ("guide", 2, 3), ("guide", 3, 3)]
    assert relative_error(found, expected) < tolerance("batch", torch.float64)
    alone = guided(mixture, z[1:2], v[1:2], scales[1:2], repeats=3, probe=0.5)
    assert relative_error(found[1:2], alone) < tolerance("batch", torch.float64)


def test_estimates_of_clean_and_noise_are_those_of_the_mixture(mixture: GaussianMixtureBackbone) -> None:
    latent = mixture_latent(mixture)
    clean, noise = clean_and_noise(mixture, latent.z, LEVEL, latent.condition)
    truth = mixture.at(latent.z, levels_of(latent.z, LEVEL), latent.condition)
    assert relative_error(clean, truth.clean) < tolerance("velocity", torch.float64)
    assert relative_error(noise, -LEVEL * truth.score) < tolerance("score", torch.float64)
    assert relative_error((1 - LEVEL) * clean + LEVEL * noise, latent.z) < tolerance("coordinates", torch.float64)


@given(size=st.floats(0.01, 100), shift=st.floats(-10, 10), wanted=st.floats(0.01, 100), seed=st.integers(0, 1000))
def test_the_contrast_is_the_references_and_the_mean_its_own(
    size: float, shift: float, wanted: float, seed: int
) -> None:
    clean, reference = size * drawn(2, 3, 4, seed=seed) + shift, wanted * drawn(2, 3, 4, seed=seed + 1)
    found = with_contrast_of(clean, reference).flatten(1)
    assert torch.allclose(found.std(1), reference.flatten(1).std(1), rtol=1e-9)
    assert torch.allclose(found.mean(1), clean.flatten(1).mean(1), atol=1e-9)
    straight = (clean.flatten(1) - clean.flatten(1).mean(1, keepdim=True)) / clean.flatten(1).std(1, keepdim=True)
    assert torch.allclose((found - found.mean(1, keepdim=True)) / found.std(1, keepdim=True), straight, atol=1e-7)
