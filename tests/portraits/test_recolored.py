"""Recoloured portraits: what is painted, said and left out."""

import colorsys
import random
from pathlib import Path

import numpy as np
import pytest

from latentedit_portraits.attributes import NONE, VALUES, draw_split
from latentedit_portraits.captions import full_caption, parse, vocabulary, words_of
from latentedit_portraits.recolored import NAMED, UNSEEN, draw_recolored, recolored, render_recolored
from latentedit_portraits.render import Framing, render_array, render_colors

PORTRAIT = draw_split("test", 1, 5)[0]


def test_a_portrait_that_keeps_its_colours_is_painted_as_before() -> None:
    same = recolored(PORTRAIT)
    assert np.array_equal(render_colors(same, same.paints, 128, Framing()), render_array(PORTRAIT))


def test_a_background_is_painted_in_the_shade_of_its_name() -> None:
    red = recolored(PORTRAIT, background="red")
    corner = render_colors(red, red.paints, 128, Framing())[1, 1] / 255
    assert colorsys.rgb_to_hsv(*corner) == pytest.approx(NAMED["red"], abs=0.01)
    assert "on a red background" in full_caption(red)
    assert "on an orange background" in full_caption(recolored(PORTRAIT, background="orange"))


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


def test_a_colour_that_no_value_names_has_no_index() -> None:
    one = recolored(PORTRAIT, clothes_color="purple", background="white")
    indices = dict(zip(VALUES, one.indices(), strict=True))
    assert indices["clothes_color"] == -100
    assert indices["background"] == VALUES["background"].index("white")


def test_what_is_not_there_has_no_other_colour() -> None:
    drawn = [draw_recolored(random.Random(index)) for index in range(200)]
    assert all((one.hair == "bald") == (one.hair_color == NONE) for one in drawn)


def test_renders_are_kept_and_belong_to_their_descriptions(tmp_path: Path) -> None:
    first = render_recolored(tmp_path, 3, seed=1, workers=1)
    again = render_recolored(tmp_path, 3, seed=1)
    assert np.array_equal(first.pixels, again.pixels)
    assert first.attributes == again.attributes
    assert first.pixels.shape == (3, 128, 128, 3)
