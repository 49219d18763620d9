"""A run's units on a Ray cluster: Ray finds places for the workers, this process keeps the folder and gives out units.

Each worker has one copy of the model. A unit is sent with the content of its pictures, and its rows come back, so the
machines need no disk in common; what they need is latentedit, and a model of the same name. A worker that is lost
leaves its unit to the others, and Ray finds a place for a new one.
"""

import contextlib
import os
import socket
import time
from collections import Counter
from typing import Any

from latentedit._version import __version__
from latentedit.api.runs.folder import PAUSE_S, RunFolder, explained_interrupt, report
from latentedit.api.runs.work import Measure, UnitResult, Work, one_thread, timed
from latentedit.core.errors import ConfigError, LatentEditError, OutputError, require
from latentedit.core.process import keep_freed_memory
from latentedit.core.progress import Progress

TRIES = 4
"""Workers that one unit may take down with it before the run stops."""

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
"""Read when Ray is imported: it would report its use to its makers, and print on stdout which workers died."""

_ANSWER_S = 5.0
"""Seconds within which an address must answer; Ray itself would try for minutes."""


def run_on_ray(
    folder: RunFolder, work: Work, *, address: str, workers: int | None = None, progress: Progress | None = None
) -> None:
    """Do every unit that is not done, on the workers of a Ray cluster.

    Args:
        folder: of the run, on this machine.
        work: its plan.
        address: HOST:PORT, ray://HOST:PORT, or "auto" for the cluster of this machine.
        workers: by default one a GPU, or one a core where there are none.
        progress: as in `executors.run_here`.

    Raises:
        ConfigError: no cluster answers at the address, or other versions there.
        KeyboardInterrupt: saying what is kept.
        MissingDependencyError: Ray is not installed here.
        OutputError: the folder cannot be written to, the disk is full, or a unit that no worker survives.
        LatentEditError: whatever else stopped a worker.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    ray: Any = require("ray", "cluster")
    with contextlib.ExitStack() as cleared, explained_interrupt(folder):
        cleared.callback(ray.shutdown)
        _connect(ray, address)
        crew: _Crew | None = None
        while left := [unit for unit in work.units if not folder.has(unit)]:
            crew = _Crew(ray, work, workers, most=len(left)) if crew is None else crew
            _distribute(folder, work, left, crew, progress)
            if any(not folder.has(unit) for unit in left):
                time.sleep(PAUSE_S)  # the others are held by another runner
        report(folder, progress)


def _distribute(folder: RunFolder, work: Work, units: list[str], crew: "_Crew", progress: Progress | None) -> None:
    """Have the units done that no other runner holds."""
    waiting, held = list(units), dict[str, contextlib.ExitStack]()
    with contextlib.ExitStack() as everything:
        while waiting or held:
            while crew.idle and waiting:
                unit = waiting.pop(0)
                if unit not in held:
                    claim = everything.enter_context(contextlib.ExitStack())
                    if not claim.enter_context(folder.claim(unit)) or folder.has(unit):
                        claim.close()
                        continue
                    held[unit] = claim
                crew.send(unit, work.task(unit, with_bytes=True))
            for unit, result in crew.answers():
                if result is None:
                    waiting.insert(0, unit)
                    continue
                folder.add(unit, result)
                held.pop(unit).close()
            report(folder, progress)


class _Crew:
    """The workers, and what each is at. `ray.util.ActorPool` would not say whose unit was lost with a worker."""

    def __init__(self, ray: Any, work: Work, workers: int | None, *, most: int) -> None:
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0))
        count = min(workers or gpus or int(there.get("CPU", 1)), most)
        self._ray, self._shared = ray, (__version__, [ray.put(work)])
        options = {"num_cpus": 0, "num_gpus": min(1.0, gpus / count), "scheduling_strategy": "SPREAD"}
        self._kind = ray.remote(**options)(_Worker)
        self.idle: list[Any] = []
        self._running: dict[Any, tuple[Any, str]] = {}
        self._deaths: Counter[str] = Counter()
        for _ in range(count):
            self._hire()

    def _hire(self) -> None:
        """Somewhere, as soon as there is room; it is idle once it has a model."""
        actor = self._kind.remote(*self._shared)
        self._running[actor.start.remote()] = (actor, "")

    def send(self, unit: str, task: object) -> None:
        """Have an idle worker do a unit."""
        actor = self.idle.pop()
        self._running[actor.measure.remote(task)] = (actor, unit)

    def answers(self) -> list[tuple[str, UnitResult | None]]:
        """Units that came back since the last time; None where the worker was lost, and a new one is sought."""
        found: list[tuple[str, UnitResult | None]] = []
        for place in self._ray.wait(list(self._running), timeout=PAUSE_S)[0] if self._running else ():
            actor, unit = self._running.pop(place)
            result: UnitResult | None = None
            try:
                result = self._ray.get(place)
                self.idle.append(actor)
            except self._ray.exceptions.RayTaskError as error:
                cause = getattr(error, "cause", None)
                if isinstance(cause, LatentEditError):
                    raise cause from None
                raise
            except self._ray.exceptions.RayActorError as error:
                self._refuse_hopeless(unit, error)
                self._hire()
            if unit:
                found.append((unit, result))
        return found

    def _refuse_hopeless(self, unit: str, error: Any) -> None:
        """Raises where another worker would end like this one."""
        if error.actor_init_failed:
            why = str(error).strip().splitlines()[-1].strip()
            raise ConfigError(
                f"a worker of the cluster cannot begin: {why}. Install latentedit {__version__} on every machine"
            ) from error
        self._deaths[unit] += 1
        if self._deaths[unit] >= TRIES:
            raise OutputError(
                f"{TRIES} workers died at {unit or 'their start'}, perhaps for want of memory. What is finished is "
                "kept: go on with a smaller `batch`"
            ) from error


def _connect(ray: Any, address: str) -> None:
    """Raises ConfigError where nothing answers."""
    refused = f"no Ray cluster answers at {address!r}. Start one with: ray start --head"
    if address != "auto" and not _answers(address):
        raise ConfigError(refused)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError):
        raise ConfigError(refused) from None
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"the Ray cluster at {address!r} cannot be joined: {why}") from error


def _answers(address: str) -> bool:
    """Whether anything listens there."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError, ValueError):
        return False
    return True


class _Worker:
    """One model, and what does a task's work with it."""

    def __init__(self, version: str, work: list[Any]) -> None:
        self._version, self._work = version, work
        self._measure: Measure | None = None

    def start(self) -> None:
        """Load the model, once it is sure that this is the same latentedit."""
        if __version__ != self._version:
            raise ConfigError(
                f"{socket.gethostname()} has latentedit {__version__}, this run {self._version}. Install the same on "
                "every machine"
            )
        ray: Any = require("ray", "cluster")
        work: Work = ray.get(self._work[0])
        keep_freed_memory()
        with one_thread():
            self._measure = work.start()

    def measure(self, task: object) -> UnitResult:
        """Do a unit."""
        assert self._measure is not None
        with one_thread():
            return timed(self._measure, task)
