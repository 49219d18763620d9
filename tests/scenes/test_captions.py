"""Captions are true, bind parts to their objects, and can be parsed."""

import random

from latentedit_scenes.attributes import NONE, VALUES, Attributes, draw_split
from latentedit_scenes.captions import (
    MAX_TOKENS,
    draw_caption,
    full_caption,
    parse,
    phrases_of,
    reworded_caption,
    vocabulary,
    words_of,
)

SCENES = draw_split("train", 120, 1)


def described(scene: Attributes) -> dict[str, str]:
    return {name: getattr(scene, name) for name in VALUES}


def test_full_captions_state_every_attribute() -> None:
    for number, scene in enumerate(SCENES):
        assert parse(full_caption(scene)).attributes() == described(scene)
        assert parse(reworded_caption(scene, random.Random(number))).attributes() == described(scene)


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
            *(reworded_caption(one, random.Random(number)).split(", ") for one in (scene, changed)), strict=True
        )
        assert sum(a != b for a, b in pairs) == 1
        assert len(phrases_of(scene)) == 8
