"""Recoloured portraits: what is painted, said and left out."""

import random

from latentedit_portraits.attributes import NONE, VALUES
from latentedit_portraits.captions import full_caption, parse, vocabulary, words_of
from latentedit_portraits.recolored import NAMED, UNSEEN, draw_recolored


def test_colours_that_are_kept_for_measuring_are_never_drawn() -> None:
    drawn = [draw_recolored(random.Random(index)) for index in range(400)]
    for name, words in UNSEEN.items():
        shown = {getattr(one, name) for one in drawn}
        assert not shown & {*words}
        assert len(shown & {*NAMED}) > 4


def test_captions_of_any_colour_are_of_known_words_and_state_what_they_say() -> None:
    known = {*vocabulary()}
    for index in range(100):
        one = draw_recolored(random.Random(index))
        caption = full_caption(one)
        assert {*words_of(caption)} <= known
        stated = parse(caption)
        for name, value in stated.items():
            assert value == getattr(one, name)
        shapes = {name for name in VALUES if not name.endswith("color") and name != "background"}
        assert shapes - {*stated} <= {"hair", "facial_hair", "clothes"}, "left out with a colour that no value names"


def test_what_is_not_there_has_no_other_colour() -> None:
    drawn = [draw_recolored(random.Random(index)) for index in range(200)]
    assert all((one.hair == "bald") == (one.hair_color == NONE) for one in drawn)
