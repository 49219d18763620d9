"""A Ray cluster gives the same table as this machine, whatever becomes of its workers."""

import contextlib
import functools
import importlib.util
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import psutil
import pytest

from latentedit.batch import ray as cluster_module
from latentedit.batch.executors import run_here
from latentedit.batch.ray import run_on_ray
from latentedit.core.errors import ConfigError, OutputError
from tests.batch.small_work import SmallWork, begin, made, small_work

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")


class FakeRay:
    """Ray in this process: a reference is a call, which is made when its result is wanted."""

    class RayTaskError(Exception): ...

    class RayActorError(Exception): ...

    def __init__(self, **deaths: int) -> None:
        self.deaths, self.workers, self.exceptions = Counter(deaths), 0, self
        self.init, self.shutdown, self.put = Mock(), Mock(), lambda work: work

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def remote(self, **_: object) -> Any:
        return lambda kind: SimpleNamespace(remote=functools.partial(self.made, kind))

    def made(self, kind: Any, work: SmallWork) -> Any:
        self.workers, worker = self.workers + 1, kind(work)
        calls = {name: functools.partial(functools.partial, getattr(worker, name)) for name in ("start", "measure")}
        return SimpleNamespace(**{name: SimpleNamespace(remote=call) for name, call in calls.items()})

    def wait(self, references: list[Any], **_: object) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def get(self, reference: "functools.partial[Any]") -> Any:
        for unit, _ in reference.args:
            if self.deaths[unit] > 0:
                self.deaths[unit] -= 1
                raise self.RayActorError("killed")
        return reference()


def test_what_workers_and_other_processes_finish_is_the_whole_run(
    tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead workers are replaced; one unit is another's until nothing else is left."""
    work, ray, dial, others = small_work(tmp_path / "notes"), FakeRay(**{"003-unit": 3}), Mock(), contextlib.ExitStack()
    pauses = iter([others])
    monkeypatch.setattr(cluster_module, "require", lambda *_: ray)
    monkeypatch.setattr(cluster_module, "socket", SimpleNamespace(create_connection=dial))
    monkeypatch.setattr(cluster_module, "time", SimpleNamespace(sleep=lambda _: next(pauses).close()))
    folder, report = begin(tmp_path / "run", work), list[int]()
    assert others.enter_context(folder.claim("006-unit"))
    run_on_ray(folder, work, address="ray://head:6379", workers=None, progress=lambda _, done, __: report.append(done))
    assert made(folder) == undisturbed
    assert work.begun() == list(work.units)
    assert (ray.workers, report[-1], report == sorted(report)) == (2 + 3, 8, True)
    dial.assert_called_once_with(("head", 6379), timeout=cluster_module._ANSWER_S)
    ray.init.assert_called_once_with(address="ray://head:6379", log_to_driver=False, logging_level="ERROR")
    ray.shutdown.assert_called_once()


def test_a_unit_at_which_every_worker_dies_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "require", lambda *_: FakeRay(**{"001-unit": 9}))
    work = small_work(tmp_path / "notes")
    folder = begin(tmp_path / "run", work)
    with pytest.raises(OutputError, match=r"4 workers died at 001-unit, .*killed.* `batch`"):
        run_on_ray(folder, work, address="auto", workers=1, progress=None)
    assert folder.claimed() == []


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two cores, in a folder of its own, whose path is short enough for sockets."""
    folder, others = tempfile.mkdtemp(prefix="ray-"), set(psutil.Process().children(recursive=True))
    os.environ.update(cluster_module._QUIET | {"RAY_TMPDIR": folder})
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    servers = set(psutil.Process().children(recursive=True)) - others
    try:
        yield made
    finally:
        made.shutdown()
        for left in psutil.wait_procs(list(servers), timeout=10)[1]:
            left.kill()
        os.environ.pop("RAY_TMPDIR")
        shutil.rmtree(folder, ignore_errors=True)


@needs_ray
@pytest.mark.nightly
def test_killed_workers_are_survived_and_errors_are_what_they_were(
    cluster: Any, tmp_path: Path, undisturbed: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    """Killed in the middle of a unit; nothing is done twice, and images travel as bytes."""
    work = small_work(tmp_path / "notes", fate={"003-unit": "killed", "007-unit": "refused"})
    folder, report = begin(tmp_path / "run", work), list[int]()
    folder.add("001-unit", work.measure(work.task("001-unit")))
    capfd.readouterr()
    with pytest.raises(ConfigError, match=r"^the unit 007-unit is refused. Leave it out$"):
        run_on_ray(folder, work, address=cluster.address, workers=1, progress=lambda _, done, __: report.append(done))
    assert capfd.readouterr() == ("", "")
    assert folder.finished() == list(work.units[:7])
    assert folder.claimed() == []
    assert report[-1] == 7
    assert Counter(work.begun()) == {unit: 2 if unit == "003-unit" else 1 for unit in work.units}
    processes = {record.model_dump()["process"] for record in folder.records().values()}
    assert len(processes) == 3  # this one, and two workers
    run_here(folder, SmallWork(notes=work.notes))
    assert made(folder) == undisturbed


@needs_ray
@pytest.mark.nightly
def test_a_unit_that_no_worker_survives_is_named(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "TRIES", 2)
    work = small_work(tmp_path / "notes", fate={"001-unit": "deadly"})
    folder = begin(tmp_path / "run", work)
    with pytest.raises(OutputError, match=r"2 workers died at 001-unit, .* `batch`"):
        run_on_ray(folder, work, address=cluster.address, workers=1, progress=None)
    assert folder.finished() == ["000-unit"]
    assert work.begun().count("001-unit") == 2


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "head", "head:six", "127.0.0.1:99999"])
def test_an_address_that_does_not_answer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(cluster_module, "_ANSWER_S", 0.5)
    work = small_work(tmp_path / "notes")
    with pytest.raises(ConfigError, match=rf"no Ray cluster responds at {address}.* Start one with: ray start"):
        run_on_ray(begin(tmp_path / "run", work), work, address=address, workers=None, progress=None)
    assert work.begun() == []
