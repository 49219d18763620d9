"""What a run does: units of work, each of which gives rows and files, and what a worker needs to do one."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch

from latentedit.core.errors import LatentEditError, ModelError

T = TypeVar("T")
R = TypeVar("R")

Row = Mapping[str, Any]
"""One result: plain values, None for what could not be measured."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One thing that could not be done; the run went on without it.

    Args:
        item: what it was done to, by its id.
        what: was to be done, such as a method's name.
        why: in one line.
    """

    item: str
    what: str
    why: str

    @staticmethod
    def of(item: str, what: str, error: Exception) -> "Failure":
        """From the error that was raised."""
        return Failure(item=item, what=what, why=" ".join(str(error).split()))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnitResult:
    """What became of one unit.

    Args:
        rows: its results, the same wherever and whenever it is done.
        files: place in the run's folder to content.
        failures: what could not be done.
        about: what may differ from one time to the next, such as seconds; stored beside the rows, never among them.
    """

    rows: Sequence[Row]
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict[str, bytes])
    failures: Sequence[Failure] = ()
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])


Measure = Callable[[Any], UnitResult]
"""Does the work of one task."""


@runtime_checkable
class Work(Protocol):
    """A plan, cut into units. It can be pickled, and is the same in every process.

    Laws:
        1. ``units`` are the same, in the same order, whenever the plan is the same.
        2. What a unit gives depends on its task only: not on the worker, the other units or their order.
    """

    @property
    def spec(self) -> Mapping[str, Any]:
        """Everything that decides the rows, as plain values."""
        ...

    @property
    def units(self) -> Sequence[str]:
        """Names, each once, fit for a file's name, in the order of work."""
        ...

    def task(self, unit: str, *, with_bytes: bool = False) -> Any:
        """What a worker must be given to do a unit.

        Args:
            unit: its name.
            with_bytes: with the content of every file that it needs, for a worker that does not see this disk.
        """
        ...

    def start(self) -> Measure:
        """Load what every unit needs; called once in each worker."""
        ...


def unchanged(thing: T) -> T:
    """Itself; with `functools.partial` what "loads" a thing that is loaded already, and can be pickled with it."""
    return thing


def check_model(spec: Mapping[str, Any], fingerprint: str) -> None:
    """Refuse a worker's model that is not the plan's.

    Args:
        spec: of the plan, with "model" and "model_fingerprint".
        fingerprint: of the worker's model.

    Raises:
        ModelError: it is another one.
    """
    if fingerprint != spec["model_fingerprint"]:
        raise ModelError(
            f"the model {spec['model']} differs from machine to machine: the run has the fingerprint "
            f"{spec['model_fingerprint']}, this worker {fingerprint}. Put the same files on every machine"
        )


@contextlib.contextmanager
def one_thread() -> Generator[None]:
    """One core, in every worker on every machine: sums are rounded otherwise when several share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def timed(measure: Measure, task: object) -> UnitResult:
    """Do a unit, and say how many seconds it took."""
    started = time.perf_counter()
    result = measure(task)
    return dataclasses.replace(result, about={"seconds": time.perf_counter() - started, **result.about})


def in_halves(
    things: Sequence[T], together: Callable[[Sequence[T]], R], failed: Callable[[T, Exception], R]
) -> list[R]:
    """Do all at once; where that fails, each half, so that what cannot be done is found and left out.

    Args:
        things: one or more.
        together: does some of them.
        failed: what stands for one that cannot be done alone either; given the error.

    Returns:
        What was made of the parts, in order.
    """
    try:
        return [together(things)]
    except (LatentEditError, torch.OutOfMemoryError) as error:
        if len(things) == 1:
            return [failed(things[0], error)]
    half = len(things) // 2
    return [*in_halves(things[:half], together, failed), *in_halves(things[half:], together, failed)]
