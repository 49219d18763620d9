"""Every method is given as many tries at as many evaluations, on both bundled models."""

import dataclasses
import functools
from typing import Any

import pytest
import torch

from latentedit.backbones.registry import load
from latentedit.benchmark.candidates import (
    BUDGET,
    CONTENDERS,
    MOST_STEPS,
    OURS,
    Contender,
    affordable,
    contender,
    grid,
)
from latentedit.editing.registry import editor_class, editor_names
from latentedit.encoding.joint import JointLatent
from latentedit.errors import ConfigError, RegistryError
from latentedit.testing.gaussian_mixture import example_mixture
from tests.directions.mixtures import mixture_latent


@functools.cache
def latent_of(name: str) -> JointLatent:
    """Two latents that the model need not have encoded: costs depend on grids and on texts being there."""
    model = load(name, device="cpu")
    texts = ("a person with glasses", "a person with a beard")
    z = torch.zeros((2, *model.latent_shape(128, 128)))
    return JointLatent(backbone=model, z=z, condition=model.embed(texts), captions=texts)


def test_every_editor_is_compared() -> None:
    assert {one.editor for one in CONTENDERS} == set(editor_names())


def test_names_are_unique_and_ours_is_among_them() -> None:
    names = [one.name for one in CONTENDERS]
    assert len(set(names)) == len(names)
    assert contender(OURS).ours
    assert [one.name for one in CONTENDERS if one.ours] == [name for name in names if name.startswith("eim")]


@pytest.mark.parametrize("one", CONTENDERS, ids=lambda one: one.name)
def test_each_has_a_dozen_different_tries(one: Contender) -> None:
    assert len(one.candidates) == 12
    made = [editor_class(one.editor).from_dict(settings).to_dict() for settings in one.candidates]
    assert all(first != second for index, first in enumerate(made) for second in made[:index])


@pytest.mark.parametrize("model", ["portraits", "portraits-unet"])
@pytest.mark.parametrize("one", CONTENDERS, ids=lambda one: one.name)
def test_every_candidate_takes_what_its_budget_pays_for(one: Contender, model: str) -> None:
    """No step more could be paid; a step may cost so much that the last one leaves more than half unspent."""
    latent = latent_of(model)
    for settings in one.candidates:
        editor = affordable(one, settings, latent)
        spent = editor.evaluations(latent)
        assert one.budget / 2.6 < spent <= one.budget, (settings, spent)


def test_budgets_are_equal_but_for_local_bases() -> None:
    assert {one.name for one in CONTENDERS if one.budget != BUDGET} == {"pullback", "loco"}


def test_the_steps_are_as_many_as_can_be_paid() -> None:
    latent = mixture_latent(example_mixture(dimension=6))
    one = Contender(name="x", editor="flowslider", candidates=({"level": 1.0},), budget=28)
    editor: Any = affordable(one, {"level": 1.0}, latent)
    assert editor.evaluations(latent) <= 28
    assert dataclasses.replace(editor, steps=editor.steps + 1).evaluations(latent) > 28
    rich = dataclasses.replace(one, budget=10_000)
    assert getattr(affordable(rich, {"level": 1.0}, latent), "steps") == MOST_STEPS


def test_steps_go_to_the_search_unless_it_has_them() -> None:
    latent = mixture_latent(example_mixture(dimension=6))
    one = Contender(name="x", editor="eim", candidates=(), budget=20)
    searched: Any = affordable(one, {"arm": "image", "search": {"shift": 2.0}}, latent)
    assert searched.search.steps > 1
    assert searched.steps == editor_class("eim").from_dict({}).to_dict()["steps"]
    walked: Any = affordable(one, {"arm": "text", "search": {"steps": 1}}, latent)
    assert walked.search.steps == 1
    assert walked.steps > 1


def test_what_no_budget_pays_for_is_refused() -> None:
    latent = mixture_latent(example_mixture(dimension=6))
    one = Contender(name="dear", editor="flowedit", candidates=(), budget=1)
    with pytest.raises(ConfigError, match="dear .* larger budget"):
        affordable(one, {"source_guidance": 1.0, "target_guidance": 1.0}, latent)


def test_a_grid_is_every_combination_with_what_is_fixed() -> None:
    found = grid({"c": 0}, a=(1, 2), b=("x", "y"))
    assert found == (
        {"c": 0, "a": 1, "b": "x"},
        {"c": 0, "a": 1, "b": "y"},
        {"c": 0, "a": 2, "b": "x"},
        {"c": 0, "a": 2, "b": "y"},
    )
    assert grid({"c": 0}) == ({"c": 0},)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(RegistryError, match="flowedit"):
        contender("flowedits")
