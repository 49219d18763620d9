"""``latentedit discover`` on a tiny model: its folder and JSON, and an edit along what it found."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from latentedit.directions.direction import Direction
from latentedit.editing.outputs import read_record, same_image
from tests.commands import Command, Ran

pytestmark = pytest.mark.slow


@pytest.fixture
def arguments(image: Path, miniature: Path, tmp_path: Path) -> list[object]:
    where = ("--model", miniature, "--device", "cpu", "-o", tmp_path / "out")
    return ["discover", image, "--rank", 2, "--site", "clean", "--level", 0.3, *where]


@pytest.mark.nightly
def test_the_folder_is_what_json_states_and_the_named_command_sweeps(
    command: Command, ran: Ran, arguments: list[object], tmp_path: Path
) -> None:
    printed = ran(*arguments, "--prompt", "a person with glasses", "--source-prompt", "a person", "--seed", 5, "--json")
    facts, folder = json.loads(printed), tmp_path / "out"
    report = json.loads((folder / "discovered.json").read_text())
    assert {name: facts[name] for name in report} == report
    names = ("caption", "prompt", "seed", "rank", "site")
    assert [report["record"][name] for name in names] == ["a person", "a person with glasses", 5, 2, "clean"]
    assert facts["directions"][0]["singular_value"] >= facts["directions"][1]["singular_value"]
    assert facts["basis"]["products"] > 0
    names = [row["file"] for row in facts["directions"]]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "directions.png", "discovered.json"])
    direction = Direction.load(folder / names[0])
    assert (direction.source_captions, direction.settings["prompt"]) == (("a person",), "a person with glasses")
    shutil.rmtree(folder)
    trial = shlex.split(command(*arguments).out.splitlines()[-1].split(maxsplit=1)[1])
    assert trial[:2] == ["latentedit", "sweep"]
    assert command(*trial[1:], "-o", tmp_path / "s.png").code == 0, "the model has no captioner, and needs none"
    assert len(read_record(tmp_path / "s.png").strengths) == 5


@pytest.mark.nightly
def test_discovered_directions_are_applied_and_replayed(
    command: Command, ran: Ran, arguments: list[object], image: Path, miniature: Path, tmp_path: Path
) -> None:
    """With a caption, although the directions were found without one."""
    assert command(*arguments, "--quiet").code == 0
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    caption = ("--source-prompt", "a person with a beard")
    where = (*caption, "--model", miniature, "--no-auto-mask", "-o", tmp_path / "e.png")
    printed = ran("edit", image, "--direction", files[0], "--direction", files[1], *where)
    assert len(read_record(tmp_path / "e.png").directions) == 2
    assert not same_image(Image.open(tmp_path / "e.png"), Image.open(image))
    again = shlex.split(printed.splitlines()[-1].split(maxsplit=1)[1])
    assert "yes, byte for byte" in ran(*again[1:])
    still = ("edit", image, "--direction", files[0], "--strength", 0, *where)
    assert command(*still).code == 0
    assert same_image(Image.open(tmp_path / "e.png"), Image.open(image))


def test_an_interruption_leaves_nothing(
    command: Command, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    # A method, and no function that a module imported meanwhile would keep.
    monkeypatch.setattr("latentedit.models.base.Backbone.features", interrupted)
    outcome = command(*arguments)
    assert (outcome.code, outcome.err.splitlines()[-1]) == (130, "latentedit: interrupted")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.png"]
