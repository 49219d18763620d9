"""``latentedit sweep``: sheet and animation on a tiny model, what is printed, and wrong input refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Command

FROM, TO = "a person with no glasses", "a person with glasses"


@pytest.fixture
def arguments(picture: Path, miniature: Path) -> list[object]:
    return ["sweep", picture, "--from", FROM, "--to", TO, "--model", miniature, "--device", "cpu"]


def test_a_sheet_with_a_line_for_each_strength(
    command: Command, arguments: list[object], picture: Path, tmp_path: Path
) -> None:
    outcome = command(*arguments, "--strengths", "0:1:3")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == f"{picture} -> {tmp_path / 'me.sweep.png'}"
    assert [line.split()[0] for line in lines[1:]] == ["caption", "target", "0.00", "0.50", "1.00", "cost"]
    assert "measured 0.50" in outcome.out or "damaged 0.50" in outcome.out
    assert Image.open(tmp_path / "me.sweep.png").width > 3 * 56


@pytest.mark.parametrize(("name", "frames"), [("out.gif", 4), ("out.webp", 4)])
def test_an_animation_goes_there_and_back(
    command: Command, arguments: list[object], tmp_path: Path, name: str, frames: int
) -> None:
    assert command(*arguments, "--strengths", "0,0.5,1", "-o", tmp_path / name).code == 0
    with Image.open(tmp_path / name) as image:
        assert image.n_frames == frames


def test_negative_strengths_and_json(command: Command, arguments: list[object], tmp_path: Path) -> None:
    outcome = command(*arguments, "--strengths=-1:1:3", "--json", "-o", tmp_path / "s.png")
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    assert [row["strength"] for row in facts["strengths"]] == [-1.0, 0.0, 1.0]
    assert facts["strengths"][1]["measured_strength"] == 0
    assert all(row["verdict"]["word"] in ("changed", "nothing changed", "damaged") for row in facts["strengths"])
    assert facts["output"] == str(tmp_path / "s.png")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--strengths", "0:inf:3"], "finite"),
        (["--strengths", "1:1:3"], "strengths"),
        (["--arm", "left"], "image, text, joint"),
        (["--from", ""], "--from"),
        (["-o", "out.mp4"], ".gif"),
        (["--from", TO], "Name what should change"),
    ],
)
def test_wrong_input_is_one_line(
    refused: Callable[..., str], arguments: list[object], tmp_path: Path, more: list[str], words: str
) -> None:
    more = [str(tmp_path / item) if item.startswith("out.") else item for item in more]
    assert words in refused(*arguments, *more)
