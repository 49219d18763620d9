"""Recolored portraits: renders, captions, and their domain."""

import dataclasses
import random

import numpy as np
import pytest

from latentedit_bench.domains.base import attribute_differences, load_domain
from latentedit_drawn.recolored import NAMED, UNSEEN, Recolored
from latentedit_drawn.recolored_domain import RECOLORED
from latentedit_drawn.render import COLORS
from latentedit_portraits.attributes import NONE, VALUES
from latentedit_portraits.captions import COLOR_OF, full_caption, parse, vocabulary, words_of

SCENES = RECOLORED.draw("test", 12, seed=3)


def test_it_is_registered_and_draws_reproducibly() -> None:
    assert load_domain("recolored-portraits") is RECOLORED
    again = RECOLORED.draw("test", 12, seed=3)
    assert again == SCENES
    assert [hash(one) for one in again] == [hash(one) for one in SCENES]
    assert {one.split for one in SCENES} == {"test"}
    assert not {*SCENES} & {*RECOLORED.draw("calibration", 12, seed=3)}
    assert any(RECOLORED.attributes(one)["clothes_color"] not in VALUES["clothes_color"] for one in SCENES)


@pytest.mark.parametrize("scene", SCENES[:4], ids=str)
def test_a_change_sets_the_requested_value_in_its_standard_color(scene: object) -> None:
    one = next(known for known in SCENES if known is scene)
    for name, values in RECOLORED.alternatives(one).items():
        changed = RECOLORED.change(one, {name: values[0]})
        assert RECOLORED.attributes(changed)[name] == values[0]
        assert set(attribute_differences(RECOLORED, one, changed)) <= {name, COLOR_OF.get(name, name)}
        assert changed.framing == one.framing
        for color, paint in changed.paints.items():
            known = COLORS[color].get(RECOLORED.attributes(changed)[color])
            same = RECOLORED.attributes(changed)[color] == RECOLORED.attributes(one)[color]
            assert paint == (one.paints[color] if same else known)


def test_an_image_shows_its_colors_and_framing() -> None:
    one = SCENES[0]
    drawn = RECOLORED.render(dataclasses.replace(one, paints={**one.paints, "background": "#123456"}))
    assert tuple(drawn[1, 1]) == (0x12, 0x34, 0x56)
    assert not np.array_equal(
        RECOLORED.render(one), RECOLORED.render(dataclasses.replace(one, framing=SCENES[1].framing))
    )


def test_held_out_colors_are_never_drawn() -> None:
    drawn = [Recolored.draw(random.Random(index)) for index in range(400)]
    for name, words in UNSEEN.items():
        shown = {getattr(one, name) for one in drawn}
        assert not shown & {*words}
        assert len(shown & {*NAMED}) > 4
    assert all((one.hair == "bald") == (one.hair_color == NONE) for one in drawn)


def test_captions_of_any_color_have_known_words_and_true_statements() -> None:
    known = {*vocabulary()}
    for index in range(100):
        one = Recolored.draw(random.Random(index))
        caption = full_caption(one)
        assert {*words_of(caption)} <= known
        stated = parse(caption)
        for name, value in stated.items():
            assert value == getattr(one, name)
        shapes = {name for name in VALUES if not name.endswith("color") and name != "background"}
        assert shapes - {*stated} <= {"hair", "facial_hair", "clothes"}, "a part whose color is not a value"
