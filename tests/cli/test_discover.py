"""``latentedit discover`` on a tiny model: its folder and JSON."""

import json
from pathlib import Path

import pytest

from latentedit.directions.direction import Direction
from tests.commands import Command, Ran

pytestmark = pytest.mark.slow


@pytest.fixture
def arguments(image: Path, miniature: Path, tmp_path: Path) -> list[object]:
    where = ("--model", miniature, "--device", "cpu", "-o", tmp_path / "out")
    return ["discover", image, "--rank", 2, "--site", "clean", "--level", 0.3, *where]


@pytest.mark.nightly
def test_the_folder_is_what_json_states(ran: Ran, arguments: list[object], tmp_path: Path) -> None:
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
