"""Guidance: it commutes with the change of coordinates (row 4), takes one call, and is affine in its weight."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.models.callable import CallableBackbone
from latentedit.models.capabilities import Capabilities, GuidanceKind
from latentedit.models.guidance import GuidedField
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import alpha_sigma_from_level, model_from_canonical, velocity_from_prediction
from latentedit.numerics.rng import draw
from tests.numerics.inverse_maps import prediction_from_velocity
from tests.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from tests.testing.tolerances import relative_error, tolerance

CLOSE = tolerance("guidance", torch.float64)


@pytest.fixture
def backbone() -> GaussianMixtureBackbone:
    return example_mixture()


def inputs() -> tuple[Tensor, Tensor]:
    return draw((3, 5), seed=0, purpose="guidance").double(), torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)


@pytest.mark.parametrize("weight", [-1.0, 0.0, 1.0, 3.5])
def test_row_4_guiding_epsilon_is_guiding_the_velocity(backbone: GaussianMixtureBackbone, weight: float) -> None:
    z, s = inputs()
    alpha, sigma = alpha_sigma_from_level(s)
    x_t = model_from_canonical(z, alpha, sigma)
    conditional = backbone.at(z, s, backbone.embed(["a"])).velocity
    null = backbone.at(z, s, backbone.embed([""])).velocity
    e_conditional, e_null = (prediction_from_velocity("epsilon", v, z, alpha, sigma) for v in (conditional, null))
    guided = velocity_from_prediction("epsilon", e_null + weight * (e_conditional - e_null), x_t, alpha, sigma)
    field = GuidedField(backbone=backbone, condition=backbone.embed(["a"]), guidance=weight)
    assert relative_error(field(z, s), guided) <= CLOSE
    assert relative_error(field(z, s), null + weight * conditional) > 1e-2 or weight == 0


def test_negative_text_replaces_the_empty_text(backbone: GaussianMixtureBackbone) -> None:
    z, s = inputs()
    positive, negative = backbone.embed(["a"]), backbone.embed(["b"])
    field = GuidedField(backbone=backbone, condition=positive, guidance=2.0, unconditional=negative)
    a, b = (backbone.at(z, s, condition).velocity for condition in (positive, negative))
    assert relative_error(field(z, s), b + 2 * (a - b)) <= CLOSE


def test_guidance_takes_one_call_of_twice_the_rows_if_needed(
    backbone: GaussianMixtureBackbone, requested_rows: Callable[..., list[int]]
) -> None:
    rows = requested_rows(backbone)
    for weight in (1.0, 4.0, 0.0):
        field = GuidedField(backbone=backbone, condition=backbone.embed(["a"]), guidance=weight)
        with backbone.count() as cost:
            field(*inputs())
        assert cost.evaluations == (3 if weight == 1 else 6)
    assert rows == [3, 6, 6]


def test_nonfinite_weights_are_rejected(backbone: GaussianMixtureBackbone) -> None:
    for weight in (math.nan, math.inf):
        with pytest.raises(ConfigError):
            GuidedField(backbone=backbone, condition=backbone.embed(["a"]), guidance=weight)


@pytest.mark.parametrize(("kind", "branches"), [("cfg", 2), ("renormalized", 2), ("embedded", 1), ("none", 1)])
def test_the_kind_of_guidance_determines_the_number_of_branches(kind: GuidanceKind, branches: int) -> None:
    capabilities = Capabilities(guidance_kind=kind)
    assert capabilities.branches(1.0) == 1
    assert capabilities.branches(0.0) == capabilities.branches(3.5) == branches


def seeing() -> tuple[CallableBackbone, Condition]:
    """A model whose velocity has a product of text and image, and an instruction with an image."""
    empty = torch.zeros(1, 0)
    texts = {"": 0.5, "do": 3.0}

    def velocity(z: Tensor, s: Tensor, c: Condition) -> Tensor:
        text = c.tokens[..., None]
        return z + text if c.reference is None else z + text + 2 * c.reference[0] + text * c.reference[0]

    model = CallableBackbone(
        velocity,
        embed=lambda given: Condition(
            tokens=torch.tensor([[[texts[t]]] for t in given]), pooled=empty.repeat(len(given), 1)
        ),
        latent_shape=lambda *_: (1, 2, 2),
        capabilities=Capabilities(pixels=False, references=1, guidance=2.0),
        guided=lambda z, *_: z,  # a host's own call of both branches, which knows no image guidance
    )
    return model, dataclasses.replace(model.embed(["do"]), reference=(torch.full((1, 1, 2, 2), 0.25),))


@pytest.mark.parametrize("weight", [-1.0, 0.0, 0.5, 1.5, 2.0])
@pytest.mark.parametrize("of_text", [1.0, 3.0])
def test_image_guidance_is_affine_in_both_weights(weight: float, of_text: float) -> None:
    """``(1 - w) v_t(n) + w v_t(c)`` with ``v_t = z + c + t (2 + c) I``, written out; it costs twice as much."""
    model, condition = seeing()
    z, s = draw((1, 1, 2, 2), seed=0, purpose="z"), torch.tensor([0.5])
    field = GuidedField(backbone=model, condition=condition.guided_by_image(weight), guidance=of_text)
    with model.count() as cost:
        v = field(z, s)
    text = 0.5 + of_text * (3.0 - 0.5)
    assert torch.allclose(v, z + text + weight * (2 + text) * 0.25, atol=1e-5)
    assert cost.evaluations == (2 if of_text == 1 else 4)
    # Brooks et al., eq. 3, at the same weights: less by w (t - 1) times the mixed difference, here (c - n) I.
    n, c, image = 0.5, 3.0, 0.25
    theirs = z + n + weight * (2 + n) * image + of_text * (c - n + (c - n) * image)
    assert torch.allclose(v - theirs, torch.full_like(v, of_text * (weight - 1) * (c - n) * image), atol=1e-5)


def test_image_guidance_1_is_the_network_itself_and_needs_an_image() -> None:
    model, condition = seeing()
    z, s = draw((1, 1, 2, 2), seed=0, purpose="z"), torch.tensor([0.5])
    with model.count() as cost:
        assert torch.equal(model.velocity(z, s, condition.guided_by_image(1)), model.velocity(z, s, condition))
    assert cost.evaluations == 2
    guided = condition.guided_by_image(1.5)
    for changed in (guided + guided, guided.repeat(2), guided.lerp(condition, 0.5), model.null(guided)):
        assert changed.image_guidance == 1.5
    for refused in (lambda: condition.words.guided_by_image(1.5), lambda: model.features(z, s, guided, "clean")):
        with pytest.raises(ConfigError):
            refused()
    for unlike in (lambda: Condition.cat([guided, condition]), lambda: guided + condition.guided_by_image(2.0)):
        with pytest.raises(ShapeError):
            unlike()
