"""``latentedit direction``: make, show, preview, apply and compare."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentedit.directions.direction import Direction
from latentedit.editing.outputs import read_record
from tests.commands import Command, Ran

FROM, TO = "a person with no glasses", "a person with glasses"


@pytest.mark.nightly
def test_a_direction_is_made_calibrated_and_shown(
    command: Command, ran: Ran, image: Path, other: Path, miniature: Path, tmp_path: Path
) -> None:
    place = tmp_path / "glasses.safetensors"
    images = ("direction", "make", image, other)
    wanted = ("--source-prompt", FROM, "--change", "no glasses => glasses", "--license", "CC0-1.0", "--seed", 4)
    printed = ran(*images, *wanted, "--model", miniature, "-o", place)
    assert printed.splitlines()[0] == str(place)
    assert "no glasses => glasses" in printed
    assert "2 images" in printed
    assert command("direction", "show", place).out == printed
    direction = Direction.load(place)
    assert len(direction) == 1
    assert direction.settings["seed"] == 4
    facts = json.loads(command("direction", "show", place, "--json").out)
    assert (facts["license"], facts["direction"]) == ("CC0-1.0", direction.fingerprint)
    assert direction.calibration is not None
    assert facts["calibration"]["scales"] == list(direction.calibration.scales)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["glasses.safetensors", "me.png", "other.png"]


def test_the_stored_preview_is_written(command: Command, ran: Ran, made: Callable[..., Path], tmp_path: Path) -> None:
    place = made("a")
    printed = ran("direction", "preview", place)
    assert printed == f"{place} -> {tmp_path / 'a.preview.png'}\n"
    assert (tmp_path / "a.preview.png").read_bytes() == Direction.load(place).preview
    assert command("direction", "preview", place, "--quiet", "-o", tmp_path / "p.png").out == ""


def test_a_preview_overwrites_no_image_of_the_same_name(
    command: Command, image: Path, made: Callable[..., Path]
) -> None:
    before = image.read_bytes()
    assert command("direction", "preview", made("me")).code == 0
    assert image.read_bytes() == before


@pytest.mark.nightly
def test_a_preview_on_an_image_is_a_sweep(
    command: Command, ran: Ran, made: Callable[..., Path], other: Path, miniature: Path, tmp_path: Path
) -> None:
    place = made("a")
    where = ("--on", other, "--source-prompt", FROM, "--model", miniature)
    ran("direction", "preview", place, *where, "--strengths", "0,1", "-o", tmp_path / "p.png")
    record = read_record(tmp_path / "p.png")
    assert (record.output, record.strengths) == ("sweep", (0.0, 1.0))
    assert command("direction", "preview", place, *where).code == 0
    known = Direction.load(place).calibration
    assert known is not None
    strengths = read_record(tmp_path / "a.preview.png").strengths
    assert len(strengths) == 7
    assert strengths[0] == pytest.approx(max(known.lowest, -1), abs=0.006)
    assert strengths[-1] == pytest.approx(min(known.highest, 2), abs=0.006)


@pytest.mark.slow
def test_a_direction_is_applied_to_another_image(
    command: Command, ran: Ran, made: Callable[..., Path], other: Path, miniature: Path, tmp_path: Path
) -> None:
    place = made("a")
    arguments = ("edit", other, "--direction", place, "--source-prompt", FROM, "--model", miniature)
    printed = ran(*arguments, "--strength", 0.5)
    assert printed.splitlines()[0] == f"{other} -> {tmp_path / 'other.edited.png'}"
    assert f"  target      {TO}\n" in printed
    again = printed.splitlines()[-1].split()[1:]
    assert again[:2] == ["latentedit", "replay"]
    assert "yes, byte for byte" in ran(*again[1:])
    facts = json.loads(command(*arguments, "--json", "-o", tmp_path / "j.png").out)
    assert facts["record"]["directions"][0]["given"] is True
    assert facts["directions"] == [str(place)]


@pytest.mark.slow
def test_directions_are_compared(command: Command, made: Callable[..., Path]) -> None:
    files = (made("a"), made("b", to="a person with no glasses, a smile"))
    facts = json.loads(command("direction", "compare", *files, "--json").out)
    a, b = (Direction.load(file).z.flatten().double() for file in files)
    assert facts["lengths"] == pytest.approx([float(a.norm()), float(b.norm())])
    cosine = float(a @ b / (a.norm() * b.norm()))
    assert np.array(facts["cosines"]) == pytest.approx(np.array([[1, cosine], [cosine, 1]]))
    talk = [[1, float(a @ b / (b @ b))], [float(a @ b / (a @ a)), 1]]
    assert np.array(facts["cross_talk"]) == pytest.approx(np.array(talk))
    assert f"{cosine:+.3f}" in command("direction", "compare", *files).out
