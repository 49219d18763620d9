"""Every editor on networks that take the guidance weight as an input, and on those that were distilled to need none."""

import dataclasses
from typing import Any

import pytest
import torch

import latentedit as le
from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.plugins import EDITORS
from latentedit.core.rng import draw
from latentedit.directions.hsds import HSDS
from latentedit.editors.eim import EIM
from latentedit.editors.registry import editor_class, make_editor
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.miniatures.flux import flux
from tests.directions.mixtures import mixture_latent, weight_as_input

pytestmark = pytest.mark.slow

CAPTION = "a person with red hair"
SMALL = {"steps": 3, "maps": 1, "candidates": 1, "rank": 1, "products": 2}


@pytest.fixture(scope="module", params=["embedded", "none"])
def model(request: pytest.FixtureRequest) -> Backbone:
    return le.from_pipeline(flux(guidance_embeds=request.param == "embedded"), settings={"sizes": [64, 64, 96]})


@pytest.fixture(scope="module")
def latent(model: Backbone) -> JointLatent:
    return latent_of(model)


@pytest.fixture(scope="module")
def target(model: Backbone) -> Condition:
    return model.embed(["a face"])


def latent_of(model: Backbone) -> JointLatent:
    z = draw((1, *model.latent_shape(64, 64)), seed=0, purpose="latent")
    return JointLatent(backbone=model, z=z, condition=model.embed([CAPTION]), captions=(CAPTION,))


@pytest.mark.parametrize("name", EDITORS.names())
def test_every_editor_costs_what_it_says_without_a_second_branch(
    model: Backbone, latent: JointLatent, target: Condition, name: str
) -> None:
    editor: Any = make_editor(name, model)
    changes = {key: value for key, value in SMALL.items() if key in {f.name for f in dataclasses.fields(editor)}}
    editor = dataclasses.replace(editor, **changes)
    with model.count() as cost:
        (result,) = editor.edit(latent, target, [1.0])
    assert bool(result.z.isfinite().all())
    assert cost.evaluations == editor.evaluations(latent)


@pytest.mark.parametrize("name", ["asyrp", "freesliders", "sega"])
def test_ways_back_retrace_the_inversion_whatever_weight_a_network_was_published_with(name: str) -> None:
    """The inversion goes up with a weight of 1, and so must what its velocities are taken from."""
    mixture = example_mixture(dimension=8, latent=(2, 2, 2))
    latent = dataclasses.replace(mixture_latent(mixture), backbone=weight_as_input(mixture))
    editor = editor_class(name).from_dict({"steps": 4, **({"reference": "source"} if name == "sega" else {})})
    assert editor.keeps_equal_texts
    (result,) = editor.edit(latent, latent.condition, [1.0])
    assert torch.equal(result.z, latent.z)


def test_a_guided_search_has_one_branch_where_the_weight_is_an_input() -> None:
    mixture = example_mixture(dimension=8, latent=(2, 2, 2))
    latent = dataclasses.replace(mixture_latent(mixture, 1), backbone=weight_as_input(mixture))
    editor = EIM(search=HSDS(steps=2, guidance=2.0))
    with latent.backbone.count() as cost:
        editor.edit(latent, mixture.embed(["c"]), [1.0])
    assert cost.evaluations == editor.evaluations(latent) == 4


def test_a_weight_that_a_distilled_model_cannot_have_is_refused() -> None:
    model = le.from_pipeline(flux(guidance_embeds=False))
    with pytest.raises(ConfigError, match="FluxPipeline was distilled to need no guidance"):
        editor_class("flowedit")(steps=2).edit(latent_of(model), model.embed(["b"]), [1.0])


def test_settings_that_were_published_for_a_family_are_its_defaults() -> None:
    dev: Any = make_editor("flowedit", le.from_pipeline(flux()))
    assert (dev.steps, dev.source_guidance, dev.target_guidance) == (28, 1.5, 5.5)
    tuned: Any = make_editor("flowedit", le.from_pipeline(flux(), settings={"editors": {"flowedit": {"steps": 9}}}))
    assert (tuned.steps, tuned.target_guidance) == (9, 2.0)
