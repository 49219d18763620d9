import itertools

import pytest
import torch
from torch import Tensor

from latentedit.core.rng import draw
from latentedit.editors.baselines.dnaedit import DNAEdit, align_noise
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent

LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8)


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.mark.parametrize("eta", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("strength", [1.0, -0.6])
def test_is_the_published_method(latent: JointLatent, eta: float, strength: float) -> None:
    """Noise corrected, latent corrected, the correction undone where the way down asks; all in plain latents."""
    z, e, v = latent.z, draw((6,), seed=2, purpose="dnaedit").to(latent.z), latent.backbone.velocity
    text = (1 - strength) * latent.condition + strength * latent.backbone.embed(["c"]).expand(3)
    corrections: list[Tensor] = []
    velocities: list[Tensor] = []
    for s, s_next in itertools.pairwise(LEVELS):
        noised = (s_next - s) / (1 - s) * (e - z) + z
        velocities.append(v(noised, levels_of(z, s_next), latent.condition))
        excess = (noised - z) / (s_next - s) - velocities[-1]
        corrections.append(excess * (s_next - s))
        e = e - excess * (1 - s)
        z = noised - corrections[-1]
    reference = latent.z
    for s, s_next in itertools.pairwise(LEVELS[::-1]):
        wanted = v(z + corrections.pop(), levels_of(z, s), text)
        reference = reference + (s_next - s) * (wanted - velocities.pop())
        z = z + (s_next - s) * (eta * wanted + (1 - eta) * (z - reference) / s)
    found = DNAEdit(level=0.8, steps=5, eta=eta).edit(latent, latent.backbone.embed(["c"]), [strength], seed=2)[0].z
    assert relative_error(found, z) < 1e-11


def test_the_noise_is_aligned_with_the_network_after_each_step(latent: JointLatent) -> None:
    """The straight line from z to e has the velocity that the network gave, and a first line that leads to e."""
    noise = draw((6,), seed=0, purpose="tests").to(latent.z)
    way = align_noise(latent, LEVELS, noise)
    for index, s in enumerate(LEVELS[1:]):
        assert relative_error((way.noise[index] - way.states[index + 1]) / (1 - s), way.velocities[index]) < 1e-12
    assert relative_error(way.points[0], 0.8 * latent.z + 0.2 * noise) < 1e-12
    straight = latent.backbone.velocity(way.points[0], levels_of(latent.z, 0.2), latent.condition)
    assert torch.equal(way.velocities[0], straight)


def test_on_gaussians_it_becomes_the_flow_up_and_down_whatever_the_noise() -> None:
    """Asking at p instead of z' is an error of order h in the velocity: half the step, half the error."""
    backbone = example_mixture(dimension=6)
    only, target = mixture_latent(backbone, condition=backbone.only(0)), backbone.only(1)
    top = backbone.flow_map(only.z, 0.0, 0.6, 0)
    truth = backbone.flow_map(top, 0.6, 0.0, 1)

    def error(steps: int, seed: int) -> float:
        editor = DNAEdit(level=0.6, steps=steps, eta=1.0)
        return relative_error(editor.edit(only, target, [1.0], seed=seed)[0].z - only.z, truth - only.z)

    for seed in (0, 1):
        coarse, fine = error(100, seed), error(200, seed)
        assert 1.7 < coarse / fine < 2.3
        assert fine < 4e-2
