"""Workers on a Ray cluster, each with its own model.

Tasks are sent with the content of their images and results are sent back, so the machines need no shared disk. If a
worker is lost, another does its task, and Ray starts it where resources are free.
"""

import contextlib
import functools
import os
import signal
import socket
import threading
import warnings
from collections import Counter
from collections.abc import Generator
from typing import Any

from latentedit.core.errors import ConfigError, LatentEditError, OutputError
from latentedit.core.plugins import require
from latentedit_keep.base.workers import PAUSE_S, Named, Start, Workers

TRIES = 4  # workers that may die doing the same task before the run stops

# Read when Ray is imported: send no usage statistics, and do not print dead workers on stdout.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
_ANSWER_S = 5.0  # timeout of the connection; Ray itself would try for minutes


@contextlib.contextmanager
def ray_workers(start: Start, *, address: str, count: int | None) -> Generator[Workers]:
    """Workers on a cluster: HOST:PORT, ray://HOST:PORT, or "auto" for a local one.

    The default is one worker per GPU, or per core without GPUs.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    ray: Any = require("ray", "cluster")
    with _own_handler():
        try:
            _connect(ray, address)
            yield _Cluster(ray, start, count)
        finally:
            ray.shutdown()


class _Cluster(Workers):
    """Actors, started when they are needed; a new one does the task of one that died.

    One that dies while it loads is not replaced as long as there are others, which do its task: it may be its machine.
    """

    def __init__(self, ray: Any, start: Start, count: int | None) -> None:
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        super().__init__(count or gpus or int(resources.get("CPU", 1)))
        options = {"num_cpus": 0, "num_gpus": min(1.0, gpus / self.count), "scheduling_strategy": "SPREAD"}
        self._ray, self._kind, self._start = ray, ray.remote(**options)(_Worker), ray.put(start)
        self._idle, self._at_work, self._deaths = list[Any](), dict[Any, Any](), Counter[str]()
        self._waiting = list[Named]()

    def submit(self, name: str, task: Any) -> None:
        worker = self._idle.pop() if self._idle else self._started()
        reference = worker[0].measure.remote(task)
        self.running[reference], self._at_work[reference] = (name, task), worker

    def finished(self) -> list[Named]:
        found = list[Named]()
        for reference in self._ray.wait(list(self.running), timeout=PAUSE_S)[0]:
            (name, task), worker = self.running.pop(reference), self._at_work.pop(reference)
            try:
                found.append((name, self._ray.get(reference)))
                self._idle.append(worker)
            except self._ray.exceptions.RayTaskError as error:
                cause = getattr(error, "cause", None)
                raise (cause if isinstance(cause, LatentEditError) else error) from None
            except self._ray.exceptions.RayActorError as error:
                if self.count > 1 and not self._has_loaded(worker):
                    self.count -= 1
                    self._waiting.append((name, task))
                    warnings.warn("a worker died while it loaded; the others continue", stacklevel=2)
                    continue
                self._deaths[name] += 1
                if self._deaths[name] >= TRIES:
                    why = str(error).strip().splitlines()[-1].strip()
                    raise OutputError(
                        f"{TRIES} workers died at {name}, possibly out of memory: {why}. Finished batches are saved. "
                        "Resume with a smaller `batch`"
                    ) from error
                self.submit(name, task)
        while self._waiting and len(self.running) < self.count:
            self.submit(*self._waiting.pop())
        return found

    def _started(self) -> tuple[Any, Any]:
        """A new worker, and the reference that says whether it has loaded."""
        worker = self._kind.remote(self._start)
        return worker, worker.load.remote()

    def _has_loaded(self, worker: tuple[Any, Any]) -> bool:
        try:
            self._ray.get(worker[1])
        except self._ray.exceptions.RayActorError:
            return False
        return True


class _Worker:
    """A model on one core of the cluster, loaded before its first task."""

    def __init__(self, start: Start) -> None:
        self._start = functools.cache(start)

    def load(self) -> None:
        with contextlib.suppress(Exception):  # raised again by the first task
            self._start()

    def measure(self, task: object) -> Any:
        return self._start()(task)


@contextlib.contextmanager
def _own_handler() -> Generator[None]:
    """Let SIGTERM do what it did before: Ray's own handler exits silently, with 15 or, in calls of Ray, with 1."""
    before, leaving = signal.getsignal(signal.SIGTERM), False
    try:
        yield
    except SystemExit:
        leaving = True
        raise
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
            if leaving:
                signal.raise_signal(signal.SIGTERM)


def _connect(ray: Any, address: str) -> None:
    """Connect to a cluster, or raise a `ConfigError`."""
    none = f"no Ray cluster responds at {address}. Start one with: ray start --head"
    try:
        if address != "auto":
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
            none = (
                f"a server listens at {address}, but does not answer as a Ray cluster. If it needs a token, set "
                "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN unless it is in ~/.ray/auth_token"
            )
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, OverflowError, ValueError):
        raise ConfigError(none) from None
    except (RuntimeError, ray.exceptions.RayError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(
            f"cannot connect to the Ray cluster at {address}: {why}. Check its versions and token"
        ) from error
