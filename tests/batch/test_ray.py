"""A run on a Ray cluster has the same table as a local one, even if workers die."""

import contextlib
import functools
import importlib.util
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from latentedit.batch import ray as cluster_module
from latentedit.batch.executors import Executor, run_work
from latentedit.batch.folder import RunFolder
from latentedit.core.errors import ConfigError, OutputError
from tests.batch.small_work import SmallWork, begin, made, small_work

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")


class FakeRay:
    """Ray in this process: a reference is a call that runs when its result is fetched."""

    class RayError(Exception): ...

    class RayTaskError(RayError): ...

    class RayActorError(RayError): ...

    class ObjectLostError(RayError): ...

    class OutOfMemoryError(RayError): ...

    def __init__(self, *, cores: int = 2, gpus: int = 0, unable: int = 0, room: int = 99, **deaths: int) -> None:
        self.deaths, self.workers, self.exceptions = Counter(deaths), 0, self
        self.resources = {"CPU": float(cores), "GPU": float(gpus)}
        self.unable, self.room = unable, room  # the first workers die while they load, the last never start
        self.options = dict[str, Any]()
        self.death: type[FakeRay.RayError] = FakeRay.RayActorError
        self.calls, self.put = list[Any](), lambda work: work
        self.init, self.shutdown = lambda **options: self.calls.append(options), lambda: self.calls.append("shutdown")

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, **options: Any) -> Any:
        self.options = options
        return lambda kind: SimpleNamespace(remote=functools.partial(self.made, kind))

    def made(self, kind: Any, work: SmallWork) -> Any:
        self.workers, worker = self.workers + 1, kind(work)
        methods = (self.die, self.die) if self.workers <= self.unable else (worker.load, worker.measure)
        methods = (self.never, self.never) if self.workers > self.room else methods
        load, measure = (SimpleNamespace(remote=functools.partial(functools.partial, method)) for method in methods)
        return SimpleNamespace(load=load, measure=measure)

    def die(self, *_: object) -> None:
        raise self.RayActorError("killed")

    def never(self, *_: object) -> None:
        raise NotImplementedError

    def wait(self, references: list[Any], **_: object) -> tuple[list[Any], list[Any]]:
        ready = [one for one in references if one.func != self.never][:1]
        assert ready, "it would wait for ever"
        return ready, [one for one in references if one not in ready]

    def get(self, reference: "functools.partial[Any]") -> Any:
        for unit, _ in reference.args:
            if self.deaths[unit] > 0:
                self.deaths[unit] -= 1
                raise self.death("killed")
        return reference()


Run = Callable[..., dict[str, bytes]]


@pytest.fixture
def run(folder: RunFolder, work: SmallWork, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that does the small work on a pretended cluster, and returns what it has made."""

    def on(ray: FakeRay, *, address: str = "auto", workers: int | None = None, **options: Any) -> dict[str, bytes]:
        monkeypatch.setattr(cluster_module, "require", lambda *_: ray)
        run_work(folder, work, executor=Executor(ray=address, workers=workers), **options)
        return made(folder)

    return on


def test_units_of_workers_and_of_other_processes_complete_the_run(
    folder: RunFolder, work: SmallWork, undisturbed: dict[str, bytes], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead workers are replaced; one unit is claimed by another process until all others are done."""
    ray, others = FakeRay(**{"003-unit": 3}), contextlib.ExitStack()
    pauses, dialed, report = iter([others]), list[Any](), list[int]()

    def connect(*arguments: Any, **options: Any) -> Any:
        dialed.append((arguments, options))
        return contextlib.ExitStack()

    monkeypatch.setattr(cluster_module, "socket", SimpleNamespace(create_connection=connect))
    monkeypatch.setattr("latentedit.core.workers.time", SimpleNamespace(sleep=lambda _: next(pauses).close()))
    assert others.enter_context(folder.claim("006-unit"))
    assert run(ray, address="ray://head:6379", progress=lambda _, done, __: report.append(done)) == undisturbed
    assert work.begun() == list(work.units)
    assert (ray.workers, report[-1], report == sorted(report)) == (2 + 3, 8, True)
    assert dialed == [((("head", 6379),), {"timeout": cluster_module._ANSWER_S})]
    assert ray.calls == [{"address": "ray://head:6379", "log_to_driver": False, "logging_level": "ERROR"}, "shutdown"]


def test_a_unit_that_kills_every_worker_ends_the_run(folder: RunFolder, run: Run) -> None:
    with pytest.raises(OutputError):
        run(FakeRay(**{"001-unit": 9}), workers=1)
    assert folder.claimed() == []


@pytest.mark.filterwarnings("ignore:a worker died while it loaded")
def test_deaths_while_loading_leave_the_work_to_the_others(undisturbed: dict[str, bytes], run: Run) -> None:
    ray = FakeRay(cores=6, unable=5)
    assert run(ray) == undisturbed
    assert ray.workers == 6


@pytest.mark.filterwarnings("ignore:a worker died while it loaded")
@pytest.mark.parametrize(("cores", "unable"), [(3, 2), (3, 1), (2, 1), (4, 3)])
def test_a_long_run_gets_back_the_workers_that_died_while_they_loaded(cores: int, unable: int) -> None:
    ray = FakeRay(cores=cores, unable=unable)
    crew, done = cluster_module._Cluster(ray, lambda: lambda task: task, None), list[str]()
    for number in range(60):
        crew.submit(f"{number}", (f"{number}", 0))
    counts = list[int]()
    while crew.running:
        done += [name for name, _ in crew.finished()]
        counts.append(crew.count)
    assert sorted(map(int, done)) == list(range(60))
    assert (min(counts), counts[-1], ray.workers) == (cores - unable, cores, cores + unable)


@pytest.mark.filterwarnings("ignore:a worker died while it loaded")
def test_a_machine_on_which_no_worker_loads_is_tried_less_and_less() -> None:
    class OneMachine(FakeRay):
        def made(self, kind: Any, work: SmallWork) -> Any:
            self.unable = 999 * bool(self.workers)  # only the first one loads
            return super().made(kind, work)

    ray = OneMachine(cores=2)
    crew = cluster_module._Cluster(ray, lambda: lambda task: task, None)
    for number in range(200):
        crew.submit(f"{number}", (f"{number}", 0))
    while crew.running:
        crew.finished()
    assert 5 <= ray.workers <= 20  # there were 200 chances


@pytest.mark.filterwarnings("ignore:a worker died while it loaded")
def test_the_run_ends_if_no_worker_loads(run: Run) -> None:
    ray = FakeRay(cores=3, unable=99)
    with pytest.raises(OutputError):
        run(ray)
    assert ray.workers <= 3 + cluster_module.TRIES


def test_no_task_waits_for_a_worker_without_room(undisturbed: dict[str, bytes], run: Run) -> None:
    """The one worker that is left does all tasks, which happens after the death of a machine."""
    assert run(FakeRay(cores=3, room=1)) == undisturbed


@pytest.mark.parametrize("death", [FakeRay.ObjectLostError, FakeRay.OutOfMemoryError])
def test_what_is_lost_with_a_machine_or_killed_for_its_memory_is_made_again(
    undisturbed: dict[str, bytes], run: Run, death: type[FakeRay.RayError]
) -> None:
    ray = FakeRay(**{"003-unit": 1})
    ray.death = death
    assert run(ray) == undisturbed


@pytest.mark.parametrize(("cores", "gpus", "count"), [(2, 0, 2), (2, 0, 1), (2, 0, 7), (8, 3, 4), (8, 1, 7), (0, 0, 2)])
def test_workers_need_a_share_so_that_ray_spreads_them_and_all_fit(run: Run, cores: int, gpus: int, count: int) -> None:
    ray = FakeRay(cores=cores, gpus=gpus)
    run(ray, workers=count)
    needed, other = ("num_gpus", "num_cpus") if gpus else ("num_cpus", "num_gpus")
    share, units = ray.options[needed], gpus or cores
    assert (share > 0, ray.options[other]) == (units > 0, 0)
    assert not units or units * int(1 / share) >= count


@pytest.mark.parametrize("source", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "a file", ""])
def test_a_token_of_the_account_is_used(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Ray uses one without RAY_AUTH_MODE only where it finds the cluster itself."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that it is removed afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    if source == "a file":
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray/auth_token").write_text("token")
    elif source:
        monkeypatch.setenv(source, "token")
    ray, modes = FakeRay(), list[str | None]()
    ray.init = lambda **_: modes.append(os.environ.get("RAY_AUTH_MODE"))
    run(ray)
    assert modes == ["token" if source else None]


@pytest.mark.parametrize(("replaced", "sent"), [("init", "init"), ("wait", "wait"), ("init", "wait")])
def test_sigterm_does_what_it_did_before(folder: RunFolder, run: Run, replaced: str, sent: str) -> None:
    """Ray replaces the handler; within its calls that exits with the code 1, and behind them it prints a stack."""
    ray = FakeRay()

    def called(name: str) -> Callable[..., None]:
        def call(*_: object, **__: object) -> None:
            if name == replaced:
                signal.signal(signal.SIGTERM, handle)
            if name == sent:
                signal.raise_signal(signal.SIGTERM)

        return call

    def handle(*_: object) -> None:
        ray.calls.append("a stack")
        if replaced == sent:
            sys.exit(1)

    def leave(*_: object) -> None:
        sys.exit(143)

    for name in {replaced, sent}:
        setattr(ray, name, called(name))
    before = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(SystemExit) as ended:
            run(ray)
        assert signal.getsignal(signal.SIGTERM) is leave
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143
    assert ray.calls[-1] == "shutdown"
    assert ("a stack" in ray.calls) == (replaced == sent)
    assert folder.claimed() == []


@pytest.mark.parametrize("error", [ConnectionError, FakeRay.RayError])
def test_a_cluster_that_wants_a_token_is_not_taken_for_none(run: Run, error: type[Exception]) -> None:
    ray = FakeRay()

    def init(**_: object) -> None:
        raise error("no")

    ray.init = init
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(ConfigError, match="token"):
        run(ray, address=f"127.0.0.1:{server.getsockname()[1]}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two cores, in a temporary folder whose path is short enough for sockets."""
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
def test_killed_workers_are_replaced_and_errors_keep_their_type(
    cluster: Any, tmp_path: Path, undisturbed: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    """One is killed within a unit; no unit is done twice, and images are sent as bytes."""
    work = small_work(tmp_path / "notes", fate={"003-unit": "killed", "007-unit": "refused"})
    folder, report = begin(tmp_path / "run", work), list[int]()
    folder.add("001-unit", work.measure(work.task("001-unit")))
    capfd.readouterr()
    with pytest.raises(ConfigError):
        run_work(
            folder,
            work,
            executor=Executor(ray=cluster.address, workers=1),
            progress=lambda _, done, __: report.append(done),
        )
    assert capfd.readouterr() == ("", "")
    assert folder.finished() == list(work.units[:7])
    assert folder.claimed() == []
    assert report[-1] == 7
    assert Counter(work.begun()) == {unit: 2 if unit == "003-unit" else 1 for unit in work.units}
    processes = {record.model_dump()["process"] for record in folder.records().values()}
    assert len(processes) == 3  # this one, and two workers
    run_work(folder, SmallWork(notes=work.notes))
    assert made(folder) == undisturbed


@pytest.mark.slow_cases("127.0.0.1:1")
@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "head", "head:six", "127.0.0.1:99999"])
def test_an_address_without_a_cluster_is_rejected(folder: RunFolder, work: SmallWork, address: str) -> None:
    with pytest.raises(ConfigError):
        run_work(folder, work, executor=Executor(ray=address, workers=None))
    assert work.begun() == []
