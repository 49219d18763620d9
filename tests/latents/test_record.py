"""Records survive their text, and whatever else a file says is refused in one line."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from latentedit.core.errors import ConfigError, FileFormatError
from latentedit.latents.pictures import Picture
from latentedit.latents.record import (
    FORMAT,
    MAX_EDITS,
    DirectionRecord,
    ModelRecord,
    PictureRecord,
    RunRecord,
    mask_fingerprint,
    versions,
)
from latentedit_keep.pictures import MAX_RECORD_BYTES

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**70), 2**70)
PLAIN = st.recursive(
    st.none() | st.booleans() | WHOLE | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SETTINGS = st.dictionaries(TEXT, PLAIN, max_size=3)
DIRECTIONS = st.builds(
    DirectionRecord,
    fingerprint=TEXT,
    method=TEXT,
    settings=SETTINGS,
    strength=NUMBER,
    target_caption=TEXT,
    given=st.booleans(),
)


def records(before: st.SearchStrategy[RunRecord | None]) -> st.SearchStrategy[RunRecord]:
    return st.builds(
        RunRecord,
        output=st.sampled_from(["picture", "sheet", "sweep"]),
        method=TEXT,
        settings=SETTINGS,
        seed=WHOLE,
        model=st.builds(ModelRecord, name=TEXT, fingerprint=TEXT, dtype=TEXT, device=TEXT),
        versions=st.dictionaries(TEXT, TEXT, max_size=2),
        picture=st.builds(PictureRecord, name=TEXT, fingerprint=TEXT, mask=st.none() | TEXT),
        caption=TEXT,
        target_caption=TEXT,
        strengths=st.lists(NUMBER, min_size=1, max_size=3).map(tuple),
        directions=st.lists(DIRECTIONS, max_size=2).map(tuple),
        mixing=st.sampled_from(["sum", "inverse", "projection"]),
        local=st.booleans(),
        evaluations=NUMBER,
        before=before,
    )


def example(**more: Any) -> RunRecord:
    told: dict[str, Any] = {
        "method": "eim",
        "settings": {"arm": "image", "level": 0.75, "steps": 28},
        "seed": 3,
        "model": ModelRecord(name="portraits", fingerprint="f", dtype="float32", device="cpu"),
        "versions": {"latentedit": "0.1.0"},
        "picture": PictureRecord(name="me.png", fingerprint="p"),
        "caption": "a man",
        "target_caption": "a man, a hät",
        "strengths": (1.0,),
        "evaluations": 48,
    }
    return RunRecord(**(told | more))


def refusal(text: str) -> str:
    with pytest.raises(FileFormatError) as caught:
        RunRecord.from_json(text, "me.png")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400
    assert "me.png" in str(caught.value)
    return str(caught.value)


@pytest.mark.nightly
@given(record=records(st.none() | records(st.none())))
def test_what_is_written_is_read_again(record: RunRecord) -> None:
    text = record.to_json()
    assert "\n" not in text
    again = RunRecord.from_json(text, "me.png")
    assert again == record
    assert again.to_json() == text


def test_numbers_and_texts_are_kept() -> None:
    """1 is not 1.0, nor true, and a number keeps its last bit."""
    told = {"a": 1, "b": 1.0, "c": True, "d": 0.1 + 0.2, "e": -0.0, "f": 5e-324}
    assert repr(RunRecord.from_json(example(settings=told).to_json(), "me.png").settings) == repr(told)
    assert example().to_json() == example().to_json()
    assert example().to_json() != example(seed=4).to_json()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON"),
        ("dear diary", "no JSON"),
        ("[]", "no JSON object"),
        ("null", "no JSON object"),
        ("{}", "'method'"),
        ('{"format": 1, "format": 1}', "the name 'format' twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"seed": "\\ud800"}', "no UTF-8"),
        ('{"seed": 1' + "0" * 5000 + "}", "a number of 5001 digits"),
    ],
)
def test_other_texts_are_refused(text: str, words: str) -> None:
    assert words in refusal(text)


def test_texts_that_are_no_record_of_ours() -> None:
    text = example().to_json()
    for length in range(len(text)):
        refusal(text[:length])
    told = json.loads(example().to_json()) | {"format": FORMAT + 1, "what_comes": "next"}
    assert "from a newer latentedit" in refusal(json.dumps(told))
    text = example(settings={"a": "a" * MAX_RECORD_BYTES}).to_json()
    assert f"more than {MAX_RECORD_BYTES}" in refusal(text)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"seed": None}, "'seed'"),
        ({"seed": "3"}, "'seed'"),
        ({"seed": True}, "'seed'"),
        ({"seed": 3.5}, "'seed'"),
        ({"strengths": []}, "'strengths'"),
        ({"strengths": 1.0}, "'strengths'"),
        ({"strengths": ["one"]}, "'strengths.0'"),
        ({"local": "yes"}, "'local'"),
        ({"mixing": "blend"}, "'mixing'"),
        ({"output": "song"}, "'output'"),
        ({"settings": []}, "'settings'"),
        ({"model": {"name": "m"}}, "'model.fingerprint'"),
        ({"picture": {"name": "p", "fingerprint": 3}}, "'picture.fingerprint'"),
        ({"directions": [{"fingerprint": "f"}]}, "'directions.0.method'"),
        ({"before": {"method": "eim"}}, "'before.settings'"),
        ({"format": 0}, "'format'"),
        ({"format": "1"}, "'format'"),
        ({"key": "sk-1"}, "'key'"),
        ({"a\n\x1b[31mb": 1}, r"'a\n\x1b[31mb'"),
        ({"x" * 5000: 1}, "xxx'"),
    ],
)
def test_a_damaged_record_is_refused_where_it_is_damaged(damage: dict[str, Any], words: str) -> None:
    assert words in refusal(json.dumps(json.loads(example().to_json()) | damage))


@pytest.mark.parametrize("name", ["seed", "settings", "strengths", "model", "picture", "versions", "evaluations"])
def test_a_record_without_a_part_is_refused(name: str) -> None:
    told = json.loads(example().to_json())
    del told[name]
    assert f"'{name}'" in refusal(json.dumps(told))


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("name", ["evaluations", "strengths", "settings"])
def test_numbers_that_are_none_are_refused(word: str, name: str) -> None:
    value = f"[{word}]" if name == "strengths" else f'{{"level": {word}}}' if name == "settings" else word
    told = json.loads(example().to_json())
    del told[name]
    text = f'{{"{name}": {value}, {json.dumps(told)[1:]}'
    if (name, word) == ("settings", "1e999"):  # settings are whatever JSON holds; the editor looks at them
        assert RunRecord.from_json(text, "me.png").settings == {"level": float("inf")}
    else:
        refusal(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_never_recorded(value: float) -> None:
    for changes in ({"evaluations": value}, {"strengths": (value,)}):
        with pytest.raises(ValueError, match="finite"):
            example(**changes)


def test_edits_that_go_on_from_each_other_have_an_end() -> None:
    record = example()
    for _ in range(MAX_EDITS - 1):
        record = example(before=record)
    assert RunRecord.from_json(record.to_json(), "me.png") == record
    with pytest.raises(ConfigError, match=f"at most {MAX_EDITS} edits") as caught:
        example(before=record).to_json()
    assert "\n" not in str(caught.value)
    refusal('{"before": ' * 5000 + "null" + "}" * 5000)


@pytest.mark.parametrize(
    ("path", "name"),
    [(None, ""), ("folder/me.png", "me.png"), ("/home/me/me.png", "me.png"), ("m\udcff.png", "m?.png")],
)
def test_a_picture_is_known_by_its_pixels_and_the_name_of_its_file(path: str | None, name: str) -> None:
    picture = Picture(image=Image.new("RGB", (4, 2), (1, 2, 3)), path=None if path is None else Path(path))
    allowed = np.zeros((2, 4), dtype=np.uint8)
    told = PictureRecord.of(picture, allowed)
    assert (told.name, told.fingerprint) == (name, picture.fingerprint)
    assert told.mask == mask_fingerprint(allowed) == hashlib.sha256(bytes(8)).hexdigest()[:16]
    assert mask_fingerprint(allowed + 1) != told.mask
    assert PictureRecord.of(picture).mask is None
    assert "/" not in told.model_dump_json()


def test_versions_are_those_that_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert versions()["torch"] == torch.__version__
    assert set(versions()) == {"python", "latentedit", "torch", "diffusers", "transformers"}
    monkeypatch.setattr("latentedit.latents.record._RECORDED", ("no-such-package",))
    assert versions()["no-such-package"] == "unknown"


def test_a_record_of_more_strengths_than_a_sweep_has_is_neither_written_nor_read() -> None:
    """L4 of the fuzzing: replaying three thousand would take days."""
    record = example(strengths=(1.0,))
    text = record.to_json()
    with pytest.raises(FileFormatError, match=r"'strengths': tuple should have at most 64 items"):
        RunRecord.from_json(text.replace("[1.0]", f"{[1.0] * 65}"), "me")
    with pytest.raises(FileFormatError, match=r"'target_caption': string should have at most 10000 characters"):
        RunRecord.from_json(record.model_copy(update={"target_caption": "x" * 10_001}).to_json(), "me")
    assert RunRecord.from_json(record.model_copy(update={"strengths": (1.0,) * 64}).to_json(), "me")
    with pytest.raises(ConfigError, match="a record holds at most 64 strengths; got 65"):
        record.model_copy(update={"strengths": (1.0,) * 65}).to_json()
