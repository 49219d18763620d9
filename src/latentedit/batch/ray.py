"""A run on a Ray cluster: this process writes the folder and distributes units to workers, each with its own model.

Units are sent with the content of their images and rows are sent back, so the machines need no shared disk. If a worker
is lost, the others run its unit, and Ray starts a new worker where resources are free.
"""

import contextlib
import os
import socket
import time
from collections import Counter
from typing import Any

from latentedit.batch.folder import PAUSE_S, RunFolder, UnitResult, report_progress
from latentedit.batch.work import Measure, Work, one_thread, timed
from latentedit.core.errors import ConfigError, LatentEditError, OutputError
from latentedit.core.plugins import require
from latentedit.core.process import keep_freed_memory
from latentedit.core.progress import Progress

TRIES = 4  # workers that may die running the same unit before the run stops

# Read when Ray is imported: send no usage statistics, and do not print dead workers on stdout.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
_ANSWER_S = 5.0  # timeout of the connection; Ray itself would try for minutes


def run_on_ray(run: RunFolder, work: Work, *, address: str, workers: int | None, progress: Progress | None) -> None:
    """Run all unfinished units on a Ray cluster: HOST:PORT, ray://HOST:PORT, or "auto" for a local one.

    The default is one worker per GPU, or per core without GPUs.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    ray: Any = require("ray", "cluster")
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(ray.shutdown)
        _connect(ray, address)
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        count = workers or gpus or int(resources.get("CPU", 1))
        options = {"num_cpus": 0, "num_gpus": min(1.0, gpus / count), "scheduling_strategy": "SPREAD"}
        worker_class, shared = ray.remote(**options)(_Worker), ray.put(work)
        idle: list[Any] = []
        running: dict[Any, tuple[Any, str]] = {}  # by result: worker and unit, "" while it loads the model
        claims = dict[str, contextlib.ExitStack]()
        deaths = Counter[str]()

        def start_worker() -> None:
            worker = worker_class.remote(shared)
            running[worker.start.remote()] = (worker, "")

        while left := [unit for unit in work.units if not run.has(unit)]:
            if not (idle or running):
                for _ in range(min(count, len(left))):
                    start_worker()
            for unit in left if idle else ():
                if idle and unit not in claims:
                    claim = cleanup.enter_context(contextlib.ExitStack())
                    if claim.enter_context(run.claim(unit)) and not run.has(unit):
                        claims[unit], worker = claim, idle.pop()
                        running[worker.measure.remote(work.task(unit))] = (worker, unit)
                    else:  # another process has claimed or finished it
                        claim.close()
            if not running:
                time.sleep(PAUSE_S)
            for reference in ray.wait(list(running), timeout=PAUSE_S)[0] if running else ():
                worker, unit = running.pop(reference)
                try:
                    result = ray.get(reference)
                    idle.append(worker)
                    if unit:
                        run.add(unit, result)
                except ray.exceptions.RayTaskError as error:
                    cause = getattr(error, "cause", None)
                    raise (cause if isinstance(cause, LatentEditError) else error) from None
                except ray.exceptions.RayActorError as error:
                    deaths[unit] += 1
                    if deaths[unit] >= TRIES:
                        why = str(error).strip().splitlines()[-1].strip()
                        raise OutputError(
                            f"{TRIES} workers died at {unit or 'start-up'}, possibly out of memory: {why}. Finished "
                            "batches are saved. Resume with a smaller `batch`"
                        ) from error
                    start_worker()
                if unit:
                    claims.pop(unit).close()
            report_progress(run, progress)
    report_progress(run, progress)


def _connect(ray: Any, address: str) -> None:
    """Connect to a cluster, or raise a `ConfigError`."""
    try:
        if address != "auto":
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, OverflowError, ValueError):
        raise ConfigError(f"no Ray cluster responds at {address}. Start one with: ray start --head") from None
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"cannot connect to the Ray cluster at {address}: {why}. Check its versions") from error


class _Worker:
    """A model on one core of the cluster."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def start(self) -> None:
        keep_freed_memory()
        with one_thread():
            self._measure: Measure = self._work.start()

    def measure(self, task: object) -> UnitResult:
        with one_thread():
            return timed(self._measure, task)
