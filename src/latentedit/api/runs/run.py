"""A run wherever it is to run: in this process, in several on this machine, or on a Ray cluster."""

import dataclasses
import os

import psutil
import torch

from latentedit.api.runs.cluster import run_on_ray
from latentedit.api.runs.folder import RunFolder
from latentedit.api.runs.processes import run_processes
from latentedit.api.runs.runner import run_here
from latentedit.api.runs.work import Work
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Who works.

    Args:
        workers: processes, each with a model of its own; None is one here, and what suits the cluster there.
        ray: address of a Ray cluster; None is this machine.
    """

    workers: int | None = None
    ray: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"expected 1 worker or more; got {self.workers}")

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
    folder: RunFolder, work: Work, *, where: Where | None = None, progress: Progress | None = None
) -> tuple[str, ...]:
    """Do every unit that is not done.

    Args:
        folder: of the run.
        work: its plan.
        where: in this process unless told.
        progress: told the run's kind after each unit, in units.

    Returns:
        What the user should know, such as workers that died on the way.

    Raises:
        KeyboardInterrupt: saying what is kept.
        LatentEditError: what stopped the run; what was finished is kept.
    """
    where = Where() if where is None else where
    if where.ray is not None:
        run_on_ray(folder, work, address=where.ray, workers=where.workers, progress=progress)
    elif where.here:
        run_here(folder, work, progress=progress)
    else:
        dead = run_processes(folder, work, where.workers or 1, progress=progress)
        if dead:
            return (f"{dead} of {where.workers} workers died; the others did their part",)
    return ()
