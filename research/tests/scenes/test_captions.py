"""Captions are true, bind parts to their objects, and can be parsed."""

import itertools
import random

import pytest

from latentedit_scenes.attributes import NONE, VALUES, Attributes, draw_split
from latentedit_scenes.captions import (
    GRAMMAR,
    MAX_TOKENS,
    draw_caption,
    full_caption,
    parse,
    phrases_of,
    vocabulary,
    words_of,
)

SCENES = draw_split("train", 120, 1)


def described(scene: Attributes) -> dict[str, str]:
    return {name: getattr(scene, name) for name in VALUES}


def test_full_captions_state_every_attribute() -> None:
    for number, scene in enumerate(SCENES):
        assert parse(full_caption(scene)).attributes() == described(scene)
        assert parse(GRAMMAR.reworded_caption(scene, random.Random(number))).attributes() == described(scene)


def test_random_captions_are_true_and_in_the_vocabulary() -> None:
    generator = random.Random(0)
    known = set(vocabulary())
    for scene, other in zip(SCENES, reversed(SCENES), strict=True):
        caption = draw_caption(scene, generator, empty=0.05)
        stated = parse(caption)
        assert stated.agrees(scene)
        assert stated.attributes().items() <= described(scene).items()
        assert set(words_of(caption)) <= known
        assert len(words_of(caption)) + 2 <= MAX_TOKENS
        count = len(stated.values) + sum(map(len, stated.objects))
        assert count < 8 or not stated.agrees(other)
    assert {len(words_of(word)) for word in known} == {1}


def test_parts_are_bound_to_their_objects() -> None:
    caption = "a scene with a red metal cube left of a small blue rubber ball"
    stated = parse(caption)
    assert [dict(one) for one in stated.objects] == [
        {"shape": "cube", "color": "red", "material": "metal"},
        {"shape": "ball", "color": "blue", "material": "rubber", "size": "small"},
    ]
    bare = dict.fromkeys((f"{p}_{part}" for p in ("left", "middle", "right") for part in ("shape",)), NONE)
    empty = SCENES[0].replace(**bare)
    cube = {"shape": "cube", "color": "red", "material": "metal", "size": "large"}
    ball = {"shape": "ball", "color": "blue", "material": "rubber", "size": "small"}

    def scene(**objects: dict[str, str]) -> Attributes:
        return empty.replace(**{f"{p}_{part}": value for p, parts in objects.items() for part, value in parts.items()})

    assert stated.agrees(scene(left=cube, middle=ball))
    assert stated.agrees(scene(left=cube, right=ball))
    assert stated.agrees(scene(middle=cube, right=ball))
    assert not stated.agrees(scene(left=ball, right=cube)), "the other way round"
    assert not stated.agrees(scene(left=cube | {"color": "blue"}, right=ball | {"color": "red"})), "colors exchanged"
    assert parse("a small blue rubber ball right of a red metal cube") == stated
    assert stated.attributes() == {}, "the caption does not determine places"
    three = parse("a red cube left of a blue ball left of a white cone").attributes()
    assert (three["left_shape"], three["middle_color"], three["right_shape"]) == ("cube", "blue", "cone")


def test_scenes_that_share_an_attribute_share_its_phrase() -> None:
    for number, scene in enumerate(SCENES[:40]):
        changed = scene.replace(floor_color="green" if scene.floor_color != "green" else "blue")
        pairs = zip(
            *(GRAMMAR.reworded_caption(one, random.Random(number)).split(", ") for one in (scene, changed)), strict=True
        )
        assert sum(a != b for a, b in pairs) == 1
        assert len(phrases_of(scene)) == 8


@pytest.mark.slow
def test_training_captions_have_the_documented_shares() -> None:
    """In 1500 captions, 0.04 is three standard deviations of the shares of all, 0.1 of those of partial captions."""
    scene = next(one for one in SCENES if one.places() == ["left", "middle"])
    generator = random.Random(0)
    drawn = [draw_caption(scene, generator) for _ in range(1500)]
    captions = [caption for caption in drawn if caption]
    stated = [parse(caption) for caption in captions]
    partial = [one for one in stated if len(one.attributes()) < len(VALUES)]
    related = [one for one in partial if one.related]
    assert 1 - len(captions) / len(drawn) == pytest.approx(0.1, abs=0.04)
    assert 1 - len(partial) / len(captions) == pytest.approx(0.7, abs=0.04)
    assert len(related) / len(partial) == pytest.approx(0.4, abs=0.1)
    for name in ("floor_color", "time", "camera"):
        assert sum(name in one.values for one in partial) / len(partial) == pytest.approx(0.7, abs=0.1), name
    for part in ("color", "material", "size"):
        count = sum(part in parts for one in related for parts in one.objects)
        assert count / (2 * len(related)) == pytest.approx(0.7, abs=0.1), part
    assert all("shape" in parts for one in stated for parts in one.objects)
    shown = [one for one in partial if not one.related]
    assert sum(len(one.objects) for one in shown) / (2 * len(shown)) == pytest.approx(0.7, abs=0.1)
    lead = sum(caption.startswith("a scene with") for caption in captions) / len(captions)
    assert lead == pytest.approx(0.6 + 0.4 / 3, abs=0.04), "a synonym is drawn from three leads"


def test_articles_and_relations_are_grammatical() -> None:
    scene = next(one for one in SCENES if one.places() == ["middle", "right"])
    generator = random.Random(1)
    captions = [draw_caption(scene, generator, empty=0) for _ in range(400)]
    assert all(captions)
    words = [caption.replace(",", "").split() for caption in captions]
    pairs = {pair for one in words for pair in itertools.pairwise(one) if pair[0] in ("a", "an")}
    assert all((article == "an") == (word[0] in "aeiou") for article, word in pairs)
    orders = {"left of": 0, "right of": 0}
    for caption in captions:
        for order in orders:
            orders[order] += f" {order} " in caption
    assert orders["left of"] > orders["right of"] > 0, "the first is the canonical one"
