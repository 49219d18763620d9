import itertools

import pytest

from latentedit.core.rng import draw
from latentedit.editors.baselines.flowalign import FlowAlign
from latentedit.editors.baselines.flowedit import FlowEdit
from latentedit.editors.baselines.flowslider import FlowSlider
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.mark.parametrize("strength", [1.0, -0.4])
def test_t8_is_the_published_formula_with_the_difference_of_clean_estimates(
    latent: JointLatent, strength: float
) -> None:
    """Tweedie's estimates written out: ``(a - s q)`` is that of the picture, ``(b - s p)`` that of the edit."""
    source, target, z = latent.condition, latent.backbone.embed(["c"]).expand(3), latent.z
    guidance, pull, y = 4.0, 0.15, latent.z.clone()
    for index, (s, s_next) in enumerate(itertools.pairwise([0.77, 0.6, 0.4, 0.2, 0.0])):
        a = (1 - s) * z + s * draw((6,), seed=2, purpose="flowedit", index=index).to(z)
        b = y + a - z
        at, v = levels_of(z, s), latent.backbone.velocity
        p = v(b, at, source) + strength * guidance * (v(b, at, target) - v(b, at, source))
        q = v(a, at, source)
        assert relative_error(a - s * q, latent.backbone.at(a, at, source).clean) < 1e-12
        y = y + (s_next - s) * (p - q) + pull * ((a - s * q) - (b - s * p))
    editor = FlowAlign(level=0.77, steps=5, guidance=guidance, pull=pull)
    assert relative_error(editor.edit(latent, target, [strength], seed=2)[0].z, y) < 1e-12
    unpulled = FlowAlign(level=0.77, steps=5, guidance=guidance, pull=0.0)
    assert relative_error(unpulled.edit(latent, target, [strength], seed=2)[0].z, y) > 1e-3


def test_without_a_pull_it_is_flowslider_and_at_weight_one_flowedit(latent: JointLatent) -> None:
    target = latent.backbone.embed(["c"])
    slider = FlowSlider(level=0.8, steps=12).edit(latent, target, [3 * 0.6], seed=4)[0].z
    found = FlowAlign(level=0.8, steps=12, guidance=3.0, pull=0.0).edit(latent, target, [0.6], seed=4)[0].z
    assert relative_error(found, slider) < 1e-13
    plain = (
        FlowEdit(level=0.8, steps=12, source_guidance=1.0, target_guidance=1.0).edit(latent, target, [1.0], seed=4)[0].z
    )
    found = FlowAlign(level=0.8, steps=12, guidance=1.0, pull=0.0).edit(latent, target, [1.0], seed=4)[0].z
    assert relative_error(found, plain) < 1e-13


def test_where_the_field_is_linear_the_strength_is_proportional_to_the_displacement() -> None:
    """Two Gaussians of one covariance: all but the steering is linear in y - x, and steering depends on s alone."""
    backbone = example_mixture(dimension=6, shared_covariance=True)
    only = mixture_latent(backbone, condition=backbone.only(0))
    editor, target = FlowAlign(steps=20, guidance=2.0, pull=0.05), backbone.only(1)
    one = editor.edit(only, target, [1.0])[0].z - only.z
    for strength in (-2.0, 0.3, 4.0):
        assert relative_error(editor.edit(only, target, [strength])[0].z - only.z, strength * one) < 1e-10
