import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.rng import draw
from latentedit.editors.baselines.dds import DDS, random_levels
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent
from tests.editors.baselines.vp_models import vp_model


@pytest.fixture
def mixture() -> GaussianMixtureBackbone:
    return example_mixture(dimension=6)


@pytest.fixture
def latent(mixture: GaussianMixtureBackbone) -> JointLatent:
    return mixture_latent(mixture)


def noise_estimate(backbone: GaussianMixtureBackbone, z: Tensor, s: float, text: str, guidance: float) -> Tensor:
    """``-s score``, in closed form, under guidance."""
    there, empty = (-s * backbone.at(z, levels_of(z, s), backbone.embed([words])).score for words in (text, ""))
    return empty + guidance * (there - empty)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_t3_it_is_the_published_difference_of_noise_estimates(
    mixture: GaussianMixtureBackbone, latent: JointLatent, guidance: float
) -> None:
    """By the score, where the editor has ``(1 - s) (dv + y - x)``; without ``y - x`` it would be another method."""
    y, other = latent.z, latent.z
    for index, s in enumerate(random_levels(mixture, (0.9, 0.1), 6, seed=3, purpose="dds levels")):
        noise = draw((6,), seed=3, purpose="dds", index=index).to(y)
        x_s = (1 - s) * latent.z + s * noise
        source = noise_estimate(mixture, x_s, s, "a", guidance)
        y = y - 0.7 * 0.3 * (noise_estimate(mixture, (1 - s) * y + s * noise, s, "c", guidance) - source)
        estimate = noise_estimate(mixture, (1 - s) * other + s * noise, s, "c", guidance)
        other = other - 0.7 * 0.3 * (estimate - source - (1 - s) * (other - latent.z))
    editor = DDS(levels=(0.9, 0.1), steps=6, step_size=0.3, guidance=guidance)
    found = editor.edit(latent, mixture.embed(["c"]), [0.7], seed=3)[0].z
    # the score divides by s, the velocity does not: a few hundred roundings of float64
    assert relative_error(found, y) < 1e-11
    assert relative_error(found, other) > 1e-2


def test_between_gaussians_of_one_covariance_it_goes_to_the_counterfactual() -> None:
    """The gradient is ``A_s (y - x - D)``, ``A_s = s (1 - s) C_s^-1``, D the difference of means, whatever the noise.

    So the distance to the counterfactual ``x + D`` shrinks by ``I - step_size A_s`` each step.
    """
    backbone = example_mixture(dimension=6, shared_covariance=True)
    latent = mixture_latent(backbone, condition=backbone.only(0))
    target, eye = backbone.only(1), torch.eye(6, dtype=torch.float64)
    goal = backbone.counterfactual(latent.z, 0, 1)
    left = latent.z - goal
    for s in random_levels(backbone, (0.95, 0.05), 30, seed=2, purpose="dds levels"):
        covariance = (1 - s) ** 2 * backbone.mixture.covariances[0] + s**2 * eye
        left = left - 0.4 * 0.5 * s * (1 - s) * torch.linalg.solve(covariance, left.T).T
    found = DDS(steps=30, step_size=0.5, guidance=1.0).edit(latent, target, [0.4], seed=2)[0].z
    assert relative_error(found - goal, left) < 1e-9
    settled = DDS(steps=200, step_size=0.5, guidance=1.0).edit(latent, target, [1.0], seed=2)[0].z
    assert relative_error(settled, goal) < 1e-6


def test_levels_fill_their_range_and_are_cut_to_the_models() -> None:
    model = vp_model()
    known = model.capabilities
    levels = random_levels(model, (1.0, 0.0), 200, seed=0, purpose="tests")
    assert known.s_min <= min(levels) < 0.06
    assert 0.9 < max(levels) <= known.s_max
    assert levels[:5] == random_levels(model, (1.0, 0.0), 5, seed=0, purpose="tests")
    assert levels[:5] != random_levels(model, (1.0, 0.0), 5, seed=1, purpose="tests")
    assert set(random_levels(model, (0.001, 0.0), 5, seed=0, purpose="tests")) == {known.s_min}


def test_negative_strengths_are_refused(latent: JointLatent) -> None:
    with pytest.raises(ConfigError, match="dds must be 0 or above"):
        DDS().edit(latent, latent.backbone.embed(["c"]), [-0.1])
