"""Odd portraits carry the labels that standard ones would, none where no word fits, and are the same for a seed."""

import dataclasses
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
import python_avatars as avatars
from hypothesis import given
from hypothesis import strategies as st

from latentedit_portraits import render as standard
from latentedit_portraits.attributes import NONE, VALUES, Attributes, draw, split_of
from latentedit_portraits.dataset import SIZE, UNNAMED
from latentedit_portraits.odd_portraits import (
    PART_NAMES,
    OddPortrait,
    color_name,
    draw_odd_portrait,
    lab,
    render_odd_portrait,
    render_odd_portraits,
)
from latentedit_portraits.variety import rasterize, seen_square

PARTS = {
    "hair": standard._HAIR_STYLE,
    "eyes": standard._EYES,
    "eyebrows": standard._EYEBROWS,
    "mouth": standard._MOUTH,
    "accessory": standard._ACCESSORY,
    "facial_hair": standard._FACIAL_HAIR,
    "clothes": standard._CLOTHES,
}
COLORS = {
    "skin": standard.SKIN,
    "hair_color": standard.HAIR,
    "facial_hair_color": standard.HAIR,
    "clothes_color": standard.CLOTHES,
    "background": standard.BACKGROUND,
}
NAMED_COLORS = [(name, value) for name in COLORS for value in VALUES[name] if value != NONE]


def standard_portrait(attributes: Attributes) -> OddPortrait:
    return OddPortrait(
        parts={name: table[getattr(attributes, name)] for name, table in PARTS.items()},
        colors={name: table[getattr(attributes, name)] for name, table in COLORS.items()},
        graphic=avatars.ClothingGraphic.NONE,
    )


@given(seed=st.integers(0, 10**9))
def test_a_standard_portrait_has_its_own_values_and_picture(seed: int) -> None:
    """Against the renderer of the training pictures: the same labels, and the same pixels on the same square."""
    attributes = draw(random.Random(seed))
    portrait = standard_portrait(attributes)
    assert portrait.labels == dataclasses.asdict(attributes)
    assert list(portrait.labels) == list(VALUES)
    pixels = rasterize(portrait.svg, seen_square(standard.Framing()), SIZE, portrait.colors["background"])
    assert np.abs(pixels.astype(int) - standard.render_array(attributes)).max() <= 2


def test_the_standard_part_of_a_value_comes_first() -> None:
    for name, names in PART_NAMES.items():
        first = {value: part for part, value in reversed(names.items())}
        assert first == PARTS[name]
        assert set(first) == set(VALUES[name])


@pytest.mark.parametrize(
    ("name", "part", "unnamed"),
    [
        ("eyes", avatars.EyeType.HEART, {"eyes"}),
        ("mouth", avatars.MouthType.VOMIT, {"mouth"}),
        ("eyebrows", avatars.EyebrowType.UNIBROW_NATURAL, {"eyebrows"}),
        ("accessory", avatars.AccessoryType.SUNGLASSES, {"accessory"}),
        ("clothes", avatars.ClothingType.BLAZER_SHIRT, {"clothes", "clothes_color"}),
        ("hair", avatars.HairType.DREADS, {"hair"}),
        ("hair", avatars.HairType.SHAVED_SIDES, {"hair", "hair_color"}),
        ("hair", avatars.HairType.STRAIGHT_2, {"hair_color"}),
        ("hair", avatars.HairType.FRO, set()),
        ("accessory", avatars.AccessoryType.PRESCRIPTION_1, set()),
    ],
)
def test_parts_without_a_word_are_not_asked_for(name: str, part: object, unnamed: set[str]) -> None:
    attributes = next(item for item in map(draw, map(random.Random, range(99))) if item.hair not in ("bald", "long"))
    portrait = standard_portrait(attributes)
    labels = dataclasses.replace(portrait, parts={**portrait.parts, name: part}).labels
    assert {name for name, value in labels.items() if value is None} == unnamed


@pytest.mark.parametrize("part", avatars.HairType)
def test_a_hair_colour_is_asked_for_only_where_it_shows(part: avatars.HairType) -> None:
    """Against the drawing itself: hair of another colour changes a visible share of the picture."""
    attributes = next(item for item in map(draw, map(random.Random, range(99))) if item.facial_hair == NONE)
    pictures = []
    for color in ("black", "pink"):
        portrait = standard_portrait(attributes)
        parts, colors = {**portrait.parts, "hair": part}, {**portrait.colors, "hair_color": standard.HAIR[color]}
        portrait = dataclasses.replace(portrait, parts=parts, colors=colors)
        pictures.append(rasterize(portrait.svg, seen_square(standard.Framing()), SIZE, "#ffffff").astype(int))
        asked = portrait.labels["hair_color"] == color
    shown = (np.abs(pictures[0] - pictures[1]).max(axis=2) > 30).mean()
    assert asked == (shown > 0.003)


# https://en.wikipedia.org/wiki/CIELAB_color_space: sRGB's primaries under D65, as commonly tabulated
@pytest.mark.parametrize(
    ("color", "expected"),
    [
        ("#ffffff", (100, 0, 0)),
        ("#000000", (0, 0, 0)),
        ("#ff0000", (53.24, 80.09, 67.20)),
        ("#00ff00", (87.73, -86.18, 83.18)),
        ("#0000ff", (32.30, 79.19, -107.86)),
        ("#777777", (50.03, 0, 0)),
    ],
)
def test_lab_of_the_primaries(color: str, expected: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(lab(color), expected, atol=0.03)  # their matrix has more digits


@pytest.mark.parametrize(("name", "value"), NAMED_COLORS)
def test_our_colours_have_their_names(name: str, value: str) -> None:
    color = COLORS[name][value]
    assert color_name(name, color) == value
    near = "#" + "".join(f"{max(0, int(color[i : i + 2], 16) - 5):02x}" for i in (1, 3, 5))
    assert color_name(name, near) == value


@pytest.mark.parametrize("name", COLORS)
def test_between_two_names_a_colour_has_none(name: str) -> None:
    """Along the line from one colour to another the name never changes without a stretch that has none."""
    values = [value for attribute, value in NAMED_COLORS if attribute == name]
    ends = [[int(COLORS[name][value][i : i + 2], 16) for i in (1, 3, 5)] for value in values]
    for index, first in enumerate(ends):
        second = ends[index - 1]
        line = np.linspace(first, second, 300).round().astype(int).tolist()
        names = [color_name(name, "#" + "".join(f"{part:02x}" for part in color)) for color in line]
        assert (names[0], names[-1]) == (values[index], values[index - 1])
        assert all(a == b or None in (a, b) for a, b in itertools.pairwise(names))


@pytest.mark.parametrize(
    ("name", "color"), [("skin", "#f5c698"), ("hair_color", "#5d3822"), ("background", "#a6b7f6"), ("skin", "#979ea5")]
)
def test_stated_ambiguous_colours_have_no_name(name: str, color: str) -> None:
    assert color_name(name, color) is None


def test_all_values_occur_and_none_of_the_other_splits() -> None:
    generator = random.Random(1)
    labels = [draw_odd_portrait(generator).labels for _ in range(500)]
    for name, values in VALUES.items():
        found = {item[name] for item in labels}
        assert found == {*values, None} - ({None} if name == "facial_hair" else set())
    whole = [Attributes(**item) for item in labels if None not in item.values()]
    assert len(whole) > 20
    assert {split_of(item) for item in whole} == {"train"}


def test_most_is_named() -> None:
    """Else nothing would be learnt: parts nearly always, colours mostly."""
    generator = random.Random(2)
    labels = [draw_odd_portrait(generator).labels for _ in range(300)]
    for name in VALUES:
        assert np.mean([item[name] is not None for item in labels]) > (0.9 if name in PARTS else 0.5)


def test_backgrounds_that_are_not_plain_are_not_asked_for() -> None:
    """Where a background is named, the picture's corner shows that colour; nothing else is taken from the labels."""
    generator = random.Random(3)
    plain = 0
    for _ in range(40):
        portrait = draw_odd_portrait(generator)
        pixels, labels = render_odd_portrait(portrait, generator)
        assert pixels.shape == (SIZE, SIZE, 3)
        assert {name for name in VALUES if labels[name] != portrait.labels[name]} <= {"background"}
        if labels["background"] is not None:
            color = "#" + "".join(f"{part:02x}" for part in pixels[2, 2])
            assert color_name("background", color) == labels["background"]
            plain += 1
    assert 5 < plain < 35


def test_portraits_are_kept_and_the_same_for_a_seed(tmp_path: Path) -> None:
    path, calls = tmp_path / "new" / "odd.npz", []
    first = render_odd_portraits(path, 12, seed=7, workers=1, progress=lambda *done: calls.append(done))
    assert calls == [(12, 12)]
    assert first.pixels.shape == (12, SIZE, SIZE, 3)
    assert first.labels.shape == (12, len(VALUES))
    assert ((first.labels >= UNNAMED) & (first.labels < [len(values) for values in VALUES.values()])).all()
    again = render_odd_portraits(path, 12, seed=7, progress=lambda *done: calls.append(done))
    assert len(calls) == 1
    anew = render_odd_portraits(tmp_path / "anew.npz", 12, seed=7, workers=1)
    for portraits in (again, anew):
        assert np.array_equal(portraits.pixels, first.pixels)
        assert np.array_equal(portraits.labels, first.labels)
    other = render_odd_portraits(tmp_path / "other.npz", 12, seed=8, workers=1)
    assert not np.array_equal(other.labels, first.labels)
