"""A run goes where it is told to, and says what became of its workers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from latentedit.api.runs import run as run_module
from latentedit.api.runs.run import Where, run_work, suitable_workers
from latentedit.core.errors import ConfigError
from tests.api.runs.small_work import begin, contents, small_work


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Who was asked to work, and how; three processes die on the way."""
    found: list[tuple[str, Any]] = []

    def processes(_: object, __: object, count: int, **___: object) -> int:
        found.append(("processes", count))
        return 3

    def ray(*_: object, address: str, workers: int | None, **__: object) -> None:
        found.append(("ray", (address, workers)))

    monkeypatch.setattr(run_module, "run_here", lambda *_, **__: found.append(("here", None)))
    monkeypatch.setattr(run_module, "run_processes", processes)
    monkeypatch.setattr(run_module, "run_on_ray", ray)
    return found


@pytest.mark.parametrize(
    ("where", "who", "here"),
    [
        (None, ("here", None), True),
        (Where(), ("here", None), True),
        (Where(workers=1), ("here", None), True),
        (Where(workers=2), ("processes", 2), False),
        (Where(ray="auto"), ("ray", ("auto", None)), False),
        (Where(ray="head:6379", workers=1), ("ray", ("head:6379", 1)), False),
    ],
)
def test_where_work_is_done(
    asked: list[tuple[str, Any]], tmp_path: Path, where: Where | None, who: tuple[str, Any], here: bool
) -> None:
    work = small_work(tmp_path / "notes")
    said = run_work(begin(tmp_path / "run", work), work, where=where)
    assert asked == [who]
    assert where is None or where.here == here
    assert said == (("3 of 2 workers died; the others did their part",) if who[0] == "processes" else ())


def test_the_work_is_done(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    work = small_work(tmp_path / "notes")
    folder, told = begin(tmp_path / "run", work), list[int]()
    assert run_work(folder, work, progress=lambda _, done, __: told.append(done)) == ()
    folder.write_table()
    assert contents(folder.path) == undisturbed
    assert told[-1] == 8


@pytest.mark.parametrize("count", [0, -1])
def test_no_workers_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=f"expected 1 worker or more; got {count}"):
        Where(workers=count)


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
    monkeypatch.setattr(run_module.os, "cpu_count", lambda: cores)
    assert suitable_workers(torch.device("cpu"), units) == count
    assert suitable_workers(torch.device("cuda"), units) == 1
