"""Several processes on this machine, each a runner on the same folder: one that dies leaves its unit to the others."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from latentedit.api.runs.folder import RunFolder
from latentedit.api.runs.runner import PAUSE_S, report, run_here, told_when_stopped
from latentedit.api.runs.work import Work
from latentedit.core.errors import LatentEditError, OutputError
from latentedit.core.memory import keep_freed_memory
from latentedit.core.progress import Progress


def run_processes(folder: RunFolder, work: Work, count: int, *, progress: Progress | None = None) -> int:
    """Do every unit that is not done, in so many processes, each with a model and a core of its own.

    Args:
        folder: of the run.
        work: its plan.
        count: of processes; no more are started than there are units to do.
        progress: as in `runner.run_here`.

    Returns:
        How many processes died on the way, such as for want of memory.

    Raises:
        KeyboardInterrupt: saying what is kept.
        OutputError: the folder cannot be written to, or the disk is full; or every process died.
        LatentEditError: whatever else stopped one of them.
    """
    context = multiprocessing.get_context("spawn")
    count = min(count, sum(not folder.has(unit) for unit in work.units))
    runners: list[tuple[BaseProcess, Connection]] = []
    with told_when_stopped(folder):
        try:
            for _ in range(count):
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=_runner, args=(folder, work, there), daemon=True)
                with _deaf():
                    process.start()
                there.close()
                runners.append((process, here))
            _watch(folder, runners, progress)
        finally:
            for process, _ in runners:
                process.terminate()
                process.join()
    dead = sum(process.exitcode != 0 for process, _ in runners)
    if any(not folder.has(unit) for unit in work.units):
        raise OutputError(
            f"expected {count} processes to finish the run in {folder.path}; all of them died, perhaps for want of "
            "memory. What they finished is kept: go on with fewer --workers or a smaller --batch"
        )
    return dead


def _watch(folder: RunFolder, runners: Sequence[tuple[BaseProcess, Connection]], progress: Progress | None) -> None:
    """Until all have ended; an error in one is raised here."""
    at_work = list(runners)
    while at_work:
        wait([process.sentinel for process, _ in at_work], timeout=PAUSE_S)
        at_work = [(process, here) for process, here in at_work if process.is_alive()]
        report(folder, progress)
        for _, here in runners:  # after looking who has ended, so that nobody's last word is missed
            error = _received(here) if here.poll() else None
            if error is not None:
                raise error


def _received(here: Connection) -> LatentEditError | None:
    try:
        return here.recv()
    except EOFError:  # it ended, or was killed, without a word
        return None


def _runner(folder: RunFolder, work: Work, there: Connection) -> None:
    """The body of a process."""
    keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        run_here(folder, work)
    except LatentEditError as error:
        there.send(error)


def _end_with_parent() -> None:
    """However the parent ends, nobody is left at work whom nobody watches."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _deaf() -> Generator[None]:
    """Processes that start now do not hear Ctrl-C, which goes to the whole group: their parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
