"""What a direction is said to be is what it is, in lines that can be printed."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given

from latentedit.core.condition import Condition
from latentedit.directions.base import Calibration, Direction
from latentedit.directions.description import describe
from latentedit.latents.captions.change import Change
from tests.directions.test_direction_file import PNG, directions, example


def test_every_row() -> None:
    assert describe(example()) == [
        ("change", "=> a hät"),
        ("strength", "up to 1.50 without damage, by the joint arm, level 0.75, 24 steps"),
        ("method", "hsds, from level 0.75"),
        ("settings", "gamma 0.5, levels [0.95, 0.3]"),
        ("model", "portraits (0123456789abcdef)"),
        ("direction", example().fingerprint),
        ("found on", "1 picture"),
        ("licence", "CC-BY-4.0"),
        ("size", "latent 2, tokens 1 x 2, pooled 0; one for any picture; 0.0 kB"),
        ("preview", "PNG, 0.0 kB"),
        ("note", "a note"),
    ]


def test_what_is_not_known_is_said_or_left_out() -> None:
    bare = Direction(
        z=torch.zeros(2, 16, 8, 8),
        condition=Condition(tokens=torch.zeros(1, 64, 256), pooled=torch.zeros(1, 128)),
        level=1.0,
        method="text difference",
        settings={},
        model_name="m",
        model_fingerprint="f",
    )
    assert describe(bare) == [
        ("change", "not known in words"),
        ("strength", "not calibrated"),
        ("method", "text difference, from level 1"),
        ("model", "m (f)"),
        ("direction", bare.fingerprint),
        ("found on", "pictures that are not named"),
        ("licence", "none given"),
        ("size", "latent 16 x 8 x 8, tokens 64 x 256, pooled 128; one for each of 2 pictures; 74.2 kB"),
    ]
    assert 4 * (2 * 16 * 64 + 64 * 256 + 128) == 74_240


def row(label: str, **changes: Any) -> str:
    return dict(describe(example(**changes)))[label]


@pytest.mark.parametrize(
    ("sources", "targets", "told"),
    [
        (("a man, a hat",), ("a man",), "a hat =>"),
        (("a man",), ("a man, a hat",), "=> a hat"),
        (("a man, pale skin",), ("a man, dark skin",), "pale skin => dark skin"),
        (("a man",), ("a man",), "nothing"),
        (("a man, a hat", "a cat, a hat"), ("a man", "a cat"), "a hat =>"),
        (("a", "b"), ("a, x", "b, y"), "=> x; => y"),
        (tuple("abcde"), tuple(f"{name}, {name} hat" for name in "abcde"), "=> a hat; => b hat; => c hat; and 2 more"),
        (("a", "b"), ("", "b, x"), "=> x"),
        (("a",), ("",), "not known in words"),
        ((), ("a",), "not known in words"),
    ],
)
def test_changes_in_words(sources: tuple[str, ...], targets: tuple[str, ...], told: str) -> None:
    assert row("change", source_captions=sources, target_captions=targets) == told


def test_settings_can_be_printed_and_asked_for_again() -> None:
    told = row("change", source_captions=("a man, a smile",), target_captions=("a man, a sad look",))
    assert Change.parse(told).apply("a woman, a smile, a hat") == "a woman, a sad look, a hat"
    kinds = {"a": None, "b": True, "c": {"d": 1, "e": [0.1, "x"]}, "f": (), "g": {}}
    assert row("settings", settings=kinds) == "a none, b True, c (d 1, e [0.1, x]), f [], g ()"
    assert row("found on", pictures=("p", "q")) == "2 pictures"
    assert row("preview", preview=PNG + bytes(1492)) == "PNG, 1.5 kB"
    assert row("licence", licence="free\n\x1b[2J\u202eevil") == "free [2J evil"
    assert row("licence", licence="x" * 400) == "x" * 300 + "..."


@pytest.mark.parametrize(
    ("lowest", "highest", "told"),
    [
        (-0.5, 1.25, "from -0.50 up to 1.25 without"),
        (-0.5, math.inf, "from -0.50 without"),
        (-math.inf, math.inf, "any without"),
    ],
)
def test_ranges(lowest: float, highest: float, told: str) -> None:
    known = Calibration(
        arm="text", level=0.5, steps=1, scales=(0.0, 1.0), effects=(0.0, 1.0), lowest=lowest, highest=highest
    )
    assert row("strength", calibration=known) == f"{told} damage, by the text arm, level 0.5, 1 step"


@pytest.mark.slow
@given(direction=directions())
def test_whoever_wrote_it_it_can_be_printed(direction: Direction) -> None:
    for label, text in describe(direction):
        assert len(label) < 12
        assert text.isprintable()
        assert len(text) <= 303
