"""Runs from the command line: stopped, looked at, resumed, in several processes; and what goes wrong in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from latentedit.api.manifests.items import PictureFile
from latentedit.api.runs import executors as run_module
from latentedit.api.runs.folder import RunFolder
from latentedit_bench.cli.bench_options import DATA, lasting, parse_seeds
from tests.bench.cli.conftest import METHOD
from tests.commands import Command, Refused

pytestmark = pytest.mark.slow

Begin = Callable[..., tuple[str, ...]]


@pytest.fixture
def begin(manifest: Path, where: tuple[str, ...], tmp_path: Path, settings_of: Callable[..., Path]) -> Begin:
    """The words of a run of two pictures in two batches by one method: four units."""
    plan = ("--settings", str(settings_of(METHOD)), "--seeds", "1", "--strengths", "0.5,1")
    plan += ("--batch", "1", "--workers", "1")

    def words(folder: str, *more: str) -> tuple[str, ...]:
        method = () if "--method" in more else ("--method", METHOD)
        return ("bench", "run", str(manifest), *plan, *method, *where, "-o", str(tmp_path / folder), *more)

    return words


def interrupt_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Ctrl-C when so many units are stored."""
    real, stored = RunFolder.add, list[str]()

    def add(self: RunFolder, unit: str, done: Any) -> None:
        if len(stored) == count:
            raise KeyboardInterrupt
        real(self, unit, done)
        stored.append(unit)

    monkeypatch.setattr(RunFolder, "add", add)


@pytest.mark.nightly
def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(
    command: Command, begin: Begin, tmp_path: Path, miniature: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(*begin("whole")).code == 0
    with monkeypatch.context() as patched:
        interrupt_after(patched, 3)
        outcome = command(*begin("stopped"))
    folder = tmp_path / "stopped"
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err == (
        f"latentedit: interrupted; 3 of 4 parts are kept in {folder}, and the same command goes on from there\n"
    )
    status = command("bench", "status", folder)
    assert status.code == 0
    assert "stopped: 3 of 4 parts done" in status.out
    assert f"latentedit bench resume {folder}" in status.out
    told = json.loads(command("bench", "status", folder, "--json").out)
    assert (told["state"], told["done"], told["units"], told["rows"], told["failures"]) == ("stopped", 3, 4, 4, [])
    finished = {place: place.stat().st_mtime_ns for place in (folder / "rows").iterdir()}
    resumed = command("bench", "resume", folder, "--model", miniature, "--data", manifest, "--workers", 1)
    assert resumed.code == 0, resumed.err
    assert resumed.out.startswith("6 rows; ranking in")
    assert {place: place.stat().st_mtime_ns for place in finished} == finished, "nothing finished is done again"
    assert (folder / "rows.csv").read_bytes() == (tmp_path / "whole" / "rows.csv").read_bytes()
    assert (folder / "summary.csv").read_bytes() == (tmp_path / "whole" / "summary.csv").read_bytes()
    assert "finished: 4 of 4 parts done" in command("bench", "status", folder).out


@pytest.mark.nightly
def test_the_number_of_workers_changes_nothing(command: Command, begin: Begin, tmp_path: Path, forked: None) -> None:
    """Each worker loads the model in a process of its own."""
    assert command(*begin("one")).code == 0
    two = command(*begin("two", "--workers", "2"))
    assert two.code == 0, two.err
    assert (tmp_path / "one" / "rows.csv").read_bytes() == (tmp_path / "two" / "rows.csv").read_bytes()


@pytest.mark.nightly
def test_a_picture_that_cannot_be_read_is_left_out_and_told(
    command: Command, begin: Begin, tmp_path: Path, miniature: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sound when the run begins, and its file is cut short before its turn comes."""
    damaged = next(iter(sorted((tmp_path / "data" / "pictures").iterdir())))
    whole = damaged.read_bytes()
    real = run_module.run_here

    def cut_short(*arguments: Any, **named: Any) -> None:
        damaged.write_bytes(whole[: len(whole) // 2])
        real(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "run_here", cut_short)
        outcome = command(*begin("run"))
    assert outcome.code == 1
    assert "2 could not be done" in outcome.err
    assert "damaged or cut short" in outcome.err
    assert outcome.out.startswith("3 rows;")
    status = command("bench", "status", tmp_path / "run")
    assert "finished: 4 of 4 parts done" in status.out
    assert "damaged or cut short" in status.out
    damaged.write_bytes(whole)
    resume = ("bench", "resume", tmp_path / "run", "--model", miniature, "--data", manifest, "--workers", 1)
    assert command(*resume).code == 1, "what failed is finished unless told otherwise"
    again = command(*resume, "--retry")
    assert again.code == 0, again.err
    assert len(pd.read_csv(tmp_path / "run" / "rows.csv")) == 6
    assert PictureFile(damaged)().size == (64, 64)


@pytest.fixture
def finished(command: Command, begin: Begin, tmp_path: Path) -> Path:
    """The folder of a run, to be damaged."""
    assert command(*begin("run")).code == 0
    return tmp_path / "run"


def test_what_only_the_folder_of_a_run_says_is_not_trusted(
    refused: Refused, finished: Path, miniature: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its model nor its data are opened, and another command's run is not gone on with."""
    manifest = json.loads((finished / "run.json").read_text())
    with monkeypatch.context() as patched:
        patched.setattr("latentedit_bench.data.loading.load_dataset", lambda *_, **__: pytest.fail("it was opened"))
        said = refused("bench", "resume", finished, "--model", miniature)
        assert f"Name them yourself: --data {manifest['request']['data']}" in said
        patched.setattr("latentedit.models.registry.load", lambda *_, **__: pytest.fail("it was opened"))
        said = refused("bench", "resume", finished)
        assert f"Name it yourself: --model {manifest['request']['model']['model']}" in said
    changed = manifest | {"kind": "edit", "command": "latentedit edit photos"}
    (finished / "run.json").write_text(json.dumps(changed))
    assert "Go on with it by: latentedit edit photos" in refused("bench", "resume", finished)
    (finished / "run.json").write_text(json.dumps(changed | {"kind": "bench", "plan": {}}))
    assert "run.json is damaged" in refused("bench", "resume", finished)


def test_places_last_and_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert lasting("mine.csv") == str((tmp_path / "mine.csv").resolve())
    assert lasting(DATA) == DATA
    assert parse_seeds("3, 1") == (3, 1)
