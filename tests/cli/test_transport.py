"""``latentedit discover`` and ``latentedit transport`` with a tiny model."""

import json
import shlex
from pathlib import Path

import pytest

from latentedit.editing.outputs import read_record
from latentedit.identification.direction import Direction
from tests.commands import Command, Ran


@pytest.mark.usefixtures("short_searches")
def test_a_direction_is_transported(ran: Ran, image: Path, other: Path, miniature: Path, tmp_path: Path) -> None:
    model = ("--model", miniature, "--device", "cpu")
    where = (*model, "-o", tmp_path / "out", "--quiet")
    ran("discover", image, "--rank", 1, "--site", "clean", "--level", 0.3, *where)
    direction = next((tmp_path / "out").glob("*.safetensors"))
    arguments = ("transport", direction, "--target", other, "--rank", 3, *model, "-o", tmp_path / "new.safetensors")
    printed = ran(*arguments)
    lines, new = printed.splitlines(), tmp_path / "new.safetensors"
    assert lines[0] == f"{direction} -> {new}"
    assert Direction.load(new).settings["from"] == Direction.load(direction).fingerprint
    report = json.loads(ran(*arguments, "--source-prompt", "a person", "--seed", 3, "--json"))
    plain = Direction.load(new)
    assert report["settings"] == dict(plain.settings)
    assert (report["name"], report["fingerprint"]) == (plain.settings["name"], plain.fingerprint)
    assert 0 < report["captured"] == report["settings"]["captured"] < 1
    assert plain.feature is not None
    assert report["chance"] == pytest.approx(3 / plain.feature.numel())
    trial = shlex.split(lines[-1].split(maxsplit=1)[1])
    assert trial[:3] == ["latentedit", "sweep", str(other)]
    ran(*trial[1:], "--source-prompt", "a person", "-o", tmp_path / "s.png")
    assert len(read_record(tmp_path / "s.png").strengths) == 5


def test_an_interrupted_discovery_leaves_nothing(
    command: Command, image: Path, miniature: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    # A method, and no function that a module imported meanwhile would keep.
    monkeypatch.setattr("latentedit.models.base.Backbone.features", interrupted)
    outcome = command("discover", image, "--rank", 2, "--model", miniature, "-o", tmp_path / "out")
    assert (outcome.code, outcome.err.splitlines()[-1]) == (130, "latentedit: interrupted")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.png"]
