"""The folder of a discovery: whole or not there, replaced only where it is one, and readable by machines."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from latentedit.api import discovery_files
from latentedit.api.discovery import Discovery
from latentedit.api.discovery_files import check_folder, file_names, write_discovery
from latentedit.core.errors import OutputError
from latentedit.directions.direction_file import load_direction

pytestmark = pytest.mark.slow

NAMES = ["01-top-light-dark.safetensors", "02-bottom-light-dark.safetensors"]


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_with_directions_sheet_and_numbers(discovery: Discovery, tmp_path: Path) -> None:
    told = write_discovery(discovery, tmp_path / "out")
    assert listed(tmp_path) == ["out"]
    assert listed(tmp_path / "out") == [*NAMES, "directions.png", "discovered.json"]
    assert json.loads((tmp_path / "out" / "discovered.json").read_text()) == told
    assert [row["file"] for row in told["directions"]] == NAMES == file_names(discovery)
    assert [row["singular_value"] for row in told["directions"]] == [2.0, 1.0]
    assert told["directions"][0]["name"] == "top: light (+), dark (-)"
    assert set(told["random"]) == {"equal length", "equal effect"}
    assert told["record"]["prompt"] == told["record"]["caption"] == ""
    assert (told["record"]["rank"], told["record"]["seed"]) == (2, 3)
    assert told["cost"]["evaluations"] == discovery.cost.evaluations
    for one, name in zip(discovery.directions, NAMES, strict=True):
        loaded = load_direction(tmp_path / "out" / name)
        assert torch.equal(loaded.z, one.direction.z)
        assert loaded.calibration is not None


def test_an_earlier_discovery_is_replaced(discovery: Discovery, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_discovery(discovery, out)
    write_discovery(dataclasses.replace(discovery, directions=discovery.directions[:1]), out)
    assert listed(out) == [NAMES[0], "directions.png", "discovered.json"]
    assert listed(tmp_path) == ["out"]
    facts = json.loads((out / "discovered.json").read_text())
    facts["directions"][0]["file"] = ["diary.txt"]  # no text, and so no name of a file
    (out / "discovered.json").write_text(json.dumps(facts))
    with pytest.raises(OutputError, match=f"it holds '{NAMES[0]}'"):
        check_folder(out)


@pytest.mark.parametrize("what", ["a stranger", "a stranger beside a discovery", "json of something else"])
def test_folders_of_others_are_refused(discovery: Discovery, tmp_path: Path, what: str) -> None:
    out = tmp_path / "out"
    if what == "a stranger beside a discovery":
        write_discovery(discovery, out)
    else:
        out.mkdir()
    (out / ("discovered.json" if what.startswith("json") else "diary.txt")).write_text('{"record": 1}')
    before = listed(out)
    with pytest.raises(OutputError, match=r"it holds '(diary\.txt|discovered\.json)'\. Choose another folder"):
        write_discovery(discovery, out)
    assert listed(out) == before
    assert listed(tmp_path) == ["out"]


def test_places_that_cannot_be_written_are_refused(tmp_path: Path, read_only_folder: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file, and a folder is written"):
        check_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="does not exist"):
        check_folder(tmp_path / "missing" / "out")
    with pytest.raises(OutputError, match="cannot be written"):
        check_folder(read_only_folder / "out")


@pytest.mark.parametrize("what", ["interrupted", "a full disk", "renaming"])
def test_what_is_broken_off_leaves_the_old_folder_alone(
    discovery: Discovery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    write_discovery(discovery, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    rename, calls = Path.rename, list[Path]()

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt if what == "interrupted" else OSError(28, "No space left on device")

    def second_fails(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == 2:
            fail()
        return rename(self, target)

    if what == "renaming":
        monkeypatch.setattr(Path, "rename", second_fails)
    else:
        monkeypatch.setattr(discovery_files, "save_image", fail)
    with pytest.raises((KeyboardInterrupt, OutputError)):
        write_discovery(discovery, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert listed(tmp_path) == ["out"]
