"""``latentedit direction``: made, looked at, tried, applied, compared; and whatever else a file may hold."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from latentedit.api.outputs import read_record
from latentedit.core.files.tensors import read_tensor_file
from latentedit.directions.direction_file import FORMAT, load_direction
from latentedit.testing.miniature import miniature_sd3
from tests.commands import Command, Refused

FROM, TO = "a person with no glasses", "a person with glasses"
PARTS = ("z", "tokens", "pooled", "preview")
KEY = "latentedit.direction"


def stored(path: Path, told: dict[str, Any] | None = None, **tensors: torch.Tensor) -> None:
    """The same file with other things said, or other tensors, unchecked."""
    old, metadata = read_tensor_file(path, allowed=PARTS)
    text = json.dumps(json.loads(metadata[KEY]) | (told or {}))
    path.write_bytes(save(old | tensors, {KEY: text}))


def _without(path: Path, name: str) -> None:
    old, metadata = read_tensor_file(path, allowed=PARTS)
    del old[name]
    path.write_bytes(save(old, metadata))


HOSTILE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("dear diary"),
    "pickle": lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n."),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "too long": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "a header of 8 exabytes": lambda path: path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:]),
    "other tensors": lambda path: path.write_bytes(save({"weight": torch.zeros(2)})),
    "no words": lambda path: path.write_bytes(save({"z": torch.zeros(1, 2)})),
    "no latent": lambda path: _without(path, "z"),
    "nan": lambda path: stored(path, z=torch.full((1, 16, 8, 8), math.nan)),
    "a flat latent": lambda path: stored(path, z=torch.zeros(5)),
    "a newer format": lambda path: stored(path, {"format": FORMAT + 1}),
    "other facts": lambda path: stored(path, {"surprise": 1}),
    "no level": lambda path: stored(path, {"level": 7}),
    "a preview that is none": lambda path: stored(path, preview=torch.zeros(20, dtype=torch.uint8)),
}
"""What is wrong with a file that was a direction."""


def rewritten(path: Path, case: str) -> None:
    HOSTILE[case](path)


def labels(out: str) -> list[str]:
    return [line[2:14].strip() for line in out.splitlines()[1:]]


@pytest.mark.nightly
def test_a_direction_is_made_calibrated_and_shown(
    command: Command, picture: Path, other: Path, miniature: Path, tmp_path: Path
) -> None:
    place = tmp_path / "glasses.safetensors"
    pictures = ("direction", "make", picture, other)
    wanted = ("--from", FROM, "--change", "no glasses => glasses", "--licence", "CC0-1.0", "--seed", 4)
    outcome = command(*pictures, *wanted, "--model", miniature, "-o", place)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0] == str(place)
    for label in ("change", "strength", "method", "model", "direction", "licence", "preview"):
        assert label in labels(outcome.out)
    assert "no glasses => glasses" in outcome.out
    assert "2 pictures" in outcome.out
    assert command("direction", "show", place).out == outcome.out
    direction = load_direction(place)
    assert len(direction) == 1
    assert direction.settings["seed"] == 4
    facts = json.loads(command("direction", "show", place, "--json").out)
    assert (facts["licence"], facts["direction"]) == ("CC0-1.0", direction.fingerprint)
    assert direction.calibration is not None
    assert facts["calibration"]["scales"] == list(direction.calibration.scales)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["glasses.safetensors", "me.png", "other.png"]


@pytest.mark.nightly
def test_every_note_of_a_direction_is_told(command: Command, made: Callable[..., Path]) -> None:
    place = made("a")
    stored(place, {"notes": ["one", "two\n\x1b[31mthree"]})
    facts = json.loads(command("direction", "show", place, "--json").out)
    assert facts["notes"] == ["one", "two\n\x1b[31mthree"]
    out = command("direction", "show", place).out
    assert [line.split(maxsplit=1)[1] for line in out.splitlines() if line.startswith("  note")] == [
        "one",
        "two [31mthree",
    ]


def test_the_stored_preview(command: Command, made: Callable[..., Path], tmp_path: Path) -> None:
    place = made("a")
    outcome = command("direction", "preview", place)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{place} -> {tmp_path / 'a.preview.png'}\n"
    assert (tmp_path / "a.preview.png").read_bytes() == load_direction(place).preview
    assert command("direction", "preview", place, "--quiet", "-o", tmp_path / "p.png").out == ""


def test_the_stored_preview_is_of_the_strengths_that_it_has(refused: Refused, made: Callable[..., Path]) -> None:
    line = refused("direction", "preview", made("a"), "--strengths", "0,1", "--from", FROM)
    assert "--strengths and --from cannot be used here: they are for a picture" in line


def test_a_picture_of_the_directions_name_is_not_overwritten_by_its_preview(
    command: Command, picture: Path, made: Callable[..., Path]
) -> None:
    before = picture.read_bytes()
    assert command("direction", "preview", made("me")).code == 0
    assert picture.read_bytes() == before


@pytest.mark.nightly
def test_a_preview_on_a_picture_is_a_sweep(
    command: Command, made: Callable[..., Path], other: Path, miniature: Path, tmp_path: Path
) -> None:
    place = made("a")
    where = ("--on", other, "--from", FROM, "--model", miniature)
    outcome = command("direction", "preview", place, *where, "--strengths", "0,1", "-o", tmp_path / "p.png")
    assert outcome.code == 0, outcome.err
    record = read_record(tmp_path / "p.png")
    assert (record.output, record.strengths) == ("sweep", (0.0, 1.0))
    outcome = command("replay", tmp_path / "p.png", "--direction", place, "--model", miniature)
    assert "yes, byte for byte" in outcome.out
    assert command("direction", "preview", place, *where).code == 0
    known = load_direction(place).calibration
    assert known is not None
    strengths = read_record(tmp_path / "a.preview.png").strengths
    assert len(strengths) == 7
    assert strengths[0] == pytest.approx(max(known.lowest, -1), abs=0.006)
    assert strengths[-1] == pytest.approx(min(known.highest, 2), abs=0.006)


@pytest.mark.slow
def test_a_direction_is_applied_to_another_picture(
    command: Command, made: Callable[..., Path], other: Path, miniature: Path, tmp_path: Path
) -> None:
    place = made("a")
    arguments = ("direction", "apply", place, "--on", other, "--from", FROM, "--model", miniature)
    outcome = command(*arguments, "--strength", 0.5)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0] == f"{other} -> {tmp_path / 'other.edited.png'}"
    assert labels(outcome.out) == ["caption", "target", "method", "verdict", "effect", "cost", "again"]
    assert f"  target      {TO}\n" in outcome.out
    again = outcome.out.splitlines()[-1].split()[1:]
    assert again[:2] == ["latentedit", "replay"]
    outcome = command(*again[1:])
    assert outcome.code == 0, outcome.err
    assert "yes, byte for byte" in outcome.out
    facts = json.loads(command(*arguments, "--json", "-o", tmp_path / "j.png").out)
    assert facts["record"]["directions"][0]["given"] is True
    assert facts["directions"] == [str(place)]


def test_a_mask_and_quiet(
    command: Command, made: Callable[..., Path], other: Path, mask: Path, miniature: Path, tmp_path: Path
) -> None:
    arguments = ("--on", other, "--from", FROM, "--mask", mask, "--no-local", "--model", miniature)
    outcome = command("direction", "apply", made("a"), *arguments, "--quiet")
    assert (outcome.code, outcome.out) == (0, "")
    before, after = (np.asarray(Image.open(place)) for place in (other, tmp_path / "other.edited.png"))
    assert np.array_equal(before[:, 28:], after[:, 28:])
    assert not np.array_equal(before[:, :28], after[:, :28])
    assert read_record(tmp_path / "other.edited.png").local is False


@pytest.mark.nightly
def test_directions_are_compared(command: Command, made: Callable[..., Path]) -> None:
    files = (made("a"), made("b", to="a person with no glasses, a smile"))
    facts = json.loads(command("direction", "compare", *files, "--json").out)
    a, b = (load_direction(file).z.flatten().double() for file in files)
    assert facts["lengths"] == pytest.approx([float(a.norm()), float(b.norm())])
    cosine = float(a @ b / (a.norm() * b.norm()))
    assert np.array(facts["cosines"]) == pytest.approx(np.array([[1, cosine], [cosine, 1]]))
    talk = [[1, float(a @ b / (b @ b))], [float(a @ b / (a @ a)), 1]]
    assert np.array(facts["cross_talk"]) == pytest.approx(np.array(talk))
    out = command("direction", "compare", *files).out
    assert f"{cosine:+.3f}" in out
    assert f"{talk[0][1]:+.3f}" in out
    assert "glasses; length" in out
    assert "a smile; length" in out


def test_what_a_file_is_compared_with_and_shows(refused: Refused, made: Callable[..., Path]) -> None:
    place = made("a")
    assert "two or more" in refused("direction", "compare", place)
    other = made("b")
    stored(other, {"model_fingerprint": "f" * 16})
    found = refused("direction", "compare", place, other)
    assert "f" * 16 in found
    assert load_direction(place).model_fingerprint in found
    _without(place, "preview")
    assert "--on" in refused("direction", "preview", place)


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files(refused: Refused, made: Callable[..., Path], other: Path, miniature: Path, case: str) -> None:
    sound, place = made("a"), made("b")
    rewritten(place, case)
    on = ("--on", other, "--from", FROM, "--model", miniature)
    for arguments in (
        ("show", place),
        ("preview", place),
        ("preview", place, *on),
        ("apply", place, *on),
        ("apply", sound, place, *on),
        ("compare", sound, place),
    ):
        assert place.name in refused("direction", *arguments)


@pytest.mark.parametrize(
    "told",
    [
        {"settings": {"seed": "x"}},
        {"settings": {"seed": None}},
        {"settings": {"seed": [1]}},
        {"pictures": None, "settings": {"levels": 5}},
        {"pictures": None, "settings": {"steps": "many"}},
        {"pictures": None, "settings": {"levels": [{}, {}]}},
    ],
)
def test_settings_that_make_no_sense(
    refused: Refused,
    command: Command,
    made: Callable[..., Path],
    picture: Path,
    miniature: Path,
    told: dict[str, Any],
) -> None:
    """Also where the file claims that it was found on this very picture."""
    place = made("a")
    stored(place, {name: value for name, value in told.items() if value is not None})
    applied = ("direction", "apply", place, "--on", picture, "--from", FROM, "--model", miniature)
    assert "Make it again" in refused(*applied)
    assert command("direction", "show", place).code == 0


@pytest.mark.nightly
def test_a_direction_of_another_model_is_refused_by_both_fingerprints(
    refused: Refused, made: Callable[..., Path], other: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = made("a")
    stranger = miniature_sd3(tmp_path_factory.mktemp("other") / "other", t5=False, seed=1)
    for arguments in (("apply", place), ("preview", place)):
        found = refused("direction", *arguments, "--on", other, "--from", FROM, "--model", stranger)
        assert load_direction(place).model_fingerprint in found
        assert "'other'" in found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("make", "me.png", "--to", TO, "-o", "a.png"), ".safetensors"),
        (("make", "me.png", "--to", TO, "-o", "no/a.safetensors"), "does not exist. Create it"),
        (("make", "me.png", "--to", FROM, "-o", "a.safetensors"), "Name what should change"),
        (("make", "me.png", "-o", "a.safetensors"), "nothing says what the picture should show"),
        (("make", "me.png", "--change", "=>", "-o", "a.safetensors"), "OLD => NEW"),
        (("make", "me.png", "--change", "a hat =>", "-o", "a.safetensors"), "'a hat'"),
        (("make", "me.png", "no.png", "--to", TO, "-o", "a.safetensors"), "no such file"),
        (("make", ".", "--to", TO, "-o", "a.safetensors"), "folder"),
        (("apply", "a.safetensors", "--on", "no.png"), "no such file"),
        (("apply", "no.safetensors", "--on", "me.png"), "no such file"),
        (("apply", "a.safetensors", "--on", "me.png", "-o", "me.png"), "another name"),
        (("apply", "a.safetensors", "--on", "me.png", "--strength", "nan"), "for --strength"),
        (
            ("apply", "a.safetensors", "--on", "me.png", "--strength", "1", "--strength", "2"),
            "one for each of 1 changes; got 2",
        ),
        (("apply", "a.safetensors", "--on", "me.png", "--mixing", "blend"), "'blend'"),
        (("preview", "a.safetensors", "-o", "p.jpg"), ".png"),
        (("preview", "a.safetensors", "--on", "me.png", "-o", "me.png"), "another name"),
        (("preview", "a.safetensors", "--on", "me.png", "--strengths", "1"), "--strengths"),
        (("preview", "."), "folder"),
        (("show", "no.safetensors"), "no such file"),
    ],
)
def test_wrong_input_is_one_line(
    refused: Refused,
    made: Callable[..., Path],
    picture: Path,
    miniature: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(picture.parent)
    if arguments[0] != "make":
        made("a")
    source = ("--from", FROM) if arguments[0] == "make" or "--on" in arguments else ()
    model = () if arguments[0] == "show" else (*source, "--model", miniature)
    assert words in refused("direction", *arguments, *model)


@pytest.mark.parametrize("count", [1, 2])
def test_a_picture_of_another_shape(
    refused: Refused, made: Callable[..., Path], other: Path, miniature: Path, count: int
) -> None:
    files = [made("a"), made("b", to="a person with no glasses, a smile")][:count]
    Image.open(other).crop((0, 0, 20, 40)).save(other)
    for command in ("apply", "preview")[: 3 - count]:
        found = refused("direction", command, *files, "--on", other, "--from", FROM, "--model", miniature)
        assert "crop the picture" in found


@pytest.mark.slow
@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("case", ["x.png", "no/o.png", "other.png"])
def test_files_and_places_are_checked_before_the_model_is_loaded(
    command: Command, other: Path, tmp_path: Path, case: str
) -> None:
    place = tmp_path / "a.safetensors"
    place.write_bytes(b"no direction")
    (tmp_path / "x.json").write_text("[]")
    for wanted in (("apply", place), ("preview", place)):
        assert command("direction", *wanted, "--on", other, "-o", tmp_path / case).code == 2
        assert command("direction", *wanted, "--on", other).code == 2
    make = ("direction", "make", other, "--from", FROM)
    assert command(*make, "--to", TO, "-o", tmp_path / "a.png").code == 2
    assert command(*make, "-o", place).code == 2
    with pytest.raises(AssertionError, match="loaded"):
        command(*make, "--to", TO, "-o", place)
