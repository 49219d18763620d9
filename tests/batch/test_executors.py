"""Each unit runs once, even if workers die; no process is left behind."""

import contextlib
import os
import signal
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from latentedit._version import __version__
from latentedit.batch import executors as executors_module
from latentedit.batch.executors import Executor, run_work, suitable_workers
from latentedit.batch.folder import CLAIMS, RunFolder, UnitResult
from latentedit.batch.work import check_same_model, timed
from latentedit.core import workers as workers_module
from latentedit.core.errors import ConfigError, ModelError, OutputError
from tests.batch.small_work import FORK, SmallWork, alive, begin, made, small_work, wait_until


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "PAUSE_S", 0.01)


def test_every_unit_is_done_once(folder: RunFolder, work: SmallWork, undisturbed: dict[str, bytes]) -> None:
    report = list[tuple[str, int, int]]()
    run_work(folder, work, progress=lambda *step: report.append(step))
    run_work(folder, work)
    assert made(folder) == undisturbed
    assert work.begun() == list(work.units)
    assert report == [*(("small", done, 8) for done in range(1, 9)), ("small", 8, 8)]
    assert all(record.seconds >= 0 for record in folder.records().values())
    assert not list((folder.path / CLAIMS).iterdir())


def test_nothing_is_loaded_for_a_finished_run(folder: RunFolder, work: SmallWork) -> None:
    run_work(folder, work)
    broken = SmallWork(notes=work.notes, before="not loadable")
    run_work(folder, broken)
    with pytest.raises(ConfigError):
        Executor(workers=0)
    folder.forget("003-unit")
    with pytest.raises(ConfigError):
        run_work(folder, broken)


def run_one(path: Path, work: SmallWork) -> None:
    run_work(begin(path, work), work)


def test_a_killed_process_keeps_its_finished_units_and_releases_its_claim(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    work = small_work(tmp_path / "notes", fate={"002-unit": "killed", "006-unit": "killed"})
    for kept in (2, 6):
        runner = FORK.Process(target=run_one, args=(tmp_path / "run", work))
        runner.start()
        runner.join()
        assert runner.exitcode == -signal.SIGKILL
        folder = RunFolder.read(tmp_path / "run")
        assert folder.finished() == list(work.units[:kept])
        assert folder.claimed() == []
    run_work(folder, work)
    assert made(folder) == undisturbed
    assert Counter(work.begun()) == {unit: 2 if unit in work.fate else 1 for unit in work.units}


def test_a_unit_claimed_by_another_process_is_waited_for(
    folder: RunFolder, work: SmallWork, undisturbed: dict[str, bytes]
) -> None:
    """The other process is killed; until then the rest is done, and progress is repeated while waiting."""
    held, report = SmallWork(notes=work.notes, pause_s=10), list[int]()
    other = FORK.Process(target=run_work, args=(folder, held))
    other.start()
    wait_until(lambda: work.begun() == ["000-unit"])
    assert folder.claimed() == ["000-unit"]

    def progress(_: str, done: int, __: int) -> None:
        assert done < 8 or not other.is_alive()
        report.append(done)
        if report.count(7) > 1 and other.is_alive():
            os.kill(other.pid or 0, signal.SIGKILL)
            other.join()

    run_work(folder, work, progress=progress)
    assert made(folder) == undisturbed
    assert Counter(work.begun())["000-unit"] == 2


@pytest.mark.parametrize("how", ["interrupted", "refused", "not writable"])
def test_a_stopped_run_keeps_finished_units_and_releases_its_claim(
    tmp_path: Path, undisturbed: dict[str, bytes], how: str
) -> None:
    work = small_work(tmp_path / "notes", fate={"003-unit": "refused"} if how == "refused" else {})
    folder = begin(tmp_path / "run", work)
    blocked = folder.path / "files/1/003-unit.bin"

    def stop(_: str, done: int, __: int) -> None:
        if how == "interrupted" and done == 3:
            raise KeyboardInterrupt

    if how == "not writable":
        blocked.mkdir(parents=True)
    words = {"interrupted": "3 of 8", "refused": "003-unit", "not writable": r"003-unit\.bin"}
    with pytest.raises((KeyboardInterrupt, ConfigError, OutputError), match=words[how]):
        run_work(folder, work, progress=stop)
    if how == "not writable":
        blocked.rmdir()
    assert folder.finished() == list(work.units[:3])
    assert folder.claimed() == []
    run_work(folder, SmallWork(notes=work.notes))
    assert made(folder) == undisturbed


def test_a_unit_finished_by_another_process_is_skipped(folder: RunFolder, work: SmallWork) -> None:
    """It is finished between the listing of open units and the claim."""

    def progress(_: str, done: int, __: int) -> None:
        if done == 2:
            folder.add("002-unit", UnitResult(rows=()))

    run_work(folder, work, progress=progress)
    assert work.begun() == [unit for unit in work.units if unit != "002-unit"]


def test_each_process_uses_one_core(tmp_path: Path, work: SmallWork) -> None:
    before, seen = torch.get_num_threads(), list[int]()

    class Watched(SmallWork):
        def _befall(self, unit: str) -> None:
            seen.append(torch.get_num_threads())

    torch.set_num_threads(2)
    work = Watched(notes=work.notes)
    try:
        with contextlib.suppress(KeyError):
            run_work(begin(tmp_path / "run", work), work, progress=lambda what, *_: {}[what])
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def processes_of(folder: RunFolder) -> set[int]:
    return {record.model_dump()["process"] for record in folder.records().values()}


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children() if "resource_tracker" not in " ".join(child.cmdline())]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["forked", pytest.param("spawned", marks=pytest.mark.nightly)])
def test_a_dead_worker_is_replaced(
    tmp_path: Path, undisturbed: dict[str, bytes], how: str, request: pytest.FixtureRequest
) -> None:
    """Without the fixture, they are spawned, since a forked process cannot use the GPU."""
    if how == "forked":
        request.getfixturevalue("forked")
    work = small_work(tmp_path / "notes", fate={"001-unit": "killed"}, pause_s=0.1)
    folder, report = begin(tmp_path / "run", work), list[tuple[str, int, int]]()
    spawned = set[bool]()

    def progress(*step: Any) -> None:
        report.append(step)
        with contextlib.suppress(psutil.Error):  # it has just ended
            spawned.update("spawn_main" in " ".join(psutil.Process(child).cmdline()) for child in children())

    with pytest.warns(UserWarning, match="worker"):
        run_work(folder, work, executor=Executor(workers=2), progress=progress)
    assert (True in spawned) == (how == "spawned")
    assert made(folder) == undisturbed
    assert Counter(work.begun())["001-unit"] == 2
    assert len(work.begun()) <= 10, "that unit, and the current one of the other worker"
    assert report[-1] == ("small", 8, 8)
    assert [done for _, done, _ in report] == sorted(done for _, done, _ in report)
    assert children() == []


def test_no_more_workers_than_units_are_started(forked: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, started = small_work(tmp_path / "notes", count=2), list[object]()
    folder, start = begin(tmp_path / "run", work), FORK.Process.start
    monkeypatch.setattr(FORK.Process, "start", lambda process: started.append(process) or start(process))
    report = list[tuple[str, int, int]]()
    for _ in range(2):
        run_work(folder, work, executor=Executor(workers=5), progress=lambda *step: report.append(step))
        assert len(started) == 2
    assert report[-1] == ("small", 2, 2)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:a worker process died")
def test_the_death_of_all_workers_is_reported(forked: None, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    work = small_work(tmp_path / "notes", fate={"003-unit": "deadly"}, pause_s=0.02)
    folder = begin(tmp_path / "run", work)
    with pytest.raises(OutputError):
        run_work(folder, work, executor=Executor(workers=2))
    assert {"000-unit", "001-unit", "002-unit"} <= set(folder.finished()) < set(work.units)
    assert children() == []
    run_work(folder, SmallWork(notes=work.notes), executor=Executor(workers=2))
    assert made(folder) == undisturbed
    assert len(processes_of(folder) - {os.getpid()}) >= 3


@pytest.mark.parametrize("count", [1, 8])
def test_an_error_in_a_worker_is_raised(forked: None, tmp_path: Path, count: int) -> None:
    """Also if it is the last unit."""
    work = small_work(tmp_path / "notes", fate={"000-unit": "refused"}, count=count, pause_s=0.1)
    folder = begin(tmp_path / "run", work)
    with pytest.raises(ConfigError):
        run_work(folder, work, executor=Executor(workers=2))
    assert children() == []
    assert folder.claimed() == []
    assert count == 1 or len(work.begun()) < count, "the other worker is stopped"


def drive(path: Path, work: SmallWork) -> None:
    """A command in its own process group, which writes the text of its interruption."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_work(begin(path, work), work, executor=Executor(workers=2))
    except KeyboardInterrupt as stopped:
        (path / "stated").write_text(str(stopped))


@pytest.mark.nightly
def test_ctrl_c_ends_all_processes(
    forked: None, tmp_path: Path, undisturbed: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    """The signal goes to the whole group."""
    work = small_work(tmp_path / "notes", fate={}, pause_s=0.3)
    driver = FORK.Process(target=drive, args=(tmp_path / "run", work))
    driver.start()
    assert driver.pid is not None
    wait_until(lambda: len(work.begun()) > 3)
    at_work = [child.pid for child in psutil.Process(driver.pid).children()]
    assert len(at_work) == 2
    os.killpg(driver.pid, signal.SIGINT)
    driver.join()
    wait_until(lambda: not any(map(alive, at_work)), seconds=20)
    folder = begin(tmp_path / "run", work)
    kept = folder.finished()
    assert 0 < len(kept) < 8
    assert driver.exitcode == 0
    assert (folder.path / "stated").read_text().startswith(f"interrupted; {len(kept)} of 8 batches are saved in ")
    assert folder.claimed() == []
    assert capfd.readouterr() == ("", ""), "no process prints a traceback"
    run_work(folder, SmallWork(notes=work.notes), executor=Executor(workers=2))
    assert made(folder) == undisturbed
    assert all(Counter(work.begun())[unit] == 1 for unit in kept)


def test_one_process_is_the_default() -> None:
    executors = (Executor(), Executor(workers=1), Executor(workers=2), Executor(ray="auto", workers=1))
    assert [executor.here for executor in executors] == [True, True, False, False]


@pytest.mark.parametrize(
    ("cores", "free", "units", "count"),
    [(8, 100, 50, 8), (8, 100, 3, 3), (8, 7, 50, 3), (8, 1, 50, 1), (8, 100, 0, 1), (None, 100, 50, 1)],
)
def test_the_number_of_workers_is_limited_by_cores_memory_and_units(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, free: int, units: int, count: int
) -> None:
    """Each worker needs twice the memory of this process, which has 1 GB."""
    memory, process = SimpleNamespace(available=free * 10**9), SimpleNamespace(rss=10**9)
    machine = SimpleNamespace(
        virtual_memory=lambda: memory, Process=lambda: SimpleNamespace(memory_info=lambda: process)
    )
    monkeypatch.setattr(executors_module, "psutil", machine)
    monkeypatch.setattr(executors_module.os, "cpu_count", lambda: cores)
    assert suitable_workers(torch.device("cpu"), units) == count
    assert suitable_workers(torch.device("cuda"), units) == 1


def test_the_seconds_of_a_unit_are_measured_unless_it_reports_them(work: SmallWork) -> None:
    assert timed(work.start(), work.task("004-unit")).about["seconds"] > 0
    assert timed(lambda _: UnitResult(rows=(), about={"seconds": 7.0}), 0).about["seconds"] == 7.0


def test_another_model_or_version_is_rejected() -> None:
    spec = {"latentedit": __version__, "model": "portraits", "model_fingerprint": "a"}
    check_same_model(spec, "a")
    for other, fingerprint in ((spec, "b"), (spec | {"latentedit": "99.0"}, "a")):
        with pytest.raises(ModelError):
            check_same_model(other, fingerprint)
