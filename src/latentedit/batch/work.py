"""The work of a batch run: units that give rows and files, and what a worker needs to do one."""

import contextlib
import dataclasses
import socket
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch

from latentedit._version import __version__
from latentedit.core.errors import LatentEditError, ModelError

T = TypeVar("T")
R = TypeVar("R")

Row = Mapping[str, Any]  # one result: plain values, None for what could not be measured


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One thing that could not be done; the run continued without it."""

    item: str  # id of the image or item
    what: str  # was to be done, such as the name of a method
    why: str  # in one line

    @staticmethod
    def of(item: str, what: str, error: Exception) -> "Failure":
        """The failure that an error stands for."""
        return Failure(item=item, what=what, why=" ".join(str(error).split()))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnitResult:
    """The result of one unit."""

    rows: Sequence[Row]  # the same whenever and wherever the unit is done
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict[str, bytes])  # by path in the run's folder
    failures: Sequence[Failure] = ()
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])  # may differ between runs: seconds


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


def bisect_failures(
    items: Sequence[T], together: Callable[[Sequence[T]], R], failed: Callable[[T, Exception], R]
) -> list[R]:
    """Process all items at once; if that fails, each half, down to single items, for which ``failed`` is called."""
    try:
        return [together(items)]
    except (LatentEditError, torch.OutOfMemoryError) as error:
        if len(items) == 1:
            return [failed(items[0], error)]
    half = len(items) // 2
    return [*bisect_failures(items[:half], together, failed), *bisect_failures(items[half:], together, failed)]
