"""Costs: network evaluations, counted in a context, time and memory."""

import contextlib
import dataclasses
import sys
import threading
import time
from collections.abc import Generator
from contextvars import ContextVar
from typing import Protocol

import torch

if sys.platform != "win32":
    import resource


@dataclasses.dataclass(slots=True, eq=False)
class Count:
    """Network evaluations of one model inside a context; a guided velocity counts two, a derivative product two."""

    evaluations: int = 0


_OPEN: ContextVar[tuple[tuple[object, Count], ...]] = ContextVar("open counts", default=())
"""Models with open counts; a new thread starts with none."""

_LOCK = threading.Lock()
"""Threads in copies of one context share its counts."""


@contextlib.contextmanager
def counting(model: object) -> Generator[Count]:
    """Count this thread's evaluations of a model; contexts nest, and other threads count with ``copy_context``."""
    count = Count()
    token = _OPEN.set((*_OPEN.get(), (model, count)))
    try:
        yield count
    finally:
        _OPEN.reset(token)


def spend(model: object, evaluations: int) -> None:
    """Add evaluations to every open count of a model."""
    with _LOCK:
        for counted, count in _OPEN.get():
            if counted is model:
                count.evaluations += evaluations


@contextlib.contextmanager
def spending(model: object, evaluations: int) -> Generator[None]:
    """Count this many evaluations of a model for the code inside, whatever it calls, and none if it fails."""
    token = _OPEN.set(tuple(pair for pair in _OPEN.get() if pair[0] is not model))
    try:
        yield
    finally:
        _OPEN.reset(token)
    spend(model, evaluations)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cost of a result.

    Args:
        evaluations: network evaluations a picture; guidance counts two, a forward-mode or finite-difference JVP two.
        seconds: wall time a picture, without reading and encoding it.
        peak_bytes: highest resident memory of the process (CPU) or allocation (CUDA).
        verdict_evaluations: spent on judging the result, not part of the edit.
        guard_evaluations: spent on checking that the picture is in distribution, not part of the edit.
    """

    evaluations: float
    seconds: float
    peak_bytes: int
    verdict_evaluations: float = 0.0
    guard_evaluations: float = 0.0


class OnDevice(Protocol):
    """What runs on one device, such as a `Backbone`."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Meter:
    """Network evaluations and seconds since `metered` was entered."""

    count: Count
    started: float

    def read(self) -> tuple[int, float]:
        """Evaluations and seconds so far."""
        return self.count.evaluations, time.perf_counter() - self.started


@contextlib.contextmanager
def metered(model: OnDevice) -> Generator[Meter]:
    """Count the evaluations of a model and the seconds, and measure the peak of memory from here on."""
    reset_peak(model.device)
    with counting(model) as count:
        yield Meter(count, time.perf_counter())


def reset_peak(device: torch.device) -> None:
    """Forget the highest allocation so far, on devices that record one."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """Highest allocation since `reset_peak` (CUDA), or highest resident memory of the process (CPU); 0 on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else 1024 * highest
