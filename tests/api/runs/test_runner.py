"""Every unit is done once, by whoever gets at it, whatever becomes of the others."""

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from latentedit.api.runs import runner as runner_module
from latentedit.api.runs.folder import CLAIMS, RunFolder
from latentedit.api.runs.runner import one_thread, run_here, timed, unclaimed
from latentedit.api.runs.work import Done, Measure
from latentedit.core.errors import ConfigError, OutputError
from tests.api.runs.small_work import FORK, SmallWork, begin, contents, small_work, wait_until


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "PAUSE_S", 0.01)


@pytest.fixture
def work(tmp_path: Path) -> SmallWork:
    return small_work(tmp_path / "notes")


def test_everything_is_done_once(tmp_path: Path, work: SmallWork, undisturbed: dict[str, bytes]) -> None:
    folder, told = begin(tmp_path / "run", work), list[tuple[str, int, int]]()
    run_here(folder, work, progress=lambda *step: told.append(step))
    run_here(folder, work)
    folder.write_table()
    assert contents(folder.path) == undisturbed
    assert work.begun() == list(work.units)
    assert told == [*(("small", done, 8) for done in range(1, 9)), ("small", 8, 8)]
    assert all(record["seconds"] >= 0 for record in folder.records().values())
    assert not list((folder.path / CLAIMS).iterdir())


def test_nothing_is_loaded_where_nothing_is_to_do(tmp_path: Path, work: SmallWork) -> None:
    folder = begin(tmp_path / "run", work)
    run_here(folder, work)
    broken = SmallWork(notes=work.notes, before="expected not to be loaded; it was. Look why")
    run_here(folder, broken)
    folder.forget("003-unit")
    with pytest.raises(ConfigError, match="expected not to be loaded"):
        run_here(folder, broken)


def test_two_threads_share_a_folder(tmp_path: Path, work: SmallWork, undisturbed: dict[str, bytes]) -> None:
    folder = begin(tmp_path / "run", work)
    threads = [threading.Thread(target=run_here, args=(folder, work)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folder.write_table()
    assert contents(folder.path) == undisturbed
    assert work.begun() == list(work.units)


def test_two_processes_share_a_folder(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    work = small_work(tmp_path / "notes", pause_s=0.03)
    runners = [FORK.Process(target=run_one, args=(tmp_path / "run", work)) for _ in range(2)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    assert [runner.exitcode for runner in runners] == [0, 0]
    folder = begin(tmp_path / "run", work)
    folder.write_table()
    assert contents(folder.path) == undisturbed
    assert work.begun() == list(work.units)
    assert len({record["process"] for record in folder.records().values()}) == 2


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
    folder.write_table()
    assert contents(folder.path) == undisturbed
    assert Counter(work.begun()) == {unit: 2 if unit in work.fate else 1 for unit in work.units}


def test_a_unit_that_another_holds_is_waited_for(
    tmp_path: Path, work: SmallWork, undisturbed: dict[str, bytes]
) -> None:
    """The other is killed at it; until then the rest was done."""
    held = SmallWork(notes=work.notes, pause_s=600)
    folder = begin(tmp_path / "run", work)
    other = FORK.Process(target=run_here, args=(folder, held))
    other.start()
    wait_until(lambda: work.begun() == ["000-unit"])
    assert folder.claimed() == ["000-unit"]

    def progress(_: str, done: int, __: int) -> None:
        assert done < 8 or not other.is_alive()
        if done == 7 and other.is_alive():
            os.kill(other.pid or 0, signal.SIGKILL)
            other.join()

    run_here(folder, work, progress=progress)
    folder.write_table()
    assert contents(folder.path) == undisturbed
    assert Counter(work.begun())["000-unit"] == 2


def test_an_interruption_says_what_is_kept(tmp_path: Path, work: SmallWork, undisturbed: dict[str, bytes]) -> None:
    folder = begin(tmp_path / "run", work)

    def stop(_: str, done: int, __: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        run_here(folder, work, progress=stop)
    said = f"interrupted; 3 of 8 parts are kept in {folder.path}, and the same command goes on from there"
    assert str(caught.value) == said
    assert folder.claimed() == []
    run_here(folder, work)
    folder.write_table()
    assert contents(folder.path) == undisturbed


def test_an_error_keeps_what_is_done_and_lets_go_of_the_unit(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    work = small_work(tmp_path / "notes", fate={"004-unit": "refused"})
    folder = begin(tmp_path / "run", work)
    with pytest.raises(ConfigError, match="expected another unit; got 004-unit"):
        run_here(folder, work)
    assert folder.finished() == list(work.units[:4])
    assert folder.claimed() == []
    run_here(folder, SmallWork(notes=work.notes))
    folder.write_table()
    assert contents(folder.path) == undisturbed


def test_a_full_disk_stops_a_run_that_goes_on_when_there_is_room(
    tmp_path: Path, work: SmallWork, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, written = begin(tmp_path / "run", work), list[object]()
    write_table = pq.write_table

    def write(*arguments: object, **more: object) -> None:
        written.append(arguments)
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        write_table(*arguments, **more)

    monkeypatch.setattr(pq, "write_table", write)
    with pytest.raises(OutputError, match=r"003-unit.parquet cannot be written: No space left"):
        run_here(folder, work)
    assert folder.finished() == list(work.units[:3])
    run_here(folder, work)
    folder.write_table()
    assert contents(folder.path) == undisturbed


def test_units_are_held_one_at_a_time(tmp_path: Path, work: SmallWork) -> None:
    folder = begin(tmp_path / "run", work)
    for unit in unclaimed(folder, work.units, lambda: pytest.fail("nobody is to be waited for")):
        assert folder.claimed() == [unit]
        folder.add(unit, Done(rows=()))
    assert folder.finished() == list(work.units)


def test_one_core_while_it_works(tmp_path: Path, work: SmallWork) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    seen: list[int] = []

    class Watched:
        units = work.units
        told = work.told

        def parcel(self, unit: str, *, carried: bool = False) -> object:
            seen.append(torch.get_num_threads())
            return work.parcel(unit, carried=carried)

        def start(self) -> Measure:
            seen.append(torch.get_num_threads())
            return work.start()

    try:
        run_here(begin(tmp_path / "run", work), Watched())
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2
        with pytest.raises(ValueError, match="odd"), one_thread():
            raise ValueError("odd")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_seconds_are_told_beside_the_rows() -> None:
    done = timed(lambda parcel: Done(rows=[{"a": parcel}], about={"b": 1}), 5)
    assert done.rows == [{"a": 5}]
    assert set(done.about) == {"seconds", "b"}
    assert timed(lambda _: Done(rows=(), about={"seconds": 7.0}), 0).about["seconds"] == 7.0
