import itertools

import pytest
import torch

from latentedit.core.rng import draw
from latentedit.editors.baselines.flowedit import FlowEdit
from latentedit.editors.baselines.flowslider import FlowSlider
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.mark.parametrize("noises", [1, 3])
def test_strength_one_is_flowedit_without_guidance(latent: JointLatent, noises: int) -> None:
    """The two differ by the rounding of ``(p - q) + (r - p)`` against ``r - q``: some 1e-16 a step in float64."""
    target = latent.backbone.embed(["c"])
    flowedit = FlowEdit(level=0.8, steps=12, noises=noises, source_guidance=1.0, target_guidance=1.0)
    slider = FlowSlider(level=0.8, steps=12, noises=noises)
    expected = flowedit.edit(latent, target, [1.0], seed=4)[0].z
    assert relative_error(slider.edit(latent, target, [1.0], seed=4)[0].z, expected) < 1e-13
    # elsewhere the strengths mean different things
    scaled = flowedit.edit(latent, target, [1.5], seed=4)[0].z
    assert relative_error(slider.edit(latent, target, [1.5], seed=4)[0].z, scaled) > 1e-3


def test_without_steering_the_source_stays_exactly(latent: JointLatent) -> None:
    """The hook itself, which `edit` does not call at strength 0: the fidelity part moves nothing by itself."""
    stayed = FlowSlider(steps=10)._edit(latent, latent.backbone.embed(["c"]), strength=0.0, seed=0, progress=None)
    assert torch.equal(stayed, latent.z)


@pytest.mark.parametrize("strength", [-0.7, 0.4, 2.5])
def test_is_the_published_split(latent: JointLatent, strength: float) -> None:
    """Fidelity and steering written out, one noise, with y itself as what is kept."""
    source, target, z = latent.condition, latent.backbone.embed(["c"]), latent.z
    y = z.clone()
    for index, (s, s_next) in enumerate(itertools.pairwise([0.77, 0.6, 0.4, 0.2, 0.0])):
        a = (1 - s) * z + s * draw((6,), seed=2, purpose="flowedit", index=index).to(z)
        b = y + a - z
        at = levels_of(z, s)
        fidelity = latent.backbone.velocity(b, at, source) - latent.backbone.velocity(a, at, source)
        steering = latent.backbone.velocity(b, at, target) - latent.backbone.velocity(b, at, source)
        y = y + (s_next - s) * (fidelity + strength * steering)
    found = FlowSlider(level=0.77, steps=5).edit(latent, target, [strength], seed=2)[0].z
    assert relative_error(found, y) < 1e-12


def test_where_the_field_is_linear_the_strength_is_proportional_to_the_displacement() -> None:
    """Two Gaussians of one covariance: ``v(z, c) = J (z - (1-s) mu_c) - mu_c``.

    Fidelity is ``J (y - x)`` and steering depends on the level alone, so y - x solves a linear recursion whose only
    source is ``strength * steering``.
    """
    backbone = example_mixture(dimension=6, shared_covariance=True)
    only = mixture_latent(backbone, condition=backbone.only(0))
    editor, target = FlowSlider(level=1.0, steps=20), backbone.only(1)
    one = editor.edit(only, target, [1.0])[0].z - only.z
    for strength in (-2.0, 0.3, 4.0):
        assert relative_error(editor.edit(only, target, [strength])[0].z - only.z, strength * one) < 1e-10
    # Euler is of first order: 100 steps of FlowEdit, the same path, are within 5e-2 of the counterfactual
    assert relative_error(only.z + one, backbone.counterfactual(only.z, 0, 1)) < 0.25
