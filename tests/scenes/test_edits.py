"""Every kind of change does what its sentence says and nothing else."""

import itertools
import random

import pytest

from latentedit.core.errors import ConfigError
from latentedit_scenes.attributes import NONE, ORDERED, PLACES, draw_split, split_of
from latentedit_scenes.edits import KINDS, Edit, draw_edit, draw_edits
from latentedit_scenes.parameters import parameters_of

EDITS = draw_edits("calibration", 6 * len(KINDS), 0)


@pytest.mark.slow
def test_the_kinds_take_turns_and_repeat() -> None:
    assert [edit.kind for edit in EDITS] == list(KINDS) * 6
    assert draw_edits("calibration", 6 * len(KINDS), 0) == EDITS
    assert {split_of(edit.source) for edit in EDITS} == {"calibration"}


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: f"{edit.kind}: {edit.instruction}")
def test_what_changes_is_what_was_asked(edit: Edit) -> None:
    changed = set(edit.source.differences(edit.target))
    places = {name.partition("_")[0] for name in changed} & set(PLACES)
    counts = len(edit.target.places()) - len(edit.source.places())
    assert changed
    assert edit.captions[0] != edit.captions[1]
    assert edit.instruction.endswith(".")
    assert edit.at(0) == parameters_of(edit.source)
    assert edit.at(1) == parameters_of(edit.target)
    match edit.kind:
        case "remove" | "add":
            assert (counts, len(places)) == (-1 if edit.kind == "remove" else 1, 1)
        case "move" | "swap":
            one, other = places
            assert edit.target == edit.source.moved(one, other)
            assert (NONE in (getattr(edit.source, f"{place}_shape") for place in places)) == (edit.kind == "move")
        case "pair":
            assert len(changed) == 2
            assert edit.instruction.count(".") == 2
        case _:
            (name,) = changed
            assert getattr(edit.target, name) in edit.instruction
            assert (edit.kind == "object") <= (name.partition("_")[0] in PLACES)


def test_graded_changes_have_answers_between() -> None:
    for edit in EDITS:
        if edit.kind == "graded":
            (name,) = edit.source.differences(edit.target)
            places = ORDERED[name]
            assert {getattr(one, name) for one in (edit.source, edit.target)} == {places[0], places[-1]}
            answers = [edit.at(strength) for strength in (0, 0.25, 0.5, 0.75, 1)]
            assert all(a != b for a, b in itertools.pairwise(answers))
        elif edit.kind in ("remove", "add", "swap", "move"):
            with pytest.raises(ConfigError, match="there is nothing between"):
                edit.at(0.5)


def test_what_a_scene_does_not_allow() -> None:
    alone = next(one for one in draw_split("train", 60, 0) if len(one.places()) == 1)
    full = next(one for one in draw_split("train", 60, 0) if len(one.places()) == 3)
    generator = random.Random(0)
    assert draw_edit("swap", alone, generator) is None
    assert draw_edit("add", full, generator) is None
    assert draw_edit("move", full, generator) is None
    with pytest.raises(ConfigError, match="no change is of the kind 'explode'"):
        draw_edit("explode", alone, generator)
