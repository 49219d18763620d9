"""Who does a run's units: this process, several on this machine, or a Ray cluster."""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

import psutil
import torch

from latentedit.api.runs.cluster import run_on_ray
from latentedit.api.runs.folder import PAUSE_S, RunFolder, explained_interrupt, report
from latentedit.api.runs.work import Measure, Work, one_thread, timed
from latentedit.core.errors import ConfigError, OutputError
from latentedit.core.process import keep_freed_memory
from latentedit.core.progress import Progress


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Who does the work.

    Args:
        workers: processes, each with a model of its own; None is one here, and what suits the cluster there.
        ray: address of a Ray cluster; None is this machine.
    """

    workers: int | None = None
    ray: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"`workers` must be 1 or more; got {self.workers}")

    @property
    def here(self) -> bool:
        """In this process."""
        return self.ray is None and (self.workers or 1) == 1


def suitable_workers(device: torch.device, units: int) -> int:
    """How many processes are fastest: one for a GPU, else one a core, as far as memory goes.

    Args:
        device: of a model that this process has loaded: each worker is taken to need twice what this process has now.
        units: that there are to do.
    """
    if device.type != "cpu":
        return 1
    room = psutil.virtual_memory().available // (2 * psutil.Process().memory_info().rss)
    return max(1, min(os.cpu_count() or 1, room, units))


def run_work(
    folder: RunFolder, work: Work, *, executor: Executor | None = None, progress: Progress | None = None
) -> tuple[str, ...]:
    """Do every unit that is not done.

    Args:
        executor: this process by default.
        progress: called with the run's kind after each unit, in units.

    Returns:
        What the user should know, such as workers that died on the way.

    Raises:
        KeyboardInterrupt: saying what is kept.
        MissingDependencyError: a Ray cluster is asked for, and Ray is not installed.
        LatentEditError: what stopped the run; what was finished is kept.
    """
    executor = Executor() if executor is None else executor
    if executor.ray is not None:
        run_on_ray(folder, work, address=executor.ray, workers=executor.workers, progress=progress)
    elif executor.here:
        run_here(folder, work, progress=progress)
    else:
        died = run_processes(folder, work, executor.workers or 1, progress=progress)
        if died:
            return (f"{died} of {executor.workers} workers died; the others did their part",)
    return ()


def run_here(folder: RunFolder, work: Work, *, progress: Progress | None = None) -> None:
    """Do every unit that is not done, on one core, and wait for those that other runners hold.

    Args:
        progress: called with the run's kind after each unit, in units; those of other runners count.

    Raises:
        KeyboardInterrupt: saying what is kept.
        OutputError: the folder cannot be written to, or the disk is full.
    """
    measure: Measure | None = None
    with explained_interrupt(folder), one_thread():
        for unit in unclaimed(folder, work.units, progress):
            measure = work.start() if measure is None else measure
            folder.add(unit, timed(measure, work.task(unit)))
            report(folder, progress)
        report(folder, progress)


def run_processes(folder: RunFolder, work: Work, count: int, *, progress: Progress | None = None) -> int:
    """Do every unit that is not done, in so many processes, each a runner on the folder with a model and a core.

    Where one dies, such as for want of memory, one fewer goes on.

    Args:
        count: of processes; no more are started than there are units to do.
        progress: as in `run_here`.

    Returns:
        How many processes died on the way.

    Raises:
        KeyboardInterrupt: saying what is kept.
        OutputError: the folder cannot be written to, or the disk is full; or every process died.
        LatentEditError: whatever else stopped one of them.
    """
    died = 0
    with explained_interrupt(folder):
        while left := sum(not folder.has(unit) for unit in work.units):
            if died == count:
                raise OutputError(
                    f"all {count} processes that worked at {folder.path} died, perhaps for want of memory. What they "
                    "finished is kept: go on with fewer `workers` or a smaller `batch`"
                )
            try:
                _run_pool(folder, work, min(count - died, left), progress)
            except BrokenProcessPool:
                died += 1
    return died


def _run_pool(folder: RunFolder, work: Work, count: int, progress: Progress | None) -> None:
    """Until all processes have ended; an error in one is raised here, and a death as BrokenProcessPool."""
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    with (
        theirs,
        ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent, initargs=(theirs, ours)) as pool,
        ours,  # closed first: whatever happens here, nobody is left at work
    ):
        with _interrupts_ignored():
            running = {pool.submit(run_here, folder, work) for _ in range(count)}
        while running:
            ended, running = wait(running, timeout=PAUSE_S)
            report(folder, progress)
            for future in ended:
                future.result()


def _end_with_parent(lifeline: Connection, parents: Connection) -> None:
    """Begin a process: it ends as soon as the parent no longer holds its end of the pipe, however that ended."""
    parents.close()

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            lifeline.recv()
        os._exit(1)

    keep_freed_memory()
    warnings.simplefilter("ignore")  # the parent loaded the same model, and said it
    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _interrupts_ignored() -> Generator[None]:
    """Processes that start now do not hear Ctrl-C, which goes to the whole group: their parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def unclaimed(folder: RunFolder, units: Sequence[str], progress: Progress | None = None) -> Generator[str]:
    """Units that are to be done, each held until the next is asked for; ends when all are finished, by whomever.

    Args:
        units: of the plan.
        progress: called too while there is nothing to do but to wait for another runner.
    """
    while left := [unit for unit in units if not folder.has(unit)]:
        idle = True
        for unit in left:
            with folder.claim(unit) as mine:
                if mine and not folder.has(unit):  # another runner may have done it meanwhile
                    idle = False
                    yield unit
        if idle:
            report(folder, progress)
            time.sleep(PAUSE_S)
