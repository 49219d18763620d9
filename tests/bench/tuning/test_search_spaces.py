"""Every method is given as many tries at as many evaluations, on both bundled models."""

import dataclasses
import functools
import itertools
from typing import Any

import pytest
import torch

from latentedit.core.errors import RegistryError
from latentedit.core.plugins import EDITORS, Registry
from latentedit.editors.registry import editor_class
from latentedit.latents.joint import JointLatent
from latentedit.models.registry import load
from latentedit_bench.tuning.search_spaces import (
    BUDGET,
    MOST_STEPS,
    OURS,
    ROLES,
    SEARCH_SPACES,
    TRIES,
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
    assert (ROLES.family - {OURS}) | ROLES.apart | set(ROLES.parts) < set(names)


def test_what_helps_any_text_editor_is_given_to_every_one() -> None:
    """A row with our locality beside the row without, from the same settings: the two can share their edits."""
    rows = {one.name: one for one in SEARCH_SPACES}
    rivals = set(rows) - ROLES.family - ROLES.apart - set(ROLES.parts)
    assert {rows[name].editor for name in rivals} == set(EDITORS.names()) - {"eim"} - ROLES.apart
    for name in rivals:
        whole, local = rows[name.removesuffix(", local")], rows[f"{name.removesuffix(', local')}, local"]
        assert (whole.local, local.local) == (False, True)
        assert dataclasses.replace(local, name=whole.name, local=False) == whole
    assert {name for name in ROLES.parts if rows[name].local} == {
        n for n, some in ROLES.parts.items() if "local" in some
    }


@pytest.mark.parametrize("one", SEARCH_SPACES, ids=lambda one: one.name)
def test_each_has_as_many_tries(one: SearchSpace) -> None:
    """A dozen or so before it goes on from the best; the factorial is not tuned."""
    assert one.tries == (1 if one.name in ROLES.parts else TRIES)
    assert len(one.candidates) == 1 if one.name in ROLES.parts else 12 <= len(one.candidates) <= 13
    made = [editor_class(one.editor).from_dict(settings).to_dict() for settings in one.candidates]
    assert all(first != second for index, first in enumerate(made) for second in made[:index])


def test_parts_are_switched_and_nothing_else() -> None:
    """Without any of them the search walks FlowEdit's path, as a test of the search shows."""
    rows = {one.name: one.candidates[0] for one in SEARCH_SPACES if one.name in ROLES.parts}
    alone = rows["path"]
    assert alone["search"].keys() == {"levels", "shift", "step_size"}
    assert rows["path + local"] == alone
    more = {"noises": 2, "antithetic": True, "keep": 0.008}
    assert rows["path + antithetic + keep"]["search"] == {**alone["search"], **more}


PUBLISHED: dict[str, dict[str, Any]] = {
    "flowedit": {"level": 0.85, "source_guidance": 3.5, "target_guidance": 13.5, "noises": 1},
    "flowalign": {"level": 1.0, "guidance": 7.0, "pull": 0.01},
    "rf-inversion": {"gamma": 0.5, "level": 1.0, "eta": 0.9, "stop": 0.25},
    "turboedit": {"clip": 0.121, "level": 1.0, "weight": 1.5, "shift": 1},
    "dnaedit": {"level": 0.85, "eta": 0.8, "guidance": 1.0},
    "rf-solver": {"level": 1.0, "guidance": 2.0},
    "rf-solver, shared": {"level": 1.0, "guidance": 2.0, "share": 2, "first_layer": 0.684},
    "dvrf": {"level": 1.0, "shift": [0.0, 1.0], "step_size": 0.14, "source_guidance": 6.0, "target_guidance": 16.5},
    "chordedit": {"noises": 7, "levels": [0.9, 0.3], "gap": 0.15},
    "veloedit": {"level": 1.0, "until": 0.84, "threshold": 0.8, "guidance": 4.0},
    "splitflow": {"level": 0.85, "until": 0.78, "parts": 3, "source_guidance": 3.5, "target_guidance": 13.5},
    "freesliders": {"level": 0.7, "scale": 4.0},
    "masactrl": {"guidance": 7.5, "start": 0.08, "first_layer": 0.625},
    "stable-flow": {"guidance": 3.0, "nudge": 1.15, "layers": [0, 1, -2, -1]},
}
"""As the papers and their code have them, for some of those whose first grids lay elsewhere."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_are_tried(name: str) -> None:
    assert PUBLISHED[name] in search_space(name).candidates
    assert PUBLISHED[name] in search_space(f"{name}, local").candidates


@pytest.mark.parametrize("model", ["portraits", "portraits-unet"])
@pytest.mark.parametrize(
    "one", [one for one in SEARCH_SPACES if not one.name.endswith(", local")], ids=lambda one: one.name
)
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


def test_an_editor_that_is_not_tuned_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "points", lambda self: {"three-looks": None})
    with pytest.raises(RegistryError, match=r"three-looks.*`latentedit bench run`"):
        search_space("three-looks")
