"""Every unit is done once, by whoever gets at it, whatever becomes of the others; no process is left behind."""

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import psutil
import pytest
import torch

from latentedit._version import __version__
from latentedit.batch import executors as executors_module
from latentedit.batch import folder as folder_module
from latentedit.batch.executors import Executor, check_model, run_here, run_processes, run_work, suitable_workers, timed
from latentedit.batch.folder import CLAIMS, RunFolder, UnitResult
from latentedit.core.errors import ConfigError, ModelError, OutputError
from tests.batch.small_work import FORK, SmallWork, alive, begin, killed_alone, made, small_work, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors_module, "PAUSE_S", 0.01)


@pytest.fixture
def work(tmp_path: Path) -> SmallWork:
    return small_work(tmp_path / "notes")


def test_everything_is_done_once(tmp_path: Path, work: SmallWork, undisturbed: dict[str, bytes]) -> None:
    folder, report = begin(tmp_path / "run", work), list[tuple[str, int, int]]()
    run_here(folder, work, progress=lambda *step: report.append(step))
    run_here(folder, work)
    assert made(folder) == undisturbed
    assert work.begun() == list(work.units)
    assert report == [*(("small", done, 8) for done in range(1, 9)), ("small", 8, 8)]
    assert all(record.seconds >= 0 for record in folder.records().values())
    assert not list((folder.path / CLAIMS).iterdir())


def test_nothing_is_loaded_where_nothing_is_to_do(tmp_path: Path, work: SmallWork) -> None:
    folder = begin(tmp_path / "run", work)
    run_here(folder, work)
    broken = SmallWork(notes=work.notes, before="loaded for nothing")
    run_here(folder, broken)
    with pytest.raises(ConfigError, match="`workers` must be at least 1; got 0"):
        Executor(workers=0)
    folder.forget("003-unit")
    with pytest.raises(ConfigError, match="loaded for nothing"):
        run_here(folder, broken)


def run_one(path: Path, work: SmallWork) -> None:
    run_here(begin(path, work), work)


def test_a_killed_runner_leaves_its_unit_free_and_its_work_done(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    work = small_work(tmp_path / "notes", fate={"002-unit": "killed", "006-unit": "killed"})
    for kept in (2, 6):
        runner = FORK.Process(target=run_one, args=(tmp_path / "run", work))
        runner.start()
        runner.join()
        assert runner.exitcode == -signal.SIGKILL
        folder = RunFolder.read(tmp_path / "run")
        assert folder.finished() == list(work.units[:kept])
        assert folder.claimed() == []
    run_here(folder, work)
    assert made(folder) == undisturbed
    assert Counter(work.begun()) == {unit: 2 if unit in work.fate else 1 for unit in work.units}


def test_a_unit_that_another_holds_is_waited_for(
    tmp_path: Path, work: SmallWork, undisturbed: dict[str, bytes]
) -> None:
    """The other is killed at it; until then the rest was done, and that is told again while nothing is to do."""
    held, report = SmallWork(notes=work.notes, pause_s=10), list[int]()
    folder = begin(tmp_path / "run", work)
    other = FORK.Process(target=run_here, args=(folder, held))
    other.start()
    wait_until(lambda: work.begun() == ["000-unit"])
    assert folder.claimed() == ["000-unit"]

    def progress(_: str, done: int, __: int) -> None:
        assert done < 8 or not other.is_alive()
        report.append(done)
        if report.count(7) > 1 and other.is_alive():
            os.kill(other.pid or 0, signal.SIGKILL)
            other.join()

    run_here(folder, work, progress=progress)
    assert made(folder) == undisturbed
    assert Counter(work.begun())["000-unit"] == 2


@pytest.mark.parametrize("how", ["interrupted", "refused", "a full disk"])
def test_what_stops_a_run_keeps_what_is_done_and_lets_go_of_the_unit(
    tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    work = small_work(tmp_path / "notes", fate={"003-unit": "refused"} if how == "refused" else {})
    folder, write_text = begin(tmp_path / "run", work), folder_module.write_text

    def stop(_: str, done: int, __: int) -> None:
        if how == "interrupted" and done == 3:
            raise KeyboardInterrupt

    def write(place: Path, text: str) -> None:
        if place.name == "003-unit.jsonl" and how == "a full disk":
            raise OutputError("No space left on device")
        write_text(place, text)

    monkeypatch.setattr(folder_module, "write_text", write)
    kept = f"interrupted; 3 of 8 batches are saved in {folder.path}. Run the same command to resume"
    words = {"interrupted": kept, "refused": "the unit 003-unit is refused. Leave it out", "a full disk": "No space"}
    with pytest.raises((KeyboardInterrupt, ConfigError, OutputError), match=words[how]):
        run_work(folder, work, progress=stop)
    monkeypatch.undo()
    assert folder.finished() == list(work.units[:3])
    assert folder.claimed() == []
    run_here(folder, SmallWork(notes=work.notes))
    assert made(folder) == undisturbed


def test_a_unit_that_another_did_meanwhile_is_left_alone(
    tmp_path: Path, work: SmallWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at what is left and the claim."""
    folder, claim = begin(tmp_path / "run", work), RunFolder.claim

    @contextlib.contextmanager
    def late(self: RunFolder, unit: str) -> Generator[bool]:
        if unit == "002-unit":
            self.add(unit, UnitResult(rows=()))
        with claim(self, unit) as mine:
            yield mine

    monkeypatch.setattr(RunFolder, "claim", late)
    run_here(folder, work)
    assert work.begun() == [unit for unit in work.units if unit != "002-unit"]


def test_one_core_while_it_works(tmp_path: Path, work: SmallWork, monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = torch.get_num_threads(), list[int]()
    torch.set_num_threads(2)
    monkeypatch.setattr(SmallWork, "_befall", lambda *_: seen.append(torch.get_num_threads()))
    try:
        with contextlib.suppress(KeyError):
            run_here(begin(tmp_path / "run", work), work, progress=lambda what, *_: {}[what])
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def processes_of(folder: RunFolder) -> set[int]:
    return {record.model_dump()["process"] for record in folder.records().values()}


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children() if "resource_tracker" not in " ".join(child.cmdline())]


@pytest.mark.parametrize("how", ["forked", pytest.param("spawned", marks=pytest.mark.nightly)])
def test_one_that_dies_is_survived(
    tmp_path: Path, undisturbed: dict[str, bytes], how: str, request: pytest.FixtureRequest
) -> None:
    """Also with processes that import everything anew, as users have them."""
    if how == "forked":
        request.getfixturevalue("forked")
    work = small_work(tmp_path / "notes", fate={"001-unit": "killed"}, pause_s=0.1)
    folder, report = begin(tmp_path / "run", work), list[tuple[str, int, int]]()
    with pytest.warns(UserWarning, match="a worker process died"):
        run_processes(folder, work, 2, progress=lambda *step: report.append(step))
    assert made(folder) == undisturbed
    assert Counter(work.begun())["001-unit"] == 2
    assert len(work.begun()) <= 10, "that unit, and what the other was at"
    assert report[-1] == ("small", 8, 8)
    assert [done for _, done, _ in report] == sorted(done for _, done, _ in report)
    assert children() == []


def test_no_more_are_started_than_there_is_work(forked: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, started = small_work(tmp_path / "notes", count=2), list[object]()
    folder, start = begin(tmp_path / "run", work), FORK.Process.start
    monkeypatch.setattr(FORK.Process, "start", lambda process: started.append(process) or start(process))
    report = list[tuple[str, int, int]]()
    for _ in range(2):
        run_work(folder, work, executor=Executor(workers=5), progress=lambda *step: report.append(step))
        assert len(started) == 2
    assert report[-1] == ("small", 2, 2)


def test_workers_are_not_forked(tmp_path: Path, work: SmallWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork has no use of a GPU."""
    pool = Mock(side_effect=InterruptedError)
    monkeypatch.setattr(executors_module, "ProcessPoolExecutor", pool)
    with pytest.raises(InterruptedError):
        run_processes(begin(tmp_path / "run", work), work, 2)
    assert pool.call_args.kwargs["mp_context"].get_start_method() == "spawn"


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:a worker process died")
def test_when_all_die_that_is_reported(forked: None, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    work = small_work(tmp_path / "notes", fate={"003-unit": "deadly"}, pause_s=0.02)
    folder = begin(tmp_path / "run", work)
    with pytest.raises(OutputError, match=r"all worker processes of .* died, .* `workers`"):
        run_processes(folder, work, 2)
    assert {"000-unit", "001-unit", "002-unit"} <= set(folder.finished()) < set(work.units)
    assert children() == []
    run_processes(folder, SmallWork(notes=work.notes), 2)
    assert made(folder) == undisturbed
    assert len(processes_of(folder) - {os.getpid()}) >= 3


@pytest.mark.parametrize("count", [1, 8])
def test_an_error_in_one_is_an_error_here(forked: None, tmp_path: Path, count: int) -> None:
    """Also where it is the last that this process had to say."""
    work = small_work(tmp_path / "notes", fate={"000-unit": "refused"}, count=count, pause_s=0.1)
    folder = begin(tmp_path / "run", work)
    with pytest.raises(ConfigError, match=r"^the unit 000-unit is refused. Leave it out$"):
        run_processes(folder, work, 2)
    assert children() == []
    assert folder.claimed() == []
    assert count == 1 or len(work.begun()) < count, "the other is stopped"


def drive(path: Path, work: SmallWork) -> None:
    """A command in a group of its own; leaves the text of its interruption."""
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
    """It goes to the whole group."""
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
    assert capfd.readouterr() == ("", ""), "nobody prints a traceback"
    run_processes(folder, SmallWork(notes=work.notes), 2)
    assert made(folder) == undisturbed
    assert all(Counter(work.begun())[unit] == 1 for unit in kept)


def test_no_worker_outlives_a_killed_run(forked: None, tmp_path: Path) -> None:
    work = small_work(tmp_path / "notes", fate={}, pause_s=0.3)
    driver = FORK.Process(target=drive, args=(tmp_path / "run", work))
    driver.start()
    wait_until(lambda: len(work.begun()) >= 2)
    killed_alone(driver, 2)
    assert len(work.begun()) < 6


def test_one_process_does_the_work_by_default() -> None:
    executors = (Executor(), Executor(workers=1), Executor(workers=2), Executor(ray="auto", workers=1))
    assert [executor.here for executor in executors] == [True, True, False, False]


@pytest.mark.parametrize(
    ("cores", "free", "units", "count"),
    [(8, 100, 50, 8), (8, 100, 3, 3), (8, 7, 50, 3), (8, 1, 50, 1), (8, 100, 0, 1), (None, 100, 50, 1)],
)
def test_as_many_workers_as_cores_memory_and_work_allow(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, free: int, units: int, count: int
) -> None:
    """Of processes that need twice the gigabyte that this one has."""
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=10**9))
    monkeypatch.setattr(psutil, "Process", lambda: process)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free * 10**9))
    monkeypatch.setattr(executors_module.os, "cpu_count", lambda: cores)
    assert suitable_workers(torch.device("cpu"), units) == count
    assert suitable_workers(torch.device("cuda"), units) == 1


def test_the_seconds_of_a_unit_are_measured_unless_it_states_them(work: SmallWork) -> None:
    assert timed(work.start(), work.task("004-unit")).about["seconds"] > 0
    assert timed(lambda _: UnitResult(rows=(), about={"seconds": 7.0}), 0).about["seconds"] == 7.0


def test_another_model_and_another_version_are_refused() -> None:
    spec = {"latentedit": __version__, "model": "portraits", "model_fingerprint": "a"}
    check_model(spec, "a")
    for other, fingerprint in ((spec, "b"), (spec | {"latentedit": "99.0"}, "a")):
        with pytest.raises(ModelError, match=r"has latentedit \d.*; this run needs .*Install these there"):
            check_model(other, fingerprint)
