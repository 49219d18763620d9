"""A plan of a few cheap units, some of which fail or are killed."""

import contextlib
import dataclasses
import multiprocessing
import multiprocessing.process
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from latentedit.batch.folder import Failure, RunFolder, UnitResult
from latentedit.batch.work import UnitFunction
from latentedit.core.errors import ConfigError

FORK = multiprocessing.get_context("fork")  # starts a process without the seconds of imports


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SmallWork:
    """Numbered units, whose rows, files and failures depend on the number and on the bytes of a file."""

    notes: Path  # contains `source`, and a file for each start of a unit
    count: int = 8
    fate: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    """What happens in a unit: "killed" (its worker, the first time), "deadly" (every time) or "refused" (an error)."""
    pause_s: float = 0.0
    before: str = ""

    @property
    def spec(self) -> Mapping[str, Any]:
        return {"count": self.count, "half": 0.5, "names": ["a", "b"]}

    @property
    def units(self) -> Sequence[str]:
        return [f"{number:03d}-unit" for number in range(self.count)]

    def task(self, unit: str) -> tuple[str, bytes]:
        return unit, (self.notes / "source").read_bytes()

    def start(self) -> UnitFunction:
        if self.before:
            raise ConfigError(self.before)
        return self.measure

    def measure(self, task: tuple[str, bytes]) -> UnitResult:
        unit, content = task
        self._befall(unit)
        number = int(unit[:3])
        rows: list[dict[str, Any]] = [
            {"unit": unit, "place": place, "third": (number + place) / 3, "none": None, "source": content.hex()}
            for place in range(number % 3)
        ]
        if number == 4:
            rows[0] |= {"seldom": True, "later": "text"}
        return UnitResult(
            rows=rows,
            files={f"files/{number % 2}/{unit}.bin": content + bytes([number])},
            failures=[Failure(item=unit, what="odd", why="it is five")] if number == 5 else (),
            about={"process": os.getpid()},
        )

    def begun(self) -> list[str]:
        """Each unit as often as it was begun."""
        return sorted(place.name.split(".")[0] for place in self.notes.glob("*.begun"))

    def _befall(self, unit: str) -> None:
        before = self.begun().count(unit)
        (self.notes / f"{unit}.{os.getpid()}-{time.monotonic_ns()}.begun").touch()
        time.sleep(self.pause_s)
        match self.fate.get(unit):
            case "refused":
                raise ConfigError(f"the unit {unit} is refused. Leave it out")
            case "deadly":
                os.kill(os.getpid(), signal.SIGKILL)
            case "killed" if not before:
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                pass


def small_work(path: Path, **more: Any) -> SmallWork:
    """A plan with its own folder of notes."""
    path.mkdir()
    (path / "source").write_bytes(b"image")
    return SmallWork(notes=path, **more)


def begin(path: Path, work: SmallWork) -> RunFolder:
    return RunFolder.start(path, work.spec, kind="small", units=work.units, command="make it", request={"a": 1})


def contents(path: Path) -> dict[str, bytes]:
    """Table and files of a run, without seconds and temporary files of killed workers."""
    kept = [path / "rows.csv", *sorted((path / "files").rglob("[!.]*"))]
    return {str(place.relative_to(path)): place.read_bytes() for place in kept if place.is_file()}


def made(folder: RunFolder) -> dict[str, bytes]:
    """`contents` after writing the table."""
    folder.write_table()
    return contents(folder.path)


def wait_until(true: Callable[[], object], *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            pytest.fail("timed out")
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def killed_alone(driver: "multiprocessing.process.BaseProcess", count: int) -> None:
    """Kill a process with -9, and fail unless its children end soon; in any case, kill them."""
    children = psutil.Process(driver.pid).children()
    assert len(children) == count
    driver.kill()
    driver.join()
    try:
        wait_until(lambda: not any(alive(child.pid) for child in children), seconds=5)
    finally:
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
