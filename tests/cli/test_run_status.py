"""The state of a run's folder as text and JSON: progress, time left, failures."""

import json
from pathlib import Path

import pytest
import typer

from latentedit.batch.folder import Failure, RunFolder, UnitResult
from latentedit.cli.run_status import failure_lines, finish, status_json, status_rows
from latentedit.core.files import plain


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    units, command = [f"{unit:03d}" for unit in range(4)], "bench it"
    return RunFolder.start(tmp_path / "run", {"seed": 0}, kind="bench", units=units, command=command, request={})


def add(folder: RunFolder, number: int, *, seconds: float = 30.0, failures: int = 0, evaluations: int = 9) -> None:
    failed = [Failure(item=f"item {one}", what="sdedit", why="it is odd") for one in range(failures)]
    about = {"seconds": seconds, "evaluations": evaluations}
    folder.add(f"{number:03d}", UnitResult(rows=[{"a": 1.0}] * 2, failures=failed, about=about))


def text(folder: RunFolder) -> str:
    return "\n".join(f"{label}: {value}" for label, value in status_rows(folder))


def test_the_status_of_a_stopped_run(folder: RunFolder) -> None:
    add(folder, 0, seconds=30.0, evaluations=0)
    assert status_json(folder)["seconds_left"] is None, "parts without edits give no estimate of the time left"
    assert "to go" not in text(folder)
    add(folder, 1, seconds=50.0)
    status = status_json(folder)
    assert [status[name] for name in ("state", "done", "rows", "seconds")] == ["stopped", 2, 4, 80]
    assert status["seconds_left"] == pytest.approx(2 * 50)
    assert text(folder).splitlines() == [
        "state: stopped: 2 of 4 parts done",
        "rows: 4",
        "time: 80 s of work; about 2 min to go",
        "failures: none",
        "command: bench it",
        "continue: bench it",
    ]


def test_two_workers_halve_the_time_left(folder: RunFolder) -> None:
    add(folder, 0, seconds=3600.0)
    with folder.claim("001"), folder.claim("002"):
        status = status_json(folder)
        assert (status["state"], status["at_work"]) == ("running", ["001", "002"])
        assert status["seconds_left"] == pytest.approx(3 * 3600 / 2)
        assert text(folder).startswith("state: running: 1 of 4 parts done, 2 at work now\n")
        assert "time: 60 min of work; about 1.5 h to go" in text(folder)
        assert "continue" not in text(folder)
    assert status_json(folder)["state"] == "stopped"
    for number in range(1, 4):
        add(folder, number)
    status = status_json(folder)
    assert [status[name] for name in ("state", "done", "rows", "seconds_left")] == ["finished", 4, 8, 0]
    assert "continue" not in text(folder)


def test_failures_are_listed_up_to_ten_and_give_exit_code_1(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(folder)
    assert capsys.readouterr() == ("", "")
    add(folder, 0, failures=1)
    with pytest.raises(typer.Exit) as left:
        finish(folder)
    assert left.value.exit_code == 1
    assert capsys.readouterr() == ("", "warning: 1 could not be done\nwarning: item 0, sdedit: it is odd\n")
    add(folder, 1, failures=9)
    assert "failures: 10\n: item 0, sdedit: it is odd\n" in text(folder)
    assert len(failure_lines(folder.failures())) == 10
    add(folder, 2, failures=2)
    assert failure_lines(folder.failures())[10:] == ["and 2 more"]
    status = json.loads(json.dumps(plain(status_json(folder))))
    assert status["failures"][0] == {"item": "item 0", "what": "sdedit", "why": "it is odd"}
