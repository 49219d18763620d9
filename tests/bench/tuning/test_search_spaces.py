"""Every method is given as many tries at as many evaluations; and where a search goes on from the best."""

import dataclasses
import functools
import itertools
from typing import Any, ClassVar

import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.core.plugins import Registry
from latentedit.core.settings import Level, settings
from latentedit.editors.base import Editor
from latentedit.editors.registry import editor_class
from latentedit.latents.joint import JointLatent
from latentedit.models.registry import load
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.tuning import search_spaces as module
from latentedit_bench.tuning.search_spaces import (
    BUDGET,
    MOST_STEPS,
    OURS,
    ROLES,
    SEARCH_SPACES,
    TRIES,
    SearchSpace,
    around_defaults,
    at_budget,
    edges,
    expand,
    neighbours,
    search_space,
    search_spaces,
)
from tests.directions.mixtures import mixture_latent


@functools.cache
def latent_of(name: str) -> JointLatent:
    """Two latents that the model need not have encoded: costs depend on grids and on texts being there."""
    model: Any = load(name, device="cpu")
    model.grid = functools.cache(model.grid)  # asked for ten thousand times, of sixty numbers of steps
    texts = ("a person with glasses", "a person with a beard")
    z = torch.zeros((2, *model.latent_shape(128, 128)))
    return JointLatent(backbone=model, z=z, condition=model.embed(texts), captions=texts)


def test_names_and_budgets_are_as_the_roles_say() -> None:
    names = [one.name for one in SEARCH_SPACES]
    assert len(set(names)) == len(names)
    assert {one.name for one in SEARCH_SPACES if one.budget != BUDGET} == {"pullback"}, "a local basis is dearer"
    assert (ROLES.family - {OURS}) | ROLES.apart < set(names)


def test_what_helps_any_text_editor_is_given_to_every_one() -> None:
    """A row with our locality beside the row without, from the same settings: the two can share their edits."""
    rows = {one.name: one for one in SEARCH_SPACES}
    rivals = set(rows) - ROLES.family - ROLES.apart
    for name in rivals:
        whole, local = rows[name.removesuffix(", local")], rows[f"{name.removesuffix(', local')}, local"]
        assert (whole.local, local.local) == (False, True)
        assert dataclasses.replace(local, name=whole.name, local=False) == whole


@pytest.mark.parametrize("one", SEARCH_SPACES, ids=lambda one: one.name)
def test_each_has_as_many_tries(one: SearchSpace) -> None:
    """A dozen or so before it goes on from the best."""
    assert one.tries == TRIES
    assert 12 <= len(one.candidates) <= 13
    made = [editor_class(one.editor).from_dict(one_of).to_dict() for one_of in one.candidates]
    assert all(first != second for index, first in enumerate(made) for second in made[:index])


@pytest.mark.parametrize("model", ["portraits", pytest.param("portraits-unet", marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    "one", [one for one in SEARCH_SPACES if not one.name.endswith(", local")], ids=lambda one: one.name
)
def test_every_candidate_takes_what_its_budget_pays_for(one: SearchSpace, model: str) -> None:
    """A step may cost so much that what is left over is more than half; below a low level there are few of 60 steps."""
    latent = latent_of(model)
    for candidate in one.candidates:
        editor = at_budget(one, candidate, latent)
        spent = editor.evaluations(latent)
        assert spent <= one.budget
        assert spent > one.budget / 2.6 or editor.to_dict()["steps"] == MOST_STEPS, (candidate, spent)


def test_a_space_is_every_combination_with_what_is_fixed() -> None:
    found = expand({"c": 0, "deep.x": 1, "try": {"deep.y": [1, 2], "a, b": [["x", "y"], ["y", "x"]]}})
    every = itertools.product((1, 2), ("xy", "yx"))
    assert found == tuple({"c": 0, "deep": {"x": 1, "y": y}, "a": a, "b": b} for y, (a, b) in every)
    assert expand({"c": 0}) == ({"c": 0},)


@settings
class Stepless(Editor):
    """One step, whatever the budget."""

    name: ClassVar[str] = "stepless"
    localizes: ClassVar[bool] = True

    level: Level = 0.5
    scale: float = 2.0
    noises: int = 1

    @property
    def keeps_equal_texts(self) -> bool:
        return True

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        return 40

    def _edit(self, latent: JointLatent, target: Any, **rest: Any) -> torch.Tensor:
        return latent.z


def test_an_editor_without_a_row_is_tuned_around_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of a dozen candidates are the defaults; the others change one number, within its range."""
    monkeypatch.setattr(Registry, "points", lambda _: {"stepless": None})
    monkeypatch.setattr(module, "editor_class", lambda _: Stepless)
    space = search_space("stepless")
    assert search_spaces()[len(SEARCH_SPACES) :] == [space]
    assert (space.editor, space.local, space.tries, space.budget) == ("stepless", True, TRIES, BUDGET)
    defaults, *others = space.candidates
    assert defaults == Stepless().to_dict()
    changed = [{name: value for name, value in one.items() if value != defaults[name]} for one in others]
    assert changed == [{"level": 0.375}, {"level": 0.625}, {"scale": 1.5}, {"scale": 2.5}, {"noises": 0}, {"noises": 2}]
    latent = mixture_latent(example_mixture(dimension=6))
    assert at_budget(space, defaults, latent) == Stepless(), "it costs what it costs"


def test_the_defaults_of_an_editor_with_steps_leave_them_open() -> None:
    space = around_defaults("eim")
    search = editor_class("eim").from_dict({}).to_dict()["search"]
    assert {**space.candidates[0]["search"], "steps": search["steps"]} == search
    assert "steps" not in space.candidates[0]["search"]
    assert len(space.candidates) == 12
    made = [editor_class("eim").from_dict(one) for one in space.candidates]
    assert all(first != second for first, second in itertools.combinations(made, 2))


def test_the_steps_are_as_many_as_can_be_paid() -> None:
    latent = mixture_latent(example_mixture(dimension=6))
    one = SearchSpace(name="x", editor="flowslider", candidates=({"level": 1.0},), budget=28)
    editor: Any = at_budget(one, {"level": 1.0}, latent)
    assert editor.evaluations(latent) <= 28
    assert dataclasses.replace(editor, steps=editor.steps + 1).evaluations(latent) > 28
    rich = dataclasses.replace(one, budget=10_000)
    most: Any = at_budget(rich, {"level": 1.0}, latent)
    assert most.steps == MOST_STEPS


def test_what_a_budget_pays_for() -> None:
    latent = mixture_latent(example_mixture(dimension=6))
    one = SearchSpace(name="x", editor="eim", candidates=(), budget=20)
    searched: Any = at_budget(one, {"arm": "image", "search": {"shift": 2.0}}, latent)
    assert searched.search.steps > 1
    assert searched.steps == editor_class("eim").from_dict({}).to_dict()["steps"]
    walked: Any = at_budget(one, {"arm": "text", "search": {"steps": 1}}, latent)
    assert walked.search.steps == 1
    assert walked.steps > 1
    one = SearchSpace(name="dear", editor="flowedit", candidates=(), budget=1)
    with pytest.raises(ConfigError, match=r"dear .* larger budget"):
        at_budget(one, {"source_guidance": 1.0, "target_guidance": 1.0}, latent)


def some(**values: Any) -> dict[str, Any]:
    return {"steps": 7, "reference": "null", "levels": [0.9, 0.1], **values}


SERIES = [some(scale=scale, shift=shift) for scale, shift in ((1.0, 3), (2.0, 2), (6.0, 4))]
NESTED = [some(search={"gamma": gamma, "steps": 3}) for gamma in (-0.5, 0.0, 0.5)]
NATURAL = [some(level=level, guidance=guidance) for level, guidance in ((0.8, 1.5), (1.0, 1.0))]
NEAR = [some(level=level) for level in (0.7, 0.95)]
NO_NUMBERS = [
    some(eta=0.5, site=site, flag=flag, steps=steps) for site, flag, steps in ((None, True, 3), ("x", False, 9))
]


@pytest.mark.parametrize(
    ("best", "tried", "expected"),
    [
        (2, SERIES, {"scale": 18.0, "shift": 6}),  # 6 * 6 / 2, and 4 * 4 / 3 as a whole number
        (0, SERIES, {"scale": 0.5}),  # 3 of 2, 3, 4 is no end
        (1, SERIES, {"shift": 2 * 2 / 3 + 2 / 3}),
        (2, NESTED, {"search.gamma": 1.0}),  # arithmetic where not all are above 0
        (1, NATURAL, {}),  # a level of 1 is the whole path, and a weight of 1 is no guidance
        (0, NATURAL, {"level": 0.64, "guidance": 2.25}),
        (1, NEAR, {"level": 1.0}),  # 1.29 would be beyond
        (0, NO_NUMBERS, {}),
    ],
)
def test_beyond_an_end_lies_the_next_of_the_series(
    best: int, tried: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    assert edges(tried[best], tried) == expected
    assert expected or tried is NATURAL or list(neighbours(tried[best], tried)) == []


def test_without_edges_it_goes_between() -> None:
    """First beyond, then halfway to the values on either side, one setting at a time, and never twice."""
    tried = [some(scale=scale, pull=pull) for scale, pull in ((1.0, 0.02), (2.0, 0.1), (4.0, 0.05))]
    best = tried[1]
    assert list(neighbours(best, tried)) == [
        some(scale=2.0, pull=0.2),
        some(scale=1.5, pull=0.1),
        some(scale=3.0, pull=0.1),
        some(scale=2.0, pull=0.075),
    ]
    again = [*tried, some(scale=2.0, pull=0.2)]
    assert next(neighbours(best, again)) == some(scale=1.5, pull=0.1), "the edge is left behind"


@pytest.mark.parametrize("beyond", [0.0, 2.0])
def test_the_best_is_never_changed(beyond: float) -> None:
    tried = [some(search={"keep": keep}) for keep in (beyond, 1.0)]
    for found in neighbours(tried[0], tried):
        found["search"]["keep"] = 9.0
    assert tried[0]["search"]["keep"] == beyond
