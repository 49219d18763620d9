"""``latentedit sweep``: sheet and animation on a tiny model, what is printed, and wrong input refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from latentedit.api.outputs import read_record
from tests.commands import Command, Refused

FROM, TO = "a person with no glasses", "a person with glasses"


@pytest.fixture
def arguments(picture: Path, miniature: Path) -> list[object]:
    return ["sweep", picture, "--from", FROM, "--to", TO, "--model", miniature, "--device", "cpu"]


@pytest.mark.nightly
def test_a_sheet_with_a_line_for_each_strength(
    command: Command, arguments: list[object], picture: Path, tmp_path: Path
) -> None:
    outcome = command(*arguments, "--strengths", "0:1:3")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == f"{picture} -> {tmp_path / 'me.sweep.png'}"
    assert [line.split()[0] for line in lines[1:]] == ["caption", "target", "method", "0.00", "0.50", "1.00", "cost"]
    assert Image.open(tmp_path / "me.sweep.png").width > 3 * 56
    record = read_record(tmp_path / "me.sweep.png")
    assert (record.output, record.strengths) == ("sweep", (0.0, 0.5, 1.0))
    told = json.loads((tmp_path / "me.sweep.json").read_text())
    assert [row["strength"] for row in told["results"]] == [0.0, 0.5, 1.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.png", "me.sweep.json", "me.sweep.png"]


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["out.png", "out.gif", "out.jpg", "out.html"])
def test_a_sweep_is_made_again(command: Command, arguments: list[object], tmp_path: Path, name: str) -> None:
    assert command(*arguments, "--strengths", "0,1", "--seed", 3, "-o", tmp_path / name).code == 0
    assert read_record(tmp_path / name).strengths == (0.0, 1.0)
    outcome = command("replay", tmp_path / name, "--model", arguments[-3])
    assert outcome.code == 0, outcome.err
    assert "yes, byte for byte" in outcome.out


@pytest.mark.slow
def test_changes_mask_and_local(command: Command, picture: Path, mask: Path, miniature: Path) -> None:
    """Several changes of a sweep are one direction."""
    changes = ("--change", "no glasses => glasses", "--change", "=> a smile")
    where = ("--mask", mask, "--no-local", "--model", miniature)
    outcome = command("sweep", picture, "--from", FROM, *changes, *where, "--strengths", "0,1", "--json")
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    assert facts["target"] == "a person with glasses, a smile"
    assert len(facts["record"]["directions"]) == 1
    assert facts["record"]["local"] is False
    assert facts["record"]["picture"]["mask"] is not None


@pytest.mark.nightly
def test_negative_strengths_and_json(command: Command, arguments: list[object], tmp_path: Path) -> None:
    outcome = command(*arguments, "--strengths=-1:1:3", "--json", "-o", tmp_path / "s.png")
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    assert [row["strength"] for row in facts["strengths"]] == [-1.0, 0.0, 1.0]
    assert facts["strengths"][1]["verdict"]["share"] == 0
    assert all(row["verdict"]["word"] in ("not done", "partly done", "done", "damaged") for row in facts["strengths"])
    assert facts["output"] == str(tmp_path / "s.png")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--strengths", "0:inf:3"], "for --strengths"),
        (["--strengths", "1:1:3"], "strengths"),
        (["--arm", "left"], "no arm 'left'"),
        (["--from", ""], "--from"),
        (["-o", "out.mp4"], ".gif"),
        (["--from", TO], "Name what should change"),
        (["--change", "=> a smile"], "exclude each other"),
        (["--mask", "no.png"], "no such file"),
        (["-o", "."], ".gif"),
        (["-o", "out.json"], "out.json"),
        (["--captioner", "reader", "--strengths", "0,0.1,nan"], "for --strengths"),
    ],
)
def test_wrong_input_is_one_line(
    refused: Refused, arguments: list[object], tmp_path: Path, more: list[str], words: str
) -> None:
    more = [str(tmp_path / item) if item.startswith("out.") else item for item in more]
    assert words in refused(*arguments, *more)


@pytest.mark.nightly
def test_a_direction_instead_of_words(
    command: Command, arguments: list[object], picture: Path, made: Callable[..., Path], tmp_path: Path
) -> None:
    """On the picture on which it was found, the sweep of its words."""
    assert command(*arguments, "--strengths", "0,1", "-o", tmp_path / "words.png").code == 0
    given = ("sweep", picture, "--direction", made("a"), "--from", FROM, *arguments[6:])
    outcome = command(*given, "--strengths", "0,1", "--json", "-o", tmp_path / "file.png")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["directions"] == [str(tmp_path / "a.safetensors")]
    assert (tmp_path / "file.png").read_bytes() == (tmp_path / "words.png").read_bytes()
    again = ("replay", tmp_path / "file.png", "--direction", tmp_path / "a.safetensors", "--model", arguments[-3])
    assert "yes, byte for byte" in command(*again).out


def test_words_directions_and_what_is_overwritten(
    refused: Refused, arguments: list[object], made: Callable[..., Path], picture: Path, tmp_path: Path, mask: Path
) -> None:
    assert "exclude each other" in refused(*arguments, "--direction", made("a"))
    missing = ("sweep", picture, "--direction", tmp_path / "no.safetensors", *arguments[6:])
    assert "no such file" in refused(*missing)
    assert "nothing says what the picture should show" in refused("sweep", picture, *arguments[6:])
    for place in (picture, mask):
        assert "another name" in refused(*arguments, "--mask", mask, "-o", place)
    (tmp_path / "me.sweep.json").write_text("[]")
    assert "holds something else" in refused(*arguments)


@pytest.mark.nightly
def test_a_sweep_by_another_method(command: Command, arguments: list[object], tmp_path: Path) -> None:
    """It says which, and is made again."""
    outcome = command(*arguments, "--method", "flowslider", "--strengths=-1:1:3", "--json", "-o", tmp_path / "s.png")
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    assert (facts["method"], facts["record"]["method"]) == ("flowslider", "flowslider")
    assert [row["strength"] for row in facts["strengths"]] == [-1, 0, 1]
    assert "yes, byte for byte" in command("replay", tmp_path / "s.png", "--model", arguments[-3]).out


def test_what_only_eim_does_is_refused_of_others(
    refused: Refused, arguments: list[object], made: Callable[..., Path], picture: Path
) -> None:
    """In the options of the command line."""
    other, along = ("--method", "flowslider"), ("sweep", picture, "--direction", made("a"), *arguments[6:])
    assert "'flowslider' cannot set --arm. Use --method eim" in refused(*arguments, *other, "--arm", "text")
    assert "'flowslider' cannot move along a --direction. Use --method eim" in refused(*along, *other)


@pytest.mark.nightly
def test_a_model_without_settings_is_swept_by_flowedit(
    command: Command, arguments: list[object], miniature: Path, tmp_path: Path
) -> None:
    untuned = tmp_path / "untuned"
    shutil.copytree(miniature, untuned)
    (untuned / "latentedit.json").unlink()
    outcome = command(*arguments[:-3], untuned, "--strengths", "0,1", "-o", tmp_path / "s.png")
    assert outcome.code == 0, outcome.err
    assert "choose with --method" in outcome.err
    assert ["method", "flowedit"] in [line.split() for line in outcome.out.splitlines()]
    named = command("edit", *arguments[1:-3], untuned, "--method", "flowedit", "-o", tmp_path / "e.png")
    assert (named.code, named.err) == (0, "")
    (tmp_path / "many").mkdir()
    shutil.copy(tmp_path / "me.png", tmp_path / "many")
    many = command("edit", tmp_path / "many", *arguments[2:-3], untuned, "--strength", 0, "--workers", 1)
    assert many.code == 0, many.err
    assert "choose with --method" in many.err
