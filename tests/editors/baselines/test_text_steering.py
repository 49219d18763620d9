import itertools

import pytest
import torch
from torch import Tensor

from latentedit.core.rng import draw, stream
from latentedit.editors.baselines.text_steering import TextSteering
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import LinearTextBackbone, levels_of, mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.mark.parametrize("strength", [-0.7, 1.6])
def test_is_the_difference_of_two_samples_from_one_start(latent: JointLatent, strength: float) -> None:
    target = latent.backbone.embed(["c"])
    start = 0.25 * latent.z + 0.75 * draw((6,), seed=2, purpose="text-steering").to(latent.z)

    def sampled(tokens: Tensor) -> Tensor:
        text, z = type(target)(tokens=tokens, pooled=target.pooled), start
        for s, s_next in itertools.pairwise([0.75, 0.6, 0.4, 0.2, 0.0]):
            z = z + (s_next - s) * latent.backbone.velocity(z, levels_of(z, s), text)
        return z

    source = latent.condition.tokens[:1]
    expected = latent.z + sampled(source + strength * (target.tokens - source)) - sampled(source)
    found = TextSteering(level=0.75, steps=5).edit(latent, target, [strength], seed=2)[0].z
    assert relative_error(found, expected) < 1e-12


def test_where_the_estimate_is_affine_in_the_text_so_is_the_edit() -> None:
    """One Gaussian whose mean is linear in the text: ``y - x = strength (I - (1 - s) S^1/2 C_s^-1/2) (mu_1 - mu_0)``.

    The matrix is that of the flow from s to the clean end; 400 Euler steps are within a per cent of it.
    """
    mixture = example_mixture(dimension=6, narrowest=0.3).mixture
    backbone = LinearTextBackbone(mixture)
    z = torch.randn(2, 6, generator=stream(1, "tests"), dtype=torch.float64)
    latent = JointLatent(backbone=backbone, z=z, condition=backbone.embed(["a", "b"]), captions=("a", "b"))
    target = backbone.embed(["c"])
    values, vectors = torch.linalg.eigh(mixture.covariances[0])
    share = 1 - 0.4 * (values / (0.4**2 * values + 0.6**2)).sqrt()
    means = backbone.mean(target) - backbone.mean(latent.condition)
    editor = TextSteering(level=0.6, steps=400)
    one = editor.edit(latent, target, [1.0])[0].z - z
    assert relative_error(one, (means @ vectors * share) @ vectors.T) < 1e-2
    # proportional whatever the solver: only rounding is left, of some 400 steps
    assert relative_error(editor.edit(latent, target, [-2.5])[0].z - z, -2.5 * one) < 1e-10
