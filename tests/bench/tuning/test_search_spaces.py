"""Every method is given as many tries at as many evaluations, on both bundled models."""

import functools
import itertools
from typing import Any

import pytest
import torch

from latentedit.core.errors import RegistryError
from latentedit.core.plugins import EDITORS
from latentedit.editors.registry import editor_class
from latentedit.latents.joint import JointLatent
from latentedit.models.registry import load
from latentedit_bench.tuning.search_spaces import (
    BUDGET,
    MOST_STEPS,
    OURS,
    SEARCH_SPACES,
    SearchSpace,
    at_budget,
    expand,
    search_space,
)


@functools.cache
def latent_of(name: str) -> JointLatent:
    """Two latents that the model need not have encoded: costs depend on grids and on texts being there."""
    model: Any = load(name, device="cpu")
    model.grid = functools.cache(model.grid)  # asked for ten thousand times, of sixty numbers of steps
    texts = ("a person with glasses", "a person with a beard")
    z = torch.zeros((2, *model.latent_shape(128, 128)))
    return JointLatent(backbone=model, z=z, condition=model.embed(texts), captions=texts)


def test_every_editor_is_compared() -> None:
    names = [one.name for one in SEARCH_SPACES]
    assert len(set(names)) == len(names)
    assert {one.editor for one in SEARCH_SPACES} == set(EDITORS.names())
    assert {one.name for one in SEARCH_SPACES if one.budget != BUDGET} == {"pullback"}, "a local basis is dearer"


def test_baselines_are_the_others_as_their_authors_describe_them() -> None:
    """Every editor but ours has one; neither variants of ours nor controls that borrow our locality are any."""
    baselines = [one for one in SEARCH_SPACES if one.baseline]
    assert {one.editor for one in baselines} == set(EDITORS.names()) - {"eim"}
    assert not any(one.local for one in baselines)
    assert not search_space(OURS).baseline
    assert not search_space("flowedit, local").baseline


@pytest.mark.parametrize("one", SEARCH_SPACES, ids=lambda one: one.name)
def test_each_has_a_dozen_different_tries(one: SearchSpace) -> None:
    assert len(one.candidates) == 12
    made = [editor_class(one.editor).from_dict(settings).to_dict() for settings in one.candidates]
    assert all(first != second for index, first in enumerate(made) for second in made[:index])


@pytest.mark.parametrize("model", ["portraits", "portraits-unet"])
@pytest.mark.parametrize("one", SEARCH_SPACES, ids=lambda one: one.name)
def test_every_candidate_takes_what_its_budget_pays_for(one: SearchSpace, model: str) -> None:
    """A step may cost so much that what is left over is more than half; below a low level there are few of 60 steps."""
    latent = latent_of(model)
    for settings in one.candidates:
        editor = at_budget(one, settings, latent)
        spent = editor.evaluations(latent)
        assert spent <= one.budget
        assert spent > one.budget / 2.6 or editor.to_dict()["steps"] == MOST_STEPS, (settings, spent)


def test_a_space_is_every_combination_with_what_is_fixed() -> None:
    found = expand({"c": 0, "deep.x": 1, "try": {"deep.y": [1, 2], "a, b": [["x", "y"], ["y", "x"]]}})
    every = itertools.product((1, 2), ("xy", "yx"))
    assert found == tuple({"c": 0, "deep": {"x": 1, "y": y}, "a": a, "b": b} for y, (a, b) in every)
    assert expand({"c": 0}) == ({"c": 0},)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(RegistryError, match="flowedit"):
        search_space("flowedits")
