import itertools

import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.core.rng import draw
from latentedit.editors.baselines.flowslider import FlowSlider
from latentedit.editors.baselines.steering_fields import SteeringFields
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.mark.parametrize("repel", [0.0, 0.6, 1.5])
@pytest.mark.parametrize("strength", [-0.4, 1.0])
def test_is_the_published_field_along_flowedits_path(latent: JointLatent, repel: float, strength: float) -> None:
    source, target, z, v = latent.condition, latent.backbone.embed(["c"]), latent.z, latent.backbone.velocity
    empty, y, m, away = latent.backbone.embed([""]), latent.z.clone(), strength * 1.5, strength * repel
    for index, (s, s_next) in enumerate(itertools.pairwise([0.77, 0.6, 0.4, 0.2, 0.0])):
        a = (1 - s) * z + s * draw((6,), seed=2, purpose="flowedit", index=index).to(z)
        b, at = y + a - z, levels_of(z, s)
        steered = (v(b, at, empty) + m * v(b, at, target) - away * v(b, at, source)) / (1 + m - away)
        y = y + (s_next - s) * (steered - v(a, at, empty))
    editor = SteeringFields(level=0.77, steps=5, attract=1.5, repel=repel)
    assert relative_error(editor.edit(latent, target, [strength], seed=2)[0].z, y) < 1e-12


def test_towards_strength_zero_it_is_the_picture_exactly(latent: JointLatent) -> None:
    for editor in (SteeringFields(steps=6), SteeringFields(steps=6, repel=0.3)):
        assert torch.equal(
            editor._edit(latent, latent.backbone.embed(["c"]), strength=0.0, seed=0, progress=None), latent.z
        )


def test_without_a_caption_a_base_that_is_the_source_makes_it_flowslider(latent: JointLatent) -> None:
    """Where the source is the empty text, both weights act as one: FlowSlider at ``m / (1 + m - l)``."""
    untold, target = latent.under(""), latent.backbone.embed(["c"])
    found = SteeringFields(level=0.9, steps=8, attract=2.0, repel=0.5).edit(untold, target, [0.7], seed=1)[0].z
    slider = FlowSlider(level=0.9, steps=8).edit(untold, target, [1.4 / (1 + 1.4 - 0.35)], seed=1)[0].z
    assert relative_error(found, slider) < 1e-13


@pytest.mark.parametrize(
    ("editor", "strength", "bound"),
    [(SteeringFields(attract=3.0, repel=1.0), -0.5, "above -0.5"), (SteeringFields(attract=1.0), 1.5, "below 1")],
)
def test_strengths_that_leave_no_weight_for_the_base_are_refused(
    latent: JointLatent, editor: SteeringFields, strength: float, bound: str
) -> None:
    with pytest.raises(ConfigError, match=bound):
        editor.edit(latent, latent.backbone.embed(["c"]), [strength])
    with pytest.raises(ConfigError, match=bound):
        editor.evaluations(latent, strength=strength)
    assert editor.evaluations(latent, strength=-strength) > 0
