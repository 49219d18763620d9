"""Several processes do the work of one; those that die are done without, and none is left behind."""

import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from latentedit.api.runs import processes as processes_module
from latentedit.api.runs import runner as runner_module
from latentedit.api.runs.processes import run_processes
from latentedit.core.errors import ConfigError, OutputError
from tests.api.runs.small_work import FORK, SmallWork, begin, contents, small_work, wait_until


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes begin as copies of this one, which have everything imported."""
    context = SimpleNamespace(get_context=lambda _: FORK, parent_process=multiprocessing.parent_process)
    monkeypatch.setattr(processes_module, "multiprocessing", context)
    monkeypatch.setattr(processes_module, "PAUSE_S", 0.02)
    monkeypatch.setattr(runner_module, "PAUSE_S", 0.02)


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children() if "resource_tracker" not in " ".join(child.cmdline())]


def test_one_that_dies_is_survived(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """With processes that import everything anew, as users have them."""
    work = small_work(tmp_path / "notes", fate={"001-unit": "killed"}, pause_s=0.1)
    folder, told = begin(tmp_path / "run", work), list[tuple[str, int, int]]()
    assert run_processes(folder, work, 2, progress=lambda *step: told.append(step)) == 1
    folder.write_table()
    assert contents(folder.path) == undisturbed
    assert Counter(work.begun()) == {unit: 2 if unit == "001-unit" else 1 for unit in work.units}
    assert told[-1] == ("small", 8, 8)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert children() == []


def test_all_share_the_work(forked: None, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    work = small_work(tmp_path / "notes", pause_s=0.1)
    folder = begin(tmp_path / "run", work)
    assert run_processes(folder, work, 3) == 0
    folder.write_table()
    assert contents(folder.path) == undisturbed
    assert work.begun() == list(work.units)
    assert len({record["process"] for record in folder.records().values()} - {os.getpid()}) == 3


def test_no_more_are_started_than_there_is_work(forked: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, started = small_work(tmp_path / "notes", count=2), list[object]()
    folder, start = begin(tmp_path / "run", work), FORK.Process.start

    def watched(process: multiprocessing.Process) -> None:
        started.append(process)
        start(process)

    monkeypatch.setattr(FORK.Process, "start", watched)
    assert run_processes(folder, work, 5) == 0
    assert len(started) == 2
    assert run_processes(folder, work, 5) == 0
    assert len(started) == 2


def test_when_all_die_that_is_said(forked: None, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    work = small_work(tmp_path / "notes", fate={"003-unit": "deadly"}, pause_s=0.02)
    folder = begin(tmp_path / "run", work)
    with pytest.raises(
        OutputError, match=r"expected 2 processes to finish .*; all of them died, .* --workers"
    ) as caught:
        run_processes(folder, work, 2)
    assert "\n" not in str(caught.value)
    assert {"000-unit", "001-unit", "002-unit"} <= set(folder.finished()) < set(work.units)
    assert children() == []
    assert run_processes(folder, SmallWork(notes=work.notes), 2) == 0
    folder.write_table()
    assert contents(folder.path) == undisturbed


@pytest.mark.parametrize("last", [False, True])
def test_an_error_in_one_is_an_error_here(forked: None, tmp_path: Path, last: bool) -> None:
    """Also where it is the last that this process had to say."""
    work = small_work(tmp_path / "notes", fate={"000-unit": "refused"}, count=1 if last else 8, pause_s=0.02)
    folder = begin(tmp_path / "run", work)
    with pytest.raises(ConfigError, match=r"^expected another unit; got 000-unit. Leave it out$"):
        run_processes(folder, work, 2)
    assert children() == []
    assert folder.claimed() == []


def drive(path: Path, work: SmallWork) -> None:
    """A command in a group of its own; leaves the text of its interruption."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_processes(begin(path, work), work, 2)
    except KeyboardInterrupt as stopped:
        (path / "said").write_text(str(stopped))


@pytest.mark.parametrize("how", ["Ctrl-C", "killed"])
def test_none_is_left_behind(
    forked: None,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    how: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C goes to the whole group; SIGKILL to the parent alone, whose children notice."""
    work = small_work(tmp_path / "notes", fate={}, pause_s=0.3)
    driver = FORK.Process(target=drive, args=(tmp_path / "run", work))
    driver.start()
    assert driver.pid is not None
    wait_until(lambda: len(work.begun()) > 3)
    at_work = [child.pid for child in psutil.Process(driver.pid).children()]
    assert len(at_work) == 2
    if how == "Ctrl-C":
        os.killpg(driver.pid, signal.SIGINT)
    else:
        os.kill(driver.pid, signal.SIGKILL)
    driver.join()
    wait_until(lambda: not any(map(alive, at_work)), seconds=20)
    folder = begin(tmp_path / "run", work)
    kept = folder.finished()
    assert 0 < len(kept) < 8
    if how == "Ctrl-C":
        assert driver.exitcode == 0
        assert (folder.path / "said").read_text().startswith(f"interrupted; {len(kept)} of 8 parts are kept in ")
    assert folder.claimed() == []
    assert capfd.readouterr() == ("", ""), "nobody prints a traceback"
    run_processes(folder, SmallWork(notes=work.notes), 2)
    folder.write_table()
    assert contents(folder.path) == undisturbed
    assert all(Counter(work.begun())[unit] == 1 for unit in kept)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
