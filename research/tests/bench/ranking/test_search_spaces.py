"""Every method has equally many tries and evaluations, and a search continues from the best settings."""

import copy
import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch

from latentedit import JointLatent, load
from latentedit.core import ConfigError, Level, settings
from latentedit.editors import Edit, Editor, editor_class
from latentedit_bench.ranking.search_spaces import (
    BUDGET,
    MOST_STEPS,
    OURS,
    ROLES,
    SEARCH_SPACES,
    TRIES,
    SearchSpace,
    around_defaults,
    at_budget,
    differences,
    edges,
    expand,
    neighbors,
    search_space,
    search_spaces,
)
from research.tests.bench.conftest import Register
from tests.identification.mixtures import mixture_latent
from tests.testing.gaussian_mixture import example_mixture


@functools.cache
def latent_of(name: str) -> JointLatent:
    """Two latents that the model need not have encoded: costs depend on grids and on texts being there."""
    model: Any = load(name, device="cpu")
    model.grid = functools.cache(model.grid)  # called ten thousand times, with sixty numbers of steps
    texts = ("a person with glasses", "a person with a beard")
    z = torch.zeros((2, *model.latent_shape(128, 128)))
    return JointLatent(backbone=model, z=z, condition=model.embed(texts), captions=texts)


def values_of(candidate: Mapping[str, Any], prefix: str = "") -> set[tuple[str, str]]:
    """The settings of a candidate with their values, those of inner mappings too."""
    found = set[tuple[str, str]]()
    for name, value in candidate.items():
        inner = isinstance(value, Mapping)
        found |= values_of(value, f"{name}.") if inner else {(prefix + name, repr(value))}
    return found


def covering(candidates: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Few candidates in which each value of each setting occurs."""
    left = set[tuple[str, str]]().union(*map(values_of, candidates))
    while left:
        best = max(candidates, key=lambda one: len(values_of(one) & left))
        left -= values_of(best)
        yield best


def test_every_method_has_the_same_number_of_tries_and_text_editors_have_a_local_row() -> None:
    """A row and its local one share their settings, so that they can share their edits."""
    rows = {one.name: one for one in SEARCH_SPACES}
    assert len(rows) == len(SEARCH_SPACES)
    assert (ROLES.family - {OURS}) | ROLES.apart < set(rows)
    for name, one in rows.items():
        assert one.budget == BUDGET or name == "pullback", "a local basis costs more"
        assert (one.tries, len(one.candidates) in (12, 13)) == (TRIES, True), name
        made = [editor_class(one.editor).from_dict(settings).to_dict() for settings in one.candidates]
        assert all(first != second for first, second in itertools.combinations(made, 2)), name
        if name not in ROLES.family | ROLES.apart:
            row, local = (rows[name.removesuffix(", local") + suffix] for suffix in ("", ", local"))
            assert local == dataclasses.replace(row, name=local.name, local=True)
            assert not row.local


@pytest.mark.slow_except("masactrl-portraits", "pullback-portraits")
@pytest.mark.parametrize("model", ["portraits", pytest.param("portraits-unet", marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    "one",
    [
        pytest.param(one, marks=pytest.mark.nightly if one.name.startswith("eim ") else (), id=one.name)
        for one in SEARCH_SPACES
        if not one.name.endswith(", local")
    ],
)
def test_every_candidate_takes_what_its_budget_pays_for(one: SearchSpace, model: str) -> None:
    """A step may cost so much that more than half is left; below a low level, few of 60 steps remain."""
    latent = latent_of(model)
    for candidate in covering(one.candidates) if model == "portraits" else one.candidates:
        with latent.backbone.unchanged():
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
    """One step for any budget."""

    name: ClassVar[str] = "stepless"
    localizes: ClassVar[bool] = True

    level: Level = 0.5
    scale: float = 2.0
    noises: int = 1

    @property
    def keeps_equal_texts(self) -> bool:
        return True

    def cost(self, edit: Edit) -> int:
        return 40

    def move(self, edit: Edit) -> torch.Tensor:
        return edit.x


def test_an_editor_without_a_row_is_tuned_around_its_defaults(register: Register) -> None:
    """The first of a dozen candidates are the defaults; the others change one number, within its range."""
    register("editors", stepless=f"{__name__}:Stepless")
    space = search_space("stepless")
    assert space in search_spaces()[len(SEARCH_SPACES) :]
    assert (space.editor, space.local, space.tries, space.budget) == ("stepless", True, TRIES, BUDGET)
    defaults, *others = space.candidates
    assert defaults == Stepless().to_dict()
    changed = [{name: value for name, value in one.items() if value != defaults[name]} for one in others]
    assert changed == [{"level": 0.375}, {"level": 0.625}, {"scale": 1.5}, {"scale": 2.5}, {"noises": 0}, {"noises": 2}]
    latent = mixture_latent(example_mixture(dimension=6))
    assert at_budget(space, defaults, latent) == Stepless(), "it costs what it costs"


def test_the_defaults_of_an_editor_with_steps_leave_them_open() -> None:
    space, defaults = around_defaults("eim"), editor_class("eim").from_dict({}).to_dict()
    assert space.candidates[0]["search"] == {name: n for name, n in defaults["search"].items() if name != "steps"}
    made = [editor_class("eim").from_dict(one) for one in space.candidates]
    assert len(made) == 12
    assert all(first != second for first, second in itertools.combinations(made, 2))


def test_methods_differ_in_words_from_the_first_with_their_editor() -> None:
    base = SearchSpace(name="a", editor="x", candidates=({"s": 1, "t": 1}, {"s": 2, "t": 1}))
    more = ({"s": 1, "t": 1, "deep": {"u": 5}}, {"s": 1, "t": 3, "deep": {"u": 5}})
    spaces = [
        base,
        dataclasses.replace(base, name="b", candidates=({"s": 1, "t": 2}, {"s": 2, "t": 2})),
        dataclasses.replace(base, name="c", candidates=more, local=True, budget=60),
        SearchSpace(name="d", editor="y", candidates=({},)),
    ]
    assert differences(spaces) == {
        "a": "",
        "b": "t 2",
        "c": "u 5, searched t, kept to where the change is strong, 60 evaluations",
        "d": "",
    }
    assert set(differences(SEARCH_SPACES)) == {one.name for one in SEARCH_SPACES}


def test_an_editor_has_as_many_steps_as_its_budget_pays_for() -> None:
    """Steps of the search take the budget, unless the settings fix them."""
    latent = mixture_latent(example_mixture(dimension=6))
    one = SearchSpace(name="x", editor="flowslider", candidates=(), budget=28)
    editor: Any = at_budget(one, {"level": 1.0}, latent)
    assert editor.evaluations(latent) <= 28
    assert dataclasses.replace(editor, steps=editor.steps + 1).evaluations(latent) > 28
    most: Any = at_budget(dataclasses.replace(one, budget=10_000), {"level": 1.0}, latent)
    assert most.steps == MOST_STEPS
    one = SearchSpace(name="x", editor="eim", candidates=(), budget=20)
    searched: Any = at_budget(one, {"arm": "image", "search": {"shift": 2.0}}, latent)
    assert searched.search.steps > 1
    assert searched.steps == editor_class("eim").from_dict({}).to_dict()["steps"]
    fixed: Any = at_budget(one, {"arm": "text", "search": {"steps": 1}}, latent)
    assert fixed.search.steps == 1
    assert fixed.steps > 1
    one = SearchSpace(name="costly", editor="flowedit", candidates=(), budget=1)
    with pytest.raises(ConfigError):
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
        (0, SERIES, {"scale": 0.5}),  # 3 is not an end of 2, 3, 4
        (1, SERIES, {"shift": 2 * 2 / 3 + 2 / 3}),
        (2, NESTED, {"search.gamma": 1.0}),  # arithmetic where not all are above 0
        (1, NATURAL, {}),  # a level of 1 is the whole path, and a weight of 1 means no guidance
        (0, NATURAL, {"level": 0.64, "guidance": 2.25}),
        (1, NEAR, {"level": 1.0}),  # 1.29 would be beyond
        (0, NO_NUMBERS, {}),
    ],
)
def test_beyond_an_end_lies_the_next_of_the_series(
    best: int, tried: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    assert edges(tried[best], tried) == expected
    found = list(neighbors(tried[best], tried))
    assert expected or tried is NATURAL or found == []
    assert not [one for one in found if one in tried]


def test_a_search_continues_beyond_the_edges_and_between() -> None:
    """First beyond, then halfway to the values on either side, one setting at a time; nothing twice."""
    tried = [some(scale=scale, search={"pull": p}) for scale, p in ((1.0, 0.02), (2.0, 0.1), (4.0, 0.05))]
    best = copy.deepcopy(tried[1])
    found = list(neighbors(best, tried))
    assert [(one["scale"], one["search"]["pull"]) for one in found] == [
        (2.0, 0.2),
        (1.5, 0.1),
        (3.0, 0.1),
        (2.0, 0.075),
    ]
    assert next(neighbors(best, [*tried, found[0]])) == found[1]
    for one in found:
        one["search"]["pull"] = 9.0
    assert best == tried[1], "the best is never changed"
