"""Records round-trip through JSON, and invalid ones are rejected in one line."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from PIL import Image

from latentedit.core.errors import ConfigError, FileFormatError
from latentedit.core.recipe import RECORD_FORMAT, Recipe
from latentedit.encoding.images import SourceImage
from latentedit.encoding.record import (
    MAX_EDITS,
    DirectionRecord,
    ImageRecord,
    ModelRecord,
    RunRecord,
    mask_fingerprint,
    versions,
)
from latentedit.photo.saving import MAX_RECORD_BYTES
from tests.editors.colors import ColorBackbone

RECIPE = Recipe(method="eim", settings={"arm": "image", "level": 0.75, "steps": 28}, auto_mask=True, refine=False)


def example_record(**fields: Any) -> RunRecord:
    defaults: dict[str, Any] = {
        "recipe": RECIPE,
        "seed": 3,
        "model": ModelRecord(name="portraits", fingerprint="f", dtype="float32", device="cpu"),
        "versions": {"latentedit": "0.1.0"},
        "image": ImageRecord(name="me.png", fingerprint="p"),
        "caption": "a man",
        "target_caption": "a man, a hät",
        "strengths": (1.0,),
        "evaluations": 48,
    }
    return RunRecord(**(defaults | fields))


def test_records_round_trip() -> None:
    """1, 1.0 and true stay distinct, and floats keep every bit."""
    settings = {"a": 1, "b": 1.0, "c": True, "d": 0.1 + 0.2, "e": -0.0, "f": 5e-324, "g": {"h": [None, "ä\n"]}}
    applied = DirectionRecord(
        fingerprint="d", method="hsds", settings=settings, strength=-0.5, target_caption="", given=True
    )
    previous = example_record(
        recipe=RECIPE.plain(settings=settings, combine="inverse", auto_mask=False),
        strengths=(-1.0, 0.1),
        directions=(applied, applied),
    )
    record = example_record(
        output="sweep", before=previous, references=(ImageRecord(name="b", fingerprint="q", mask="m"),)
    )
    text = record.to_json()
    assert "\n" not in text
    loaded = RunRecord.from_json(text, "me.png")
    assert repr(loaded) == repr(record)
    assert loaded.to_json() == text != example_record(seed=4).to_json()
    assert not example_record().instructed, "by default, a record has no instruction"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"seed": "3"}, "'seed'"),
        ({"seed": 3.5}, "'seed'"),
        ({"strengths": []}, "'strengths'"),
        ({"strengths": [1.0] * 65}, "'strengths': tuple should have at most 64 items"),
        ({"target_caption": "x" * 10_001}, "'target_caption': string should have at most 10000 characters"),
        ({"recipe": {**RECIPE.to_dict(), "auto_mask": "yes"}}, "'recipe': auto_mask"),
        ({"recipe": {**RECIPE.to_dict(), "combine": "blend"}}, "'recipe': there is no combine 'blend'"),
        ({"recipe": {**RECIPE.to_dict(), "fadee": 1}}, "'fadee'"),
        ({"recipe": {**RECIPE.to_dict(), "method": None}}, "'recipe': method"),
        ({"recipe": ["eim"]}, "'recipe'"),
        ({"model": {"name": "m"}}, "'model.fingerprint'"),
        ({"directions": [{"fingerprint": "f"}]}, "'directions.0.method'"),
        ({"before": {"seed": 3}}, "'before.recipe'"),
        ({"format": "2"}, "'format'"),
        ({"format": RECORD_FORMAT - 1, "what_was": "before"}, "by another version"),
        ({"format": RECORD_FORMAT + 1, "what_comes": "next"}, "by another version"),
        ({"output": "kept"}, "a result of latentedit keep"),
        ({"key": "sk-1"}, "'key'"),
        ({"a\n\x1b[31mb": 1}, r"'a\n\x1b[31mb'"),
        ({"x" * 5000: 1}, f"'{'x' * 80}'"),
        ({"evaluations": math.inf}, "Infinity"),
        ({"versions": {"a": "a" * MAX_RECORD_BYTES}}, f"more than {MAX_RECORD_BYTES}"),
        ("dear diary", "syntax error"),
        ("[]", "not a JSON object"),
        ("{}", "'recipe'"),
    ],
)
def test_errors_name_the_damaged_field(damage: Any, message: str) -> None:
    text = damage if isinstance(damage, str) else json.dumps(json.loads(example_record().to_json()) | damage)
    with pytest.raises(FileFormatError) as error:
        RunRecord.from_json(text, "me.png")
    found = str(error.value)
    assert message in found
    assert "me.png" in found
    assert (len(found.splitlines()), len(found) < 400) == (1, True)


def test_unreadable_records_are_not_written() -> None:
    for value in (math.nan, math.inf):
        for changes in ({"evaluations": value}, {"strengths": (value,)}):
            with pytest.raises(pydantic.ValidationError):
                example_record(**changes)
    record = example_record().model_copy(update={"strengths": (1.0,) * 64})
    assert RunRecord.from_json(record.to_json(), "me")
    with pytest.raises(ConfigError, match=r"64.*65"):
        record.model_copy(update={"strengths": (1.0,) * 65}).to_json()
    record = example_record()
    for _ in range(MAX_EDITS - 1):
        record = example_record(before=record)
    assert RunRecord.from_json(record.to_json(), "me.png") == record
    with pytest.raises(ConfigError):
        example_record(before=record).to_json()


@pytest.mark.parametrize(
    ("path", "name"),
    [(None, ""), ("folder/me.png", "me.png"), ("/home/me/me.png", "me.png"), ("m\udcff.png", "m?.png")],
)
def test_image_records_have_the_fingerprint_and_the_file_name(path: str | None, name: str) -> None:
    image = SourceImage(image=Image.new("RGB", (4, 2), (1, 2, 3)), path=None if path is None else Path(path))
    allowed = np.zeros((2, 4), dtype=np.uint8)
    recorded = ImageRecord.of(image, allowed)
    assert (recorded.name, recorded.fingerprint) == (name, image.fingerprint)
    assert recorded.mask == mask_fingerprint(allowed) == hashlib.sha256(bytes(8)).hexdigest()[:16]
    assert mask_fingerprint(allowed + 1) != recorded.mask
    assert ImageRecord.of(image).mask is None
    assert "/" not in recorded.model_dump_json()
    example_record(image=recorded).check_image(image)
    with pytest.raises(ConfigError):
        example_record(image=recorded).check_image(SourceImage(image=Image.new("RGB", (4, 2))))


def test_model_records_omit_the_folder() -> None:
    model = ColorBackbone()
    for name, recorded in (("/home/me/models/portraits", "portraits"), ("org/name@main", "org/name@main")):
        model.name = name
        assert ModelRecord.of(model).name == recorded


def test_installed_versions_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert versions()["torch"] == torch.__version__
    assert set(versions()) == {"python", "latentedit", "torch", "diffusers", "transformers"}
    monkeypatch.setattr("latentedit.encoding.record._RECORDED", ("no-such-package",))
    assert versions()["no-such-package"] == "unknown"
