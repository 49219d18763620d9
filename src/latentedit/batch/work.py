"""The work of a batch run: a plan, divided into units that any worker can do."""

import contextlib
import dataclasses
import functools
import os
import socket
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Protocol

import torch

from latentedit._version import __version__
from latentedit.batch.folder import UnitResult
from latentedit.core.errors import ModelError
from latentedit.core.process import keep_freed_memory

UnitFunction = Callable[[Any], UnitResult]  # from the task of a unit to its result


class Work(Protocol):
    """A plan, divided into units; it can be pickled. The rows of a unit depend on its task only, not on the worker."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """Everything that determines the rows, as plain values."""
        ...

    @property
    def units(self) -> Sequence[str]:
        """Unique names, valid as file names, in order."""
        ...

    def task(self, unit: str) -> Any:
        """The input of a unit, with the content of its files: workers may have no access to this disk."""

    def start(self) -> UnitFunction:
        """Load what every unit needs; called once in each worker."""
        ...


def check_same_model(spec: Mapping[str, Any], fingerprint: str) -> None:
    """Raise a `ModelError` if a worker's latentedit or model differs from the plan's."""
    if (__version__, fingerprint) != (spec["latentedit"], spec["model_fingerprint"]):
        raise ModelError(
            f"{socket.gethostname()} has latentedit {__version__} and the model {spec['model']} with fingerprint "
            f"{fingerprint}; this run needs {spec['latentedit']} and {spec['model_fingerprint']}. Install these there"
        )


@contextlib.contextmanager
def one_thread() -> Generator[None]:
    """Use one core, as all workers do: with several threads, PyTorch rounds sums differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def started(work: Work, *, home: int | None) -> UnitFunction:
    """The measure of tasks in this process, and of their seconds; outside of ``home``, it does nothing else."""
    if os.getpid() != home:
        keep_freed_memory()
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")  # the parent loaded the same model and printed the warnings
    return functools.partial(timed, work.start())


def timed(measure: UnitFunction, task: object) -> UnitResult:
    """The result of a task, with its duration in seconds."""
    started = time.perf_counter()
    result = measure(task)
    return dataclasses.replace(result, about={"seconds": time.perf_counter() - started, **result.about})
