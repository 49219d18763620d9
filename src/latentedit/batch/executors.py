"""The work of a batch run, and who does it: this process, several processes, or an installed executor such as Ray."""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import socket
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

import psutil
import torch

from latentedit._version import __version__
from latentedit.batch.folder import PAUSE_S, RunFolder, UnitResult, report
from latentedit.core.errors import ConfigError, ModelError, OutputError
from latentedit.core.plugins import EXECUTORS
from latentedit.core.process import keep_freed_memory
from latentedit.core.progress import Progress

Measure = Callable[[Any], UnitResult]  # does the work of one task


class Work(Protocol):
    """A plan, divided into units; it can be pickled.

    Laws:
        1. ``units`` depends on the plan only.
        2. The rows of a unit depend on its task only: not on the worker, the other units or their order.
    """

    @property
    def spec(self) -> Mapping[str, Any]:
        """Everything that decides the rows, as plain values."""
        ...

    @property
    def units(self) -> Sequence[str]:
        """Unique names that are valid as file names, in the order of the work."""
        ...

    def task(self, unit: str) -> Any:
        """The input of a unit, including the content of its files: a worker may not see this disk."""
        ...

    def start(self) -> Measure:
        """Load what every unit needs; called once in each worker."""
        ...


def check_model(spec: Mapping[str, Any], fingerprint: str) -> None:
    """Raise a `ModelError` if a worker's latentedit or model is not the one of the plan: its rows may differ."""
    if (__version__, fingerprint) != (spec["latentedit"], spec["model_fingerprint"]):
        raise ModelError(
            f"{socket.gethostname()} has latentedit {__version__} and the model {spec['model']} with the fingerprint "
            f"{fingerprint}, this run {spec['latentedit']} and {spec['model_fingerprint']}. Install the same everywhere"
        )


@contextlib.contextmanager
def one_thread() -> Generator[None]:
    """Use one core, as every worker does: with several threads, PyTorch rounds sums differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def timed(measure: Measure, task: object) -> UnitResult:
    """Do a unit, and add its duration in seconds."""
    started = time.perf_counter()
    result = measure(task)
    return dataclasses.replace(result, about={"seconds": time.perf_counter() - started, **result.about})


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
    """Do every unit that is not finished, by default in this process; whatever stops it, finished units are kept."""
    executor = Executor() if executor is None else executor
    try:
        if executor.ray is not None:
            EXECUTORS.load("ray")(run, work, address=executor.ray, workers=executor.workers, progress=progress)
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
        while left := [unit for unit in work.units if not run.has(unit)]:
            idle = True
            for unit in left:
                with run.claim(unit) as mine:
                    if mine and not run.has(unit):  # another process may have finished it
                        idle, measure = False, measure or work.start()
                        run.add(unit, timed(measure, work.task(unit)))
                        report(run, progress)
            if idle:
                report(run, progress)
                time.sleep(PAUSE_S)
    report(run, progress)


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
