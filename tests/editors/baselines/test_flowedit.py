import itertools

import pytest
import torch

from latentedit.core.rng import draw
from latentedit.editors.baselines.flowedit import FlowEdit
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.mark.parametrize("weight", [1.0, 3.5])
def test_t6_equal_prompts_give_exactly_nothing(latent: JointLatent, weight: float) -> None:
    editor = FlowEdit(source_guidance=weight, target_guidance=weight, steps=10)
    assert torch.equal(editor.edit(latent, latent.condition, [3.0])[0].z, latent.z)
    unequal = FlowEdit(source_guidance=1.0, target_guidance=weight + 1, steps=10)
    assert not torch.equal(unequal.edit(latent, latent.condition, [1.0])[0].z, latent.z)


def test_is_the_published_loop(latent: JointLatent) -> None:
    """Algorithm 1 as published, one noise, strength 1, on a grid that starts at a real level."""
    source, target, z = latent.condition, latent.backbone.embed(["c"]), latent.z
    levels = [0.77, 0.6, 0.4, 0.2, 0.0]
    y = z.clone()
    for index, (s, s_next) in enumerate(itertools.pairwise(levels)):
        a = (1 - s) * z + s * draw((6,), seed=2, purpose="flowedit", index=index).to(z)
        b = y + a - z
        at = levels_of(z, s)
        y = y + (s_next - s) * (latent.backbone.velocity(b, at, target) - latent.backbone.velocity(a, at, source))
    found = FlowEdit(level=0.77, steps=5, target_guidance=1.0).edit(latent, target, [1.0], seed=2)[0].z
    assert relative_error(found, y) < 1e-12


def test_with_shared_covariance_the_whole_path_is_the_counterfactual() -> None:
    backbone = example_mixture(dimension=6, shared_covariance=True)
    latent = mixture_latent(backbone, condition=backbone.only(0))
    edited = FlowEdit(level=1.0, steps=100, target_guidance=1.0).edit(latent, backbone.only(1), [1.0])[0].z
    assert relative_error(edited, backbone.counterfactual(latent.z, 0, 1)) < 5e-2
