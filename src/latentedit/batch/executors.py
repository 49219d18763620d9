"""Where the work of a batch run is done: in this process, in several processes, or on a Ray cluster."""

import dataclasses
import multiprocessing
import os
import signal
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import psutil
import torch

from latentedit.batch.folder import PAUSE_S, RunFolder, report_progress
from latentedit.batch.ray import run_on_ray
from latentedit.batch.work import Measure, Work, one_thread, timed
from latentedit.core.errors import ConfigError, OutputError
from latentedit.core.process import keep_freed_memory
from latentedit.core.progress import Progress
from latentedit_keep.base.workers import end_with_parent


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
    executor = Executor() if executor is None else executor
    try:
        if executor.ray is not None:
            run_on_ray(run, work, address=executor.ray, workers=executor.workers, progress=progress)
        elif executor.here:
            run_here(run, work, progress=progress)
        else:
            run_processes(run, work, executor.workers or 1, progress=progress)
    except KeyboardInterrupt:
        done = f"{len(run.finished())} of {len(run.manifest.units)} batches"
        raise KeyboardInterrupt(
            f"interrupted; {done} are saved in {run.path}. Run the same command to resume"
        ) from None


def run_here(run: RunFolder, work: Work, *, progress: Progress | None = None) -> None:
    """Run all unfinished units on one core, and wait for those that other processes have claimed."""
    measure: Measure | None = None
    with one_thread():
        while left := [unit for unit in work.units if not run.has(unit)]:
            idle = True
            for unit in left:
                with run.claim(unit) as claimed:
                    if claimed and not run.has(unit):  # another process may have finished it
                        idle, measure = False, measure or work.start()
                        run.add(unit, timed(measure, work.task(unit)))
                        report_progress(run, progress)
            if idle:
                report_progress(run, progress)
                time.sleep(PAUSE_S)
    report_progress(run, progress)


def run_processes(run: RunFolder, work: Work, count: int, *, progress: Progress | None = None) -> None:
    """Run all unfinished units in several processes, each with its own model on one core."""
    while left := sum(not run.has(unit) for unit in work.units):
        try:
            _run_pool(run, work, min(count, left), progress)
        except BrokenProcessPool:
            count -= 1
            if not count:
                raise OutputError(
                    f"all worker processes of {run.path} died, possibly out of memory; finished batches are saved. "
                    "Resume with fewer `workers` or a smaller `batch`"
                ) from None
            warnings.warn("a worker process died, possibly out of memory; the others continue", stacklevel=2)


def _run_pool(run: RunFolder, work: Work, count: int, progress: Progress | None) -> None:
    """Run processes until all have ended; re-raises an error of any, and `BrokenProcessPool` if one died."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker) as pool:
        try:
            # Ctrl-C is sent to the process group; workers inherit SIG_IGN, and are terminated below.
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                running = {pool.submit(run_here, run, work) for _ in range(count)}
            finally:
                signal.signal(signal.SIGINT, before)
            while running:
                ended, running = wait(running, timeout=PAUSE_S)
                report_progress(run, progress)
                for future in ended:
                    future.result()
        except BaseException:
            for worker in context.active_children():
                worker.terminate()
            raise


def _start_worker() -> None:
    end_with_parent()
    keep_freed_memory()
    warnings.simplefilter("ignore")  # the parent loaded the same model and printed the warnings
