"""``latentedit transport`` on a tiny model: a direction of one picture on another."""

import dataclasses
import json
import shlex
import shutil
from functools import partial
from pathlib import Path

import pytest

from latentedit.core.linalg.block_lanczos import truncated_svd
from latentedit.directions.direction import load_direction, save_direction
from latentedit.editing.outputs import read_record
from tests.commands import Command, Refused


@pytest.fixture
def direction(
    command: Command,
    picture: Path,
    miniature: Path,
    tmp_path: Path,
    kept_files: dict[tuple[object, ...], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Discovered on the picture; the file is made once for all tests."""
    if ("transport",) not in kept_files:
        monkeypatch.setattr("latentedit.geometry.local_basis.truncated_svd", partial(truncated_svd, most_products=4))
        where = ("--model", miniature, "--device", "cpu", "-o", tmp_path / "out", "--quiet")
        assert command("discover", picture, "--rank", 1, "--site", "clean", "--level", 0.3, *where).code == 0
        kept_files["transport",] = next((tmp_path / "out").glob("*.safetensors")).read_bytes()
        shutil.rmtree(tmp_path / "out")
    place = tmp_path / "found.safetensors"
    place.write_bytes(kept_files["transport",])
    return place


@pytest.fixture
def arguments(direction: Path, other: Path, miniature: Path, tmp_path: Path) -> list[object]:
    where = ("--model", miniature, "--device", "cpu", "-o", tmp_path / "new.safetensors")
    return ["transport", direction, "--to", other, "--rank", 3, *where]


@pytest.mark.nightly
def test_a_direction_and_what_became_of_it(
    command: Command, arguments: list[object], direction: Path, other: Path, tmp_path: Path
) -> None:
    outcome = command(*arguments)
    assert outcome.code == 0, outcome.err
    lines, new = outcome.out.splitlines(), tmp_path / "new.safetensors"
    assert lines[0] == f"{direction} -> {new}"
    before, after = load_direction(direction), load_direction(new)
    assert f"{before.settings['name']} -> {after.settings['name']}" in outcome.out
    assert after.settings["from"] == before.fingerprint
    assert (after.settings["steps"], after.level, after.settings["rank"]) == (before.settings["steps"], 0.3, 3)
    assert after.preview
    assert after.calibration is not None
    told = json.loads(command(*arguments, "--plain", "--from", "a person", "--seed", 3, "--json").out)
    plain = load_direction(new)
    assert told["settings"] == dict(plain.settings)
    assert [told["settings"][name] for name in ("inverse", "damping", "seed")] == [False, None, 3]
    assert (told["name"], told["fingerprint"]) == (plain.settings["name"], plain.fingerprint)
    assert 0 < told["captured"] == told["settings"]["captured"] < 1
    assert plain.feature is not None
    assert told["chance"] == pytest.approx(3 / plain.feature.numel())
    assert plain.source_captions == ("a person",)
    trial = shlex.split(lines[-1].split(maxsplit=1)[1])
    assert trial[:3] == ["latentedit", "sweep", str(other)]
    outcome = command(*trial[1:], "--from", "a person", "-o", tmp_path / "s.png")
    assert outcome.code == 0, outcome.err
    assert len(read_record(tmp_path / "s.png").strengths) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--rank", 0], "--rank"),
        (["--damping", -1], "--damping"),
        (["--plain", "--damping", 0.5], "--plain and --damping"),
        (["--from", " "], "--from"),
        (["--to", "missing.png"], "missing.png"),
        (["-o", "new.png"], "new.png"),
        (["-o", "missing/new.safetensors"], "missing"),
        (["-o", "found.safetensors"], "found.safetensors"),
    ],
)
def test_wrong_input_is_refused_before_the_model_is_loaded(
    refused: Refused,
    arguments: list[object],
    direction: Path,
    unloaded: None,
    monkeypatch: pytest.MonkeyPatch,
    more: list[object],
    words: str,
) -> None:
    monkeypatch.chdir(direction.parent)
    assert words in refused(*arguments, *more)
    save_direction(dataclasses.replace(load_direction(direction), feature=None, method="hsds"), direction)
    assert "'hsds'" in refused(*arguments)
