"""Where the units of a run are done: in this process, in several processes, or by an installed executor such as Ray."""

import dataclasses
import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import psutil
import torch

from latentedit.batch.folder import PAUSE_S, RunFolder, report
from latentedit.batch.work import Measure, Work, one_thread, timed
from latentedit.core.errors import ConfigError, OutputError
from latentedit.core.memory import keep_freed_memory
from latentedit.core.plugins import EXECUTORS
from latentedit.core.progress import Progress


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Who does the work: by default one process on this machine, or as many workers as suit the cluster."""

    workers: int | None = None  # processes, each with its own model
    ray: str | None = None  # address of a Ray cluster

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"`workers` must be 1 or more; got {self.workers}")

    @property
    def here(self) -> bool:
        """Whether the work is done in this process."""
        return self.ray is None and (self.workers or 1) == 1


def suitable_workers(device: torch.device, units: int) -> int:
    """The fastest number of processes: one for a GPU, else one a core, as far as memory and work go.

    A worker is assumed to need twice the memory that this process uses, with its model loaded on the device.
    """
    if device.type != "cpu":
        return 1
    room = psutil.virtual_memory().available // (2 * psutil.Process().memory_info().rss)
    return max(1, min(os.cpu_count() or 1, room, units))


def run_work(run: RunFolder, work: Work, *, executor: Executor | None = None, progress: Progress | None = None) -> None:
    """Do every unit that is not finished, by default in this process.

    Raises:
        KeyboardInterrupt: with a message that says what was kept.
        LatentEditError: whatever stopped the run; finished units were kept.
    """
    executor = Executor() if executor is None else executor
    try:
        if executor.ray is not None:
            run_on_ray = EXECUTORS.load("ray")
            run_on_ray(run, work, address=executor.ray, workers=executor.workers, progress=progress)
        elif executor.here:
            run_here(run, work, progress=progress)
        else:
            run_processes(run, work, executor.workers or 1, progress=progress)
    except KeyboardInterrupt:
        kept, units = len(run.finished()), len(run.manifest.units)
        raise KeyboardInterrupt(
            f"interrupted; {kept} of {units} parts are kept in {run.path}, and the same command goes on from there"
        ) from None


def run_here(run: RunFolder, work: Work, *, progress: Progress | None = None) -> None:
    """Do every unit that is not finished, on one core, and wait for those that other processes hold."""
    measure: Measure | None = None
    with one_thread():
        for unit in _unclaimed(run, work, progress):
            measure = work.start() if measure is None else measure
            run.add(unit, timed(measure, work.task(unit)))
            report(run, progress)
        report(run, progress)


def _unclaimed(run: RunFolder, work: Work, progress: Progress | None) -> Generator[str]:
    """Units to do, each held until the next one is requested; ends when all are finished, by any process."""
    while left := [unit for unit in work.units if not run.has(unit)]:
        idle = True
        for unit in left:
            with run.claim(unit) as mine:
                if mine and not run.has(unit):  # another process may have finished it
                    idle = False
                    yield unit
        if idle:
            report(run, progress)
            time.sleep(PAUSE_S)


def run_processes(run: RunFolder, work: Work, count: int, *, progress: Progress | None = None) -> None:
    """Do every unit that is not finished in several processes, each with its own model on one core."""
    while left := sum(not run.has(unit) for unit in work.units):
        try:
            _run_pool(run, work, min(count, left), progress)
        except BrokenProcessPool:
            count -= 1
            if not count:
                raise OutputError(
                    f"all processes that worked on {run.path} died, perhaps for want of memory. Finished parts are "
                    "kept: go on with fewer `workers` or a smaller `batch`"
                ) from None
            warnings.warn("a worker died, perhaps for want of memory; the others do its part", stacklevel=2)


def _run_pool(run: RunFolder, work: Work, count: int, progress: Progress | None) -> None:
    """Run processes until all have ended; an error in one is raised here, and a death as `BrokenProcessPool`."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker) as pool:
        try:
            # Ctrl-C goes to the whole process group: workers inherit that they ignore it, and are terminated below.
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                running = {pool.submit(run_here, run, work) for _ in range(count)}
            finally:
                signal.signal(signal.SIGINT, before)
            while running:
                ended, running = wait(running, timeout=PAUSE_S)
                report(run, progress)
                for future in ended:
                    future.result()
        except BaseException:
            for worker in context.active_children():
                worker.terminate()
            raise


def _start_worker() -> None:
    keep_freed_memory()
    warnings.simplefilter("ignore")  # the parent loaded the same model, and printed its warnings
