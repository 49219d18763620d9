"""The description of a direction, in printable lines."""

import dataclasses
from typing import Any

import torch

from latentedit.core.condition import Condition
from latentedit.directions.description import describe
from latentedit.directions.direction import Direction
from latentedit.latents.captions.change import Change
from tests.directions.test_direction import PNG, example


def described(label: str, **changes: Any) -> str:
    return dict(describe(example(**changes)))[label]


def test_sizes_are_described_and_unknown_fields_are_omitted() -> None:
    bare = Direction(
        z=torch.zeros(2, 16, 8, 8),
        condition=Condition(tokens=torch.zeros(1, 64, 256), pooled=torch.zeros(1, 128)),
        level=1.0,
        method="text difference",
        settings={},
        model_name="m",
        model_fingerprint="f",
    )
    rows = dict(describe(bare))
    assert rows["direction"] == bare.fingerprint
    assert "; one for each of 2 images; 74.2 kB" in rows["size"]
    assert 4 * (2 * 16 * 64 + 64 * 256 + 128) == 74_240
    assert set(dict(describe(example()))) - set(rows) == {"settings", "preview", "note"}


def test_changes_settings_and_calibration_are_printable() -> None:
    change = described("change", source_captions=("a man, a smile",), target_captions=("a man, a sad look",))
    assert Change.parse(change).apply("a woman, a smile, a hat") == "a woman, a sad look, a hat"
    kinds = {"a": None, "b": True, "c": {"d": 1, "e": [0.1, "x"]}, "f": (), "g": {}}
    assert described("settings", settings=kinds) == "a none, b True, c (d 1, e [0.1, x]), f [], g ()"
    assert described("preview", preview=PNG + bytes(1492)) == "PNG, 1.5 kB"
    assert described("license", license="free\n\x1b[2J\u202eevil") == "free [2J evil"
    assert described("license", license="x" * 400) == "x" * 300 + "..."
    calibration = example().calibration
    assert calibration is not None
    limited = dataclasses.replace(calibration, lowest=-0.5, highest=1.25)
    assert described("strength", calibration=limited).startswith("from -0.50 up to 1.25 without damage")
