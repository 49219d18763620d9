"""Workers on a Ray cluster, each with its own model.

Tasks are sent with the content of their images and results are sent back, so the machines need no shared disk. If a
worker is lost, another does its task, and Ray starts it where resources are free.
"""

import contextlib
import functools
import math
import os
import signal
import socket
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from latentedit.core.errors import ConfigError, LatentEditError, OutputError
from latentedit.core.plugins import require
from latentedit.core.workers import PAUSE_S, Named, Start, Workers

TRIES = 4  # workers that may die doing the same task before the run stops

# Read when Ray is imported: send no usage statistics, and do not print dead workers on stdout.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
_PARTS = 10_000  # parts of a core or GPU; one is Ray's smallest unit
_ANSWER_S = 5.0  # timeout of the connection; Ray itself would try for minutes


@contextlib.contextmanager
def ray_workers(start: Start, *, address: str, count: int | None) -> Generator[Workers]:
    """Workers on a cluster: HOST:PORT, ray://HOST:PORT, or "auto" for a local one.

    The default is one worker per GPU, or per core without GPUs.
    """
    for name, value in (_QUIET | ({"RAY_AUTH_MODE": "token"} if _has_token() else {})).items():
        os.environ.setdefault(name, value)
    ray: Any = require("ray", "cluster")
    with _own_handler() as replace:
        try:
            _connect(ray, address)
            replace()
            yield _Cluster(ray, start, count)
        finally:
            ray.shutdown()


class _Cluster(Workers):
    """Actors, started when they are needed. Only one that has loaded takes a task; if it dies, another does it.

    So no task waits for an actor for which the cluster has no room left. One that dies while it loads is not replaced
    at once as long as there are others: it may be its machine. It is when as many tasks as there were actors are done;
    each further time, when as many more are.
    """

    def __init__(self, ray: Any, start: Start, count: int | None) -> None:
        resources = ray.cluster_resources()
        gpus, cores = (int(resources.get(kind, 0)) for kind in ("GPU", "CPU"))
        super().__init__(count or gpus or cores or 1)
        self._most, self._pause, self._until = self.count, 0, 0  # tasks to finish before others are started again
        # Ray spreads only what needs resources. It counts in 1/10,000; rounded down, all fit.
        share = _PARTS // math.ceil(self.count / (gpus or cores or self.count)) / _PARTS
        options = {"num_cpus": share if cores and not gpus else 0, "num_gpus": share if gpus else 0}
        self._kind = ray.remote(**options, scheduling_strategy="SPREAD")(_Worker)
        self._ray, self._start, self._deaths = ray, ray.put(start), Counter[str]()
        self._waiting, self._idle = list[str](), list[Any]()
        self._loading, self._at_work = dict[Any, Any](), dict[Any, tuple[Any, str]]()

    def submit(self, name: str, task: Any) -> None:
        self.running[name] = name, task
        self._waiting.append(name)

    def finished(self) -> list[Named]:
        self._engage()
        found = list[Named]()
        for reference in self._ray.wait([*self._loading, *self._at_work], timeout=PAUSE_S)[0]:
            worker, name = self._loading.pop(reference, None), ""
            if worker is None:
                worker, name = self._at_work.pop(reference)
            try:
                result = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                cause = getattr(error, "cause", None)
                raise (cause if isinstance(cause, LatentEditError) else error) from None
            except self._ray.exceptions.RayError as error:  # killed, out of memory, or lost with its machine
                self._replace(name, error)
                continue
            self._idle.append(worker)
            if name:
                del self.running[name]
                found.append((name, result))
                self._until -= 1
                self.count += self._until < 0 and self.count < self._most
        return found

    def _engage(self) -> None:
        """Give tasks to those that are idle, and start others for the rest."""
        while self._waiting and self._idle:
            name, worker = self._waiting.pop(0), self._idle.pop()
            self._at_work[worker.measure.remote(self.running[name][1])] = worker, name
        while len(self._loading) < min(len(self._waiting), self.count - len(self._at_work)):
            worker = self._kind.remote(self._start)
            self._loading[worker.load.remote()] = worker

    def _replace(self, name: str, error: Exception) -> None:
        """Another will do the task of one that died; without a name, it was loading."""
        if name:
            self._waiting.append(name)
        elif self.count > 1:
            self.count -= 1
            self._pause += self._most * (self._until <= 0)  # once for those that die together
            self._until = self._pause
            warnings.warn("a worker died while it loaded; the others continue", stacklevel=2)
            return
        self._deaths[name] += 1
        if self._deaths[name] >= TRIES:
            why, where = str(error).strip().splitlines()[-1].strip(), f"at {name}" if name else "while they loaded"
            raise OutputError(
                f"{TRIES} workers died {where}, possibly out of memory: {why}. Finished batches are saved. "
                "Resume with a smaller `batch`"
            ) from error


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
def _own_handler() -> Generator[Callable[[], None]]:
    """Let SIGTERM do what it did before; the function that is yielded replaces the handlers that Ray has set.

    They print a stack and exit with 15. Within its calls, Ray turns any exit into one with 1, so the exit is repeated.
    """
    before, leaving = signal.getsignal(signal.SIGTERM), False
    ours = before is not None and threading.current_thread() is threading.main_thread()

    def leave(*_: object) -> None:
        raise SystemExit

    def replace() -> None:
        if ours:
            signal.signal(signal.SIGTERM, leave if callable(before) else before)

    try:
        yield replace
    except SystemExit:
        leaving = True
        raise
    finally:
        if ours:
            signal.signal(signal.SIGTERM, before)
            if leaving:
                signal.raise_signal(signal.SIGTERM)


def _has_token() -> bool:
    """Whether Ray would find a token. It uses one for "auto" only, but a cluster may be started with it anywhere."""
    variables = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
    return any(name in os.environ for name in variables) or Path("~/.ray/auth_token").expanduser().exists()


def _connect(ray: Any, address: str) -> None:
    """Connect to a cluster, or raise a `ConfigError`."""
    none = f"no Ray cluster responds at {address}. Start one with: ray start --head"
    try:
        if address != "auto":
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
            none = (
                f"a server listens at {address}, but does not answer as a Ray cluster. If it needs a token, copy it to "
                "~/.ray/auth_token or RAY_AUTH_TOKEN"
            )
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, OverflowError, ValueError):
        raise ConfigError(none) from None
    except (RuntimeError, ray.exceptions.RayError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(
            f"cannot connect to the Ray cluster at {address}: {why}. Check its versions and token"
        ) from error
