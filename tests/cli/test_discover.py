"""``latentedit discover`` on a tiny model: its folder and JSON, and an edit along what it found."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentedit.directions.direction import load_direction
from latentedit.editing.outputs import read_record
from tests.commands import Command

pytestmark = pytest.mark.slow


@pytest.fixture
def arguments(picture: Path, miniature: Path, tmp_path: Path) -> list[object]:
    where = ("--model", miniature, "--device", "cpu", "-o", tmp_path / "out")
    return ["discover", picture, "--rank", 2, "--site", "clean", "--level", 0.3, *where]


@pytest.fixture
def discovered(
    command: Command, arguments: list[object], kept_files: dict[tuple[object, ...], bytes], tmp_path: Path
) -> Path:
    """The folder, made once for all tests that read it."""
    kept = {asked[1]: data for asked, data in kept_files.items() if asked[0] == "discovered"}
    if not kept:
        assert command(*arguments, "--quiet").code == 0
        kept_files |= {("discovered", path.name): path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out").mkdir(exist_ok=True)
    for name, data in kept.items():
        (tmp_path / "out" / str(name)).write_bytes(data)
    return tmp_path / "out"


@pytest.mark.nightly
def test_the_folder_is_what_json_says_and_the_named_command_sweeps(
    command: Command, arguments: list[object], tmp_path: Path
) -> None:
    outcome = command(*arguments, "--prompt", "a person with glasses", "--from", "a person", "--seed", 5, "--json")
    assert outcome.code == 0, outcome.err
    facts, folder = json.loads(outcome.out), tmp_path / "out"
    told = json.loads((folder / "discovered.json").read_text())
    assert {name: facts[name] for name in told} == told
    assert [told["record"][name] for name in ("caption", "prompt", "seed", "rank", "site")] == [
        "a person",
        "a person with glasses",
        5,
        2,
        "clean",
    ]
    assert facts["directions"][0]["singular_value"] >= facts["directions"][1]["singular_value"]
    assert facts["basis"]["products"] > 0
    names = [row["file"] for row in facts["directions"]]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "directions.png", "discovered.json"])
    direction = load_direction(folder / names[0])
    assert (direction.source_captions, direction.settings["prompt"]) == (("a person",), "a person with glasses")
    shutil.rmtree(folder)
    trial = shlex.split(command(*arguments).out.splitlines()[-1].split(maxsplit=1)[1])
    assert trial[:2] == ["latentedit", "sweep"]
    assert command(*trial[1:], "-o", tmp_path / "s.png").code == 0, "nobody reads the picture, and nobody has to"
    assert len(read_record(tmp_path / "s.png").strengths) == 5


@pytest.mark.nightly
def test_what_was_discovered_is_applied_and_made_again(
    command: Command, discovered: Path, picture: Path, miniature: Path, tmp_path: Path
) -> None:
    """Under another caption than the directions were found under, which was none: the picture moves all the same."""
    files = sorted(discovered.glob("*.safetensors"))
    where = ("--from", "a person with a beard", "--model", miniature, "--no-local", "-o", tmp_path / "e.png")
    outcome = command("edit", picture, "--direction", files[0], "--direction", files[1], *where)
    assert outcome.code == 0, outcome.err
    assert len(read_record(tmp_path / "e.png").directions) == 2
    assert not np.array_equal(Image.open(tmp_path / "e.png"), Image.open(picture))
    again = shlex.split(outcome.out.splitlines()[-1].split(maxsplit=1)[1])
    outcome = command(*again[1:])
    assert outcome.code == 0, outcome.err
    assert "yes, byte for byte" in outcome.out
    still = ("edit", picture, "--direction", files[0], "--strength", 0, *where)
    assert command(*still).code == 0
    assert np.array_equal(Image.open(tmp_path / "e.png"), Image.open(picture))


def test_an_interruption_leaves_nothing(
    command: Command, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("latentedit.geometry.local_basis.local_basis", interrupted)
    outcome = command(*arguments)
    assert (outcome.code, outcome.err.splitlines()[-1]) == (130, "latentedit: interrupted")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.png"]
