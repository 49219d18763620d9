"""Doing a run's units in this process; whatever another runner does is left to it."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator, Sequence

import torch

from latentedit.api.runs.folder import RunFolder
from latentedit.api.runs.work import Done, Measure, Work
from latentedit.core.progress import Progress

PAUSE_S = 0.5
"""Between looks at what the other runners do."""


def run_here(folder: RunFolder, work: Work, *, progress: Progress | None = None) -> None:
    """Do every unit that is not done, on one core, and wait for those that other runners hold.

    Args:
        folder: of the run.
        work: its plan.
        progress: told the run's kind after each unit, in units; those of other runners count.

    Raises:
        KeyboardInterrupt: saying what is kept.
        OutputError: the folder cannot be written to, or the disk is full.
    """
    measure: Measure | None = None
    with told_when_stopped(folder), one_thread():
        for unit in unclaimed(folder, work.units, lambda: report(folder, progress)):
            measure = work.start() if measure is None else measure
            folder.add(unit, timed(measure, work.parcel(unit)))
            report(folder, progress)
        report(folder, progress)


def unclaimed(folder: RunFolder, units: Sequence[str], pause: Callable[[], None]) -> Generator[str]:
    """Units that are to be done, each held until the next is asked for; ends when all are finished, by whomever.

    Args:
        folder: of the run.
        units: of the plan.
        pause: called where there is nothing to do but to wait for another runner.
    """
    left = list(units)
    while left := [unit for unit in left if not folder.has(unit)]:
        found = False
        for unit in left:
            with folder.claim(unit) as mine:
                if mine and not folder.has(unit):
                    found = True
                    yield unit
        if not found:
            pause()
            time.sleep(PAUSE_S)


@contextlib.contextmanager
def one_thread() -> Generator[None]:
    """One core, in every worker on every machine: sums are rounded otherwise when several share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def timed(measure: Measure, parcel: object) -> Done:
    """Do a unit, and say how many seconds it took."""
    started = time.perf_counter()
    done = measure(parcel)
    return dataclasses.replace(done, about={"seconds": time.perf_counter() - started, **done.about})


def report(folder: RunFolder, progress: Progress | None) -> None:
    """Tell how many units are finished."""
    if progress is not None:
        progress(folder.manifest["kind"], len(folder.finished()), len(folder.manifest["units"]))


@contextlib.contextmanager
def told_when_stopped(folder: RunFolder) -> Generator[None]:
    """Ctrl-C says what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        kept, units = len(folder.finished()), len(folder.manifest["units"])
        raise KeyboardInterrupt(
            f"interrupted; {kept} of {units} parts are kept in {folder.path}, and the same command goes on from there"
        ) from None
