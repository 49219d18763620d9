"""A candidate gets as many steps as its budget pays for, where its settings leave them open."""

import dataclasses
from typing import Any

import pytest

from latentedit.core.errors import ConfigError
from latentedit.editors.registry import editor_class
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.tuning.search_spaces import MOST_STEPS, SearchSpace, at_budget
from tests.directions.mixtures import mixture_latent


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
