"""Where the work of a batch run is done: in this process, in several processes, or on a Ray cluster."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterator

import psutil
import torch

from latentedit.batch.folder import RunFolder, report_progress
from latentedit.batch.ray import ray_workers
from latentedit.batch.work import Work, one_thread, started
from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError
from latentedit.core.workers import Named, Workers, each, processes

_REMEDY = "Resume with fewer `workers` or a smaller `batch`"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Where the work runs: by default in this process, or with as many workers as suit the cluster."""

    workers: int | None = None  # processes, each with its own model
    ray: str | None = None  # address of a Ray cluster

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"`workers` must be at least 1; got {self.workers}")

    @property
    def here(self) -> bool:
        """Whether the work runs in this process."""
        return self.ray is None and (self.workers or 1) == 1


def suitable_workers(device: torch.device, units: int) -> int:
    """The fastest number of processes: one for a GPU, else one per core, limited by memory (2x this process's each)."""
    if device.type != "cpu":
        return 1
    room = psutil.virtual_memory().available // (2 * psutil.Process().memory_info().rss)
    return max(1, min(os.cpu_count() or 1, room, units))


def run_work(run: RunFolder, work: Work, *, executor: Executor | None = None, progress: Progress | None = None) -> None:
    """Run all unfinished units, by default in this process; finished units are kept if it stops."""
    claims, claimed = contextlib.ExitStack(), dict[str, contextlib.ExitStack]()

    def unfinished() -> Iterator[Named | None]:
        """Units with their tasks, claimed because other processes may share the folder; None while all are claimed."""
        while left := [unit for unit in work.units if not run.has(unit)]:
            idle = True
            for unit in left:
                if unit in claimed:
                    continue
                claim = claims.enter_context(contextlib.ExitStack())
                if claim.enter_context(run.claim(unit)) and not run.has(unit):  # another process may have finished it
                    idle, claimed[unit] = False, claim
                    yield unit, work.task(unit)
                else:
                    claim.close()
            if idle:
                report_progress(run, progress)
                yield None

    try:
        with claims, one_thread(), _workers(run, work, executor or Executor()) as workers:
            for unit, result in each(unfinished(), workers):
                run.add(unit, result)
                claimed.pop(unit).close()
                report_progress(run, progress)
    except KeyboardInterrupt:
        done = f"{len(run.finished())} of {len(run.manifest.units)} batches"
        raise KeyboardInterrupt(
            f"interrupted; {done} are saved in {run.path}. Run the same command to resume"
        ) from None
    report_progress(run, progress)


def _workers(run: RunFolder, work: Work, executor: Executor) -> contextlib.AbstractContextManager[Workers]:
    if executor.ray is not None:
        start = functools.partial(started, work, home=None)
        return ray_workers(start, address=executor.ray, count=executor.workers)
    count = max(1, min(executor.workers or 1, sum(not run.has(unit) for unit in work.units)))
    return processes(functools.partial(started, work, home=os.getpid()), count, _REMEDY)
