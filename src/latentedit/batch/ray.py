"""A run on a Ray cluster: this process keeps the folder and distributes units to workers, each with its own model.

A unit is sent with the content of its images, and its rows come back, so the machines share no disk; they need the same
latentedit, and a model of the same name. If a worker is lost, the others take its unit, and Ray starts a new worker
where there is room.
"""

import contextlib
import os
import socket
import time
from collections import Counter
from typing import Any

from latentedit.batch.folder import PAUSE_S, RunFolder, report
from latentedit.batch.work import Measure, UnitResult, Work, one_thread, timed
from latentedit.core.errors import ConfigError, LatentEditError, OutputError, require
from latentedit.core.memory import keep_freed_memory
from latentedit.core.progress import Progress

TRIES = 4  # workers that may die at one unit before the run stops

# Read when Ray is imported: do not report usage to its makers, do not print on stdout which workers died.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
_ANSWER_S = 5.0  # within which an address must answer; Ray itself would try for minutes


def run_on_ray(run: RunFolder, work: Work, *, address: str, workers: int | None, progress: Progress | None) -> None:
    """Do every unit that is not finished on a Ray cluster.

    Args:
        run: on this machine.
        work: the plan.
        address: HOST:PORT, ray://HOST:PORT, or "auto" for the cluster of this machine.
        workers: by default one a GPU, or one a core if there are none.
        progress: called with the run's kind after each unit, in units.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    ray: Any = require("ray", "cluster")
    held = dict[str, contextlib.ExitStack]()
    pool: _WorkerPool | None = None
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(ray.shutdown)
        _connect(ray, address)
        while left := [unit for unit in work.units if not run.has(unit)]:
            pool = pool or _WorkerPool(ray, work, workers, most=len(left))
            for unit in left:
                if pool.idle and unit not in held:
                    claim = cleanup.enter_context(contextlib.ExitStack())
                    if claim.enter_context(run.claim(unit)) and not run.has(unit):
                        held[unit] = claim
                        pool.send(unit, work.task(unit))
                    else:  # another process holds it, or has finished it
                        claim.close()
            for unit, result in pool.results():
                if result is not None:
                    run.add(unit, result)
                held.pop(unit).close()
            report(run, progress)
    report(run, progress)


class _WorkerPool:
    """The workers and their units. `ray.util.ActorPool` does not say whose unit was lost with a worker."""

    def __init__(self, ray: Any, work: Work, workers: int | None, *, most: int) -> None:
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        count = min(workers or gpus or int(resources.get("CPU", 1)), most)
        self._ray, self._work = ray, ray.put(work)
        options = {"num_cpus": 0, "num_gpus": min(1.0, gpus / count), "scheduling_strategy": "SPREAD"}
        self._worker_class = ray.remote(**options)(_Worker)
        self.idle: list[Any] = []
        self._running: dict[Any, tuple[Any, str]] = {}  # by result: the worker and its unit, "" while it starts
        self._deaths: Counter[str] = Counter()
        for _ in range(count):
            self._start_worker()

    def _start_worker(self) -> None:
        worker = self._worker_class.remote(self._work)
        self._running[worker.start.remote()] = (worker, "")

    def send(self, unit: str, task: object) -> None:
        """Have an idle worker do a unit."""
        worker = self.idle.pop()
        self._running[worker.measure.remote(task)] = (worker, unit)

    def results(self) -> list[tuple[str, UnitResult | None]]:
        """Units that came back since the last call, after a moment at most; None if the worker was lost."""
        received: list[tuple[str, UnitResult | None]] = []
        if not self._running:
            time.sleep(PAUSE_S)
            return received
        for reference in self._ray.wait(list(self._running), timeout=PAUSE_S)[0]:
            worker, unit = self._running.pop(reference)
            result: UnitResult | None = None
            try:
                result = self._ray.get(reference)
                self.idle.append(worker)
            except self._ray.exceptions.RayTaskError as error:
                cause = getattr(error, "cause", None)
                raise (cause if isinstance(cause, LatentEditError) else error) from None
            except self._ray.exceptions.RayActorError as error:
                self._deaths[unit] += 1
                if self._deaths[unit] >= TRIES:
                    why = str(error).strip().splitlines()[-1].strip()
                    raise OutputError(
                        f"{TRIES} workers died at {unit or 'their start'}, perhaps for want of memory: {why}. Finished "
                        "parts are kept: go on with a smaller `batch`"
                    ) from error
                self._start_worker()
            if unit:
                received.append((unit, result))
        return received


def _connect(ray: Any, address: str) -> None:
    """Join a cluster, or raise a `ConfigError`."""
    try:
        if address != "auto":
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, OverflowError, ValueError):
        raise ConfigError(f"no Ray cluster answers at {address!r}. Start one with: ray start --head") from None
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"the Ray cluster at {address!r} cannot be joined: {why}") from error


class _Worker:
    """One model on one core of the cluster."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def start(self) -> None:
        """Load the model."""
        keep_freed_memory()
        with one_thread():
            self._measure: Measure = self._work.start()

    def measure(self, task: object) -> UnitResult:
        """Do a unit."""
        with one_thread():
            return timed(self._measure, task)
