"""The same plan on a Ray cluster: Ray finds places for the workers, this process keeps the folder and hands out units.

Each worker has one copy of the model. A unit is sent with the content of its pictures, and its rows come back, so the
machines need no disk in common; what they need is latentedit, and a model of the same name. A worker that is lost
leaves its unit to the others, and Ray finds a place for a new one.
"""

import contextlib
import dataclasses
import os
import socket
import time
from collections import Counter
from typing import Any

from latentedit._version import __version__
from latentedit.api.runs.folder import RunFolder
from latentedit.api.runs.runner import PAUSE_S, one_thread, report, timed, told_when_stopped
from latentedit.api.runs.work import Done, Measure, Work
from latentedit.core.errors import ConfigError, LatentEditError, OutputError, require
from latentedit.core.memory import keep_freed_memory
from latentedit.core.progress import Progress

TRIES = 4
"""Workers that one unit may take down with it before the run stops."""

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
"""Read when Ray is imported: it would report its use to its makers, and print on stdout which workers died."""

_ANSWER_S = 5.0
"""Within which an address must answer."""

_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client opens HTTP/2 (RFC 9113, 3.4): the preface and empty settings, a frame of type 4; settings come back."""

_START = "its start"
"""What a worker does before its first unit."""


def run_on_ray(
    folder: RunFolder, work: Work, *, address: str, workers: int | None = None, progress: Progress | None = None
) -> None:
    """Do every unit that is not done, on the workers of a Ray cluster.

    Args:
        folder: of the run, on this machine.
        work: its plan.
        address: HOST:PORT, ray://HOST:PORT, or "auto" for the cluster of this machine.
        workers: by default one a GPU, or one a core where there are none.
        progress: as in `runner.run_here`.

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
    with contextlib.ExitStack() as cleared, told_when_stopped(folder):
        cleared.callback(ray.shutdown)
        _connect(ray, address)
        crew: _Crew | None = None
        while left := [unit for unit in work.units if not folder.has(unit)]:
            crew = _Crew.gathered(ray, work, workers, most=len(left)) if crew is None else crew
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
                crew.send(unit, work.parcel(unit, carried=True))
            for unit, done in crew.received():
                if done is None:
                    waiting.insert(0, unit)
                    continue
                folder.add(unit, done)
                held.pop(unit).close()
            report(folder, progress)


@dataclasses.dataclass(kw_only=True, eq=False)
class _Crew:
    """The workers, what each is at, and what became of it.

    Args:
        ray: the package.
        kind: of actor.
        shared: what an actor is made of.
    """

    ray: Any
    kind: Any
    shared: tuple[Any, ...]
    idle: list[Any] = dataclasses.field(default_factory=list[Any])
    _flying: dict[Any, tuple[Any, str]] = dataclasses.field(default_factory=dict[Any, tuple[Any, str]])
    _deaths: Counter[str] = dataclasses.field(default_factory=Counter[str])

    @staticmethod
    def gathered(ray: Any, work: Work, workers: int | None, *, most: int) -> "_Crew":
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0))
        count = min(workers or gpus or int(there.get("CPU", 1)), most)
        kind = ray.remote(num_cpus=0, num_gpus=min(1.0, gpus / count), scheduling_strategy="SPREAD")(_Worker)
        crew = _Crew(ray=ray, kind=kind, shared=(__version__, [ray.put(work)]))
        for _ in range(count):
            crew._hire()
        return crew

    def send(self, unit: str, parcel: Any) -> None:
        """Have an idle worker do a unit."""
        actor = self.idle.pop()
        self._flying[actor.measure.remote(parcel)] = (actor, unit)

    def received(self) -> list[tuple[str, Done | None]]:
        """Units that came back since the last time; None where the worker was lost, and a new one is sought."""
        units: list[tuple[str, Done | None]] = []
        for place in self.ray.wait(list(self._flying), timeout=PAUSE_S)[0] if self._flying else ():
            actor, unit = self._flying.pop(place)
            try:
                done = self._result(place, unit)
            except self.ray.exceptions.RayActorError:
                self._hire()
                done = None
            else:
                self.idle.append(actor)
            if unit != _START:
                units.append((unit, done))
            elif done is not None:
                self._deaths.pop(_START, None)
        return units

    def _hire(self) -> None:
        """Somewhere, as soon as there is room; it is idle once it has a model."""
        actor = self.kind.remote(*self.shared)
        self._flying[actor.start.remote()] = (actor, _START)

    def _result(self, place: Any, unit: str) -> Done:
        try:
            return self.ray.get(place)
        except self.ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, LatentEditError):
                raise cause from None
            raise
        except self.ray.exceptions.RayActorError as error:
            if error.actor_init_failed:
                why = str(error).strip().splitlines()[-1].strip()
                raise ConfigError(
                    f"expected latentedit {__version__} on every machine; a worker could not begin: {why}. "
                    "Install the same"
                ) from error
            self._deaths[unit] += 1
            if self._deaths[unit] < TRIES:
                raise
            raise OutputError(
                f"expected a worker to survive {unit}; {TRIES} died at it, perhaps for want of memory. What is "
                "finished is kept: go on with a smaller --batch"
            ) from error


def _connect(ray: Any, address: str) -> None:
    """Raises ConfigError within seconds where nothing answers; Ray itself would try for minutes."""
    refused = f"expected a Ray cluster at {address!r}; nothing there answers. Start one with: ray start --head"
    if address != "auto" and not _answers(address):
        raise ConfigError(refused)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError):
        raise ConfigError(refused) from None
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"expected to join the Ray cluster at {address!r}; Ray says: {why}") from error


def _answers(address: str) -> bool:
    """Whether there is a server that greets as HTTP/2 servers do, Ray's among them."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_ANSWER_S) as server:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return True
            server.sendall(_GREETING)
            return server.recv(9)[3:4] == _GREETING[-6:-5]
    except (OSError, OverflowError, ValueError):
        return False


class _Worker:
    """One model, and what does a parcel's work with it."""

    def __init__(self, version: str, work: list[Any]) -> None:
        self._version, self._work = version, work
        self._measure: Measure | None = None

    def start(self) -> Done:
        """Load the model, once it is sure that this is the same latentedit; gives no rows."""
        if __version__ != self._version:
            raise ConfigError(
                f"expected latentedit {self._version} on every machine; {socket.gethostname()} has "
                f"{__version__}. Install the same"
            )
        ray: Any = require("ray", "cluster")
        work: Work = ray.get(self._work[0])
        keep_freed_memory()
        with one_thread():
            self._measure = work.start()
        return Done(rows=())

    def measure(self, parcel: object) -> Done:
        """Do a unit."""
        assert self._measure is not None
        with one_thread():
            return timed(self._measure, parcel)
