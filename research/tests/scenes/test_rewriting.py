"""Rewritten captions are those of the changed scene."""

import pytest

from latentedit.core import ConfigError
from latentedit.encoding import Change
from latentedit_scenes.attributes import VALUES, Attributes, draw_split
from latentedit_scenes.captions import full_caption, parse
from latentedit_scenes.rewriting import rewrite

OBJECTS = {
    "left": ("ball", "red", "rubber", "large"),
    "middle": ("none", "none", "none", "none"),
    "right": ("cube", "red", "metal", "small"),
}
PARTS = ("shape", "color", "material", "size")
SCENE = Attributes(
    **{f"{place}_{part}": value for place, parts in OBJECTS.items() for part, value in zip(PARTS, parts, strict=True)},
    floor_texture="plain",
    floor_color="gray",
    wall_texture="striped",
    wall_color="blue",
    lamp_side="left",
    lamp_warmth="cold",
    lamp_softness="hard",
    time="day",
    camera="low",
)


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("a red ball => a blue ball", {"left_color": "blue"}),
        ("the small block => a big cylinder", {"right_shape": "cylinder", "right_size": "large"}),
        ("a ball => a metal ball", {"left_material": "metal"}),
        ("the red object on the right => a purple object", {"right_color": "purple"}),
        ("the ball =>", {"left_shape": "none"}),
        (
            "=> a small green metal cone in the middle",
            {"middle_shape": "cone", "middle_color": "green", "middle_material": "metal", "middle_size": "small"},
        ),
        ("a plain floor => a checkered brown floor", {"floor_texture": "checkered", "floor_color": "brown"}),
        ("=> a plain wall", {"wall_texture": "plain"}),
        ("a lamp on the left => a lamp on the right", {"lamp_side": "right"}),
        ("a hard lamp => a soft warm lamp", {"lamp_softness": "soft", "lamp_warmth": "warm"}),
        ("daylight => night", {"time": "night"}),
        ("a low camera => a high camera", {"camera": "high"}),
        ("the ball, daylight => a green ball, dusk", {"left_color": "green", "time": "evening"}),
    ],
)
def test_the_changed_caption_is_that_of_the_changed_scene(text: str, change: dict[str, str]) -> None:
    assert rewrite(full_caption(SCENE), Change.parse(text)) == full_caption(SCENE.replace(**change))
    moved = rewrite(full_caption(SCENE), Change.parse("the ball => the ball in the middle"))
    assert moved == full_caption(SCENE.moved("left", "middle"))


def test_every_attribute_can_be_changed_by_its_phrase() -> None:
    """OLD is the phrase of the scene, NEW that of the counterfactual, as in the benchmark's tasks."""
    for scene in draw_split("calibration", 6, 2):
        caption = full_caption(scene)
        for name in (name for name in VALUES if getattr(scene, name) != "none"):
            expected = full_caption(
                scene.replace(**{name: next(v for v in VALUES[name][1:] if v != getattr(scene, name))})
            )
            before, after = (text.removeprefix("a scene with ").split(", ") for text in (caption, expected))
            (pair,) = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
            assert rewrite(caption, Change.parse(" => ".join(pair))) == expected


def test_partial_captions_stay_partial_and_unknown_words_are_replaced() -> None:
    assert rewrite("a room with a red ball, dusk", Change.parse("a ball => a green ball")) == (
        "a room with a green ball, dusk"
    )
    assert rewrite("a scene with a red ball", Change.parse("=> dusk")) == "a scene with a red ball, dusk"
    assert rewrite("a scene with a red ball", Change.parse("red => shiny")) == "a scene with a shiny ball"
    related = "a scene with a red cube left of a blue ball"
    changed = rewrite(related, Change.parse("a blue ball => a green ball"))
    assert changed == "a scene with a red cube left of a green ball"
    assert parse(changed).objects[1]["color"] == "green"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a red object => a blue object", "'a large red rubber ball on the left' or 'a small red metal cube"),
        ("a green ball => a blue ball", "'a large red rubber ball on the left'"),
        ("the ball => a red ball", "'a red ball'"),
        ("the ball => the ball on the right", "on the right"),
        ("=> a blue ball on the left", "on the left"),
    ],
)
def test_impossible_changes_are_rejected(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        rewrite(full_caption(SCENE), Change.parse(text))
