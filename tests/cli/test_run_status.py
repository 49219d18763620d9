"""What is said of a run's folder is true, and machines are told the same."""

import json
from pathlib import Path

import pytest
import typer

from latentedit.batch.folder import Failure, RunFolder, UnitResult
from latentedit.cli.run_status import failure_lines, finish, status_json, status_rows
from latentedit_keep.files import plain

UNITS = [f"{unit:03d}" for unit in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.start(
        tmp_path / "run",
        {"seed": 0},
        kind="bench",
        units=UNITS,
        command="bench it",
        request={},
    )


def add(
    folder: RunFolder, number: int, *, rows: int = 2, seconds: float = 30.0, failures: int = 0, evaluations: int = 9
) -> None:
    folder.add(
        f"{number:03d}",
        UnitResult(
            rows=[{"a": 1.0}] * rows,
            failures=[Failure(item=f"item {one}", what="sdedit", why="it is odd") for one in range(failures)],
            about={"seconds": seconds, "evaluations": evaluations},
        ),
    )


def text(folder: RunFolder) -> str:
    return "\n".join(f"{label}: {value}" for label, value in status_rows(folder))


def test_a_run_that_was_stopped(folder: RunFolder) -> None:
    assert status_json(folder)["state"] == "stopped"
    add(folder, 0, rows=3, seconds=30.0, evaluations=0)
    assert status_json(folder)["seconds_left"] is None, "what edits nothing says nothing of the time to go"
    assert "to go" not in text(folder)
    add(folder, 1, rows=0, seconds=50.0)
    told = status_json(folder)
    assert (told["state"], told["done"], told["rows"], told["seconds"]) == ("stopped", 2, 3, 80)
    assert told["seconds_left"] == pytest.approx(2 * 50)
    assert text(folder).splitlines() == [
        "state: stopped: 2 of 4 parts done",
        "rows: 3",
        "time: 80 s of work; about 2 min to go",
        "failures: none",
        "command: bench it",
        f"go on: latentedit bench resume {folder.path}",
    ]


def test_two_at_work_take_half_as_long(folder: RunFolder) -> None:
    add(folder, 0, seconds=3600.0)
    with folder.claim("001"), folder.claim("002"):
        told = status_json(folder)
        assert (told["state"], told["at_work"]) == ("running", ["001", "002"])
        assert told["seconds_left"] == pytest.approx(3 * 3600 / 2)
        assert text(folder).startswith("state: running: 1 of 4 parts done, 2 at work now\n")
        assert "time: 60 min of work; about 1.5 h to go" in text(folder)
        assert "go on" not in text(folder)
    assert status_json(folder)["state"] == "stopped"


def test_a_finished_run(folder: RunFolder) -> None:
    for number in range(4):
        add(folder, number, seconds=100.0)
    told = status_json(folder)
    assert (told["state"], told["done"], told["rows"], told["seconds_left"]) == ("finished", 4, 8, 0)
    assert "time: 7 min of work\n" in text(folder)
    assert "go on" not in text(folder)


def test_another_kind_of_run_goes_on_by_its_own_command(tmp_path: Path) -> None:
    folder = RunFolder.start(tmp_path, {}, kind="edit", units=["1"], command="latentedit edit here", request={})
    assert status_rows(folder)[-1] == ("go on", "latentedit edit here")


def test_failures_are_told_one_by_one_up_to_ten(folder: RunFolder) -> None:
    add(folder, 0, failures=3)
    assert "failures: 3\n: item 0, sdedit: it is odd\n: item 1, sdedit" in text(folder)
    add(folder, 1, failures=9)
    lines = failure_lines(folder.failures())
    assert len(lines) == 11
    assert lines[-1] == "and 2 more"
    told = json.loads(json.dumps(plain(status_json(folder))))
    assert told["failures"][0] == {"item": "item 0", "what": "sdedit", "why": "it is odd"}
    assert failure_lines([]) == []
    assert len(failure_lines(folder.failures()[:10])) == 10


def test_a_run_with_failures_ends_with_one(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    add(folder, 0)
    finish(folder)
    assert capsys.readouterr() == ("", "")
    add(folder, 1, failures=1)
    with pytest.raises(typer.Exit) as left:
        finish(folder)
    assert left.value.exit_code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "warning: 1 could not be done\nwarning: item 0, sdedit: it is odd\n"
