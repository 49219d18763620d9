import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentedit_portraits import captions
from latentedit_portraits.attributes import Attributes, draw_split
from latentedit_portraits.captions import (
    MAX_TOKENS,
    draw_caption,
    full_caption,
    parse,
    phrases_for,
    statements,
    vocabulary,
    words_of,
)

seeds = st.integers(0, 2**32)


@given(seeds)
def test_parsing_a_full_caption_gives_every_attribute(seed: int) -> None:
    attributes = Attributes.draw(random.Random(seed))
    assert parse(full_caption(attributes)) == dataclasses.asdict(attributes)


@given(seeds)
def test_a_random_caption_is_true_and_fits_the_encoders(seed: int) -> None:
    generator = random.Random(seed)
    attributes = Attributes.draw(generator)
    caption = draw_caption(attributes, generator)
    assert all(getattr(attributes, name) == value for name, value in parse(caption).items())
    assert len(words_of(caption)) + 2 <= MAX_TOKENS
    assert set(words_of(caption)) <= set(vocabulary())


def test_random_captions_are_full_partial_or_empty() -> None:
    """The standard deviation of the share of full captions is 0.03."""
    generator, portraits = random.Random(0), draw_split("train", 200, 0)
    stated = [parse(draw_caption(attributes, generator, empty=0.0)) for attributes in portraits]
    full = [found == dataclasses.asdict(one) for found, one in zip(stated, portraits, strict=True)]
    assert sum(full) / len(full) == pytest.approx(captions._FULL, abs=0.15)
    assert min(map(len, stated)) < 9
    assert draw_caption(portraits[0], generator, empty=1.0) == ""


@pytest.mark.parametrize(
    ("caption", "meaning"),
    [
        ("a person with red overalls", {"clothes": "overalls", "clothes_color": "red"}),
        ("long red hair and glasses", {"hair": "long", "hair_color": "ginger", "accessory": "glasses"}),
        ("a bald head, winking", {"hair": "bald", "hair_color": "none", "eyes": "winking"}),
        (
            "a tall man with glasses in red overalls, smiling.",
            {"accessory": "glasses", "clothes": "overalls", "clothes_color": "red", "mouth": "smile"},
        ),
        ("a man wearing round glasses on a white background", {"accessory": "round glasses", "background": "white"}),
        ("a person, with Wide\n eyes", {"eyes": "wide"}),
        ("a spaceship", {}),
    ],
)
def test_parsed_examples(caption: str, meaning: dict[str, str]) -> None:
    assert parse(caption) == meaning


@given(seeds)
def test_statements_have_the_position_of_their_phrase(seed: int) -> None:
    generator = random.Random(seed)
    caption = draw_caption(Attributes.draw(generator), generator, empty=0.0)
    found = statements(caption)
    assert all(caption[phrase.start : phrase.end] == phrase.text for phrase, _ in found)
    assert caption.endswith(", ".join(phrase.text for phrase, _ in found))
    assert [parse(phrase.text) for phrase, _ in found] == [meaning for _, meaning in found]


@pytest.mark.parametrize(
    ("field", "value", "color", "phrases"),
    [
        ("eyes", "closed", None, ["closed eyes", "eyes closed", "shut eyes"]),
        ("hair", "long", "blonde", ["long blonde hair", "long blond hair", "blonde long hair", "blond long hair"]),
        ("hair", "long", None, ["long hair"]),
        ("hair", "bald", "none", ["a bald head", "bald", "no hair"]),
        ("clothes", "overalls", "red", ["red overalls", "red dungarees"]),
        ("background", "pink", None, ["on a pink background", "a pink background", "pink background"]),
    ],
)
def test_phrases_of_examples(field: str, value: str, color: str | None, phrases: list[str]) -> None:
    assert phrases_for(field, value, color) == phrases
