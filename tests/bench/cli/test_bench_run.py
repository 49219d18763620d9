"""Runs from the command line: stopped, looked at, resumed, in several processes; and what goes wrong in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from latentedit.api.manifests.items import PictureFile
from latentedit.api.runs import executors as run_module
from latentedit.api.runs.folder import RunFolder
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
def test_an_editor_without_tuned_settings_runs_with_its_defaults(command: Command, begin: Begin) -> None:
    outcome = command(*begin("run", "--method", METHOD, "--method", "dds"))
    assert outcome.code == 0, outcome.err
    assert "dds has no tuned settings" in outcome.err
    assert f"{METHOD} has" not in outcome.err


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


@pytest.fixture(scope="session")
def kept_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the folder of a run is, once there is one."""
    return tmp_path_factory.mktemp("kept") / "run"


@pytest.fixture
def finished(command: Command, begin: Begin, kept_run: Path, tmp_path: Path) -> Path:
    """The folder of a run, to be damaged."""
    if not kept_run.exists():
        assert command(*begin("run")).code == 0
        shutil.copytree(tmp_path / "run", kept_run)
    return shutil.copytree(kept_run, tmp_path / "run", dirs_exist_ok=True)


def test_a_run_of_another_kind_is_refused(refused: Refused, finished: Path) -> None:
    manifest = finished / "run.json"
    changed = json.loads(manifest.read_text()) | {"kind": "edit", "command": "latentedit edit photos"}
    manifest.write_text(json.dumps(changed))
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert "Go on with it by: latentedit edit photos" in refused("bench", "resume", finished)
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
    (finished / "run.json").write_text(json.dumps(changed | {"kind": "bench", "plan": {}}))
    assert "run.json is damaged" in refused("bench", "resume", finished)


def test_a_model_that_only_the_folder_names_is_not_opened(
    refused: Refused, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = json.loads((finished / "run.json").read_text())
    monkeypatch.setattr("latentedit.models.registry.load", lambda *_, **__: pytest.fail("it was opened"))
    for model in ("somebody/else", manifest["request"]["model"]["model"]):
        manifest["request"]["model"]["model"] = model
        (finished / "run.json").write_text(json.dumps(manifest))
        assert f"Name it yourself: --model {model}" in refused("bench", "resume", finished)


def test_data_that_only_the_folder_names_are_not_opened(
    refused: Refused, finished: Path, miniature: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentedit_bench.data.loading.load_dataset", lambda *_, **__: pytest.fail("it was opened"))
    named = json.loads((finished / "run.json").read_text())["request"]["data"]
    assert f"Name them yourself: --data {named}" in refused("bench", "resume", finished, "--model", miniature)
