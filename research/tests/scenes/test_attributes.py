"""Scenes are consistent, change correctly, and belong to disjoint splits."""

import pytest

from latentedit_scenes.attributes import HELD_OUT, NONE, PART_OF, VALUES, Attributes, draw_split

SCENES = draw_split("train", 300, 0)


def test_attributes_of_an_object_appear_and_disappear_with_it() -> None:
    scene = next(one for one in SCENES if one.places() == ["middle"])
    gone = scene.replace(middle_shape=NONE)
    assert gone.places() == []
    assert set(gone.object_at("middle").values()) == {NONE}
    there = gone.replace(left_shape="cone")
    assert there.object_at("left") == {"shape": "cone", "color": "red", "material": "plastic", "size": "medium"}


def test_moving_twice_restores_the_scene() -> None:
    for scene in SCENES[:30]:
        moved = scene.moved("left", "right")
        assert moved.object_at("right") == scene.object_at("left")
        assert moved.object_at("middle") == scene.object_at("middle")
        assert moved.moved("left", "right") == scene


def test_an_object_without_a_color_gets_the_default() -> None:
    contradicting = [0 if name in PART_OF else 1 for name in VALUES]
    assert Attributes.from_indices(contradicting).left_color == "red"


def test_splits_are_disjoint_and_training_lacks_only_held_out_combinations() -> None:
    test = draw_split("test", 100, 0)
    for split, scenes in (("train", SCENES), ("test", test), ("calibration", draw_split("calibration", 60, 0))):
        assert {one.split for one in scenes} == {split}
        assert len(set(scenes)) == len(scenes)
    assert draw_split("train", 300, 0) == SCENES
    assert [one.novel for one in test] == [False, True] * 50
    seen = {(one.object_at(p)["shape"], one.object_at(p)["color"]) for one in SCENES for p in one.places()}
    possible = {(shape, color) for shape in VALUES["left_shape"][1:] for color in VALUES["left_color"][1:]}
    assert seen == possible - set(HELD_OUT)


def test_one_two_and_three_objects_are_equally_frequent() -> None:
    """A third each of 300 draws; the deviation of a share is 0.027."""
    for count in (1, 2, 3):
        assert sum(len(one.places()) == count for one in SCENES) / 300 == pytest.approx(1 / 3, abs=0.1)
