"""Costs: network evaluations, counted in a context, time and memory."""

import contextlib
import dataclasses
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any

import torch

from latentedit.core.errors import Hinted

if sys.platform != "win32":
    import resource


@dataclasses.dataclass(slots=True, eq=False)
class Count:
    """Network evaluations of one model inside a context; a guided velocity counts two, a derivative product two."""

    evaluations: int = 0


# Models with open counts; a new thread starts with none.
_OPEN: ContextVar[tuple[tuple[object, Count], ...]] = ContextVar("open counts", default=())

# Threads in copies of one context share its counts.
_LOCK = threading.Lock()


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
    # Evaluations of the code inside are not counted one by one, and not at all if it fails.
    token = _OPEN.set(tuple(pair for pair in _OPEN.get() if pair[0] is not model))
    try:
        yield
    finally:
        _OPEN.reset(token)
    spend(model, evaluations)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cost(Hinted):
    """Cost of a result.

    Args:
        evaluations: network evaluations an image; guidance counts two, a forward-mode or finite-difference JVP two.
        seconds: wall time an image, without reading and encoding it.
        peak_bytes: highest resident memory of the process (CPU) or allocation (CUDA).
        verdict_evaluations: spent on judging the result, not part of the edit.
        guard_evaluations: spent on checking that the image is in distribution, not part of the edit.
    """

    evaluations: float
    seconds: float
    peak_bytes: int
    verdict_evaluations: float = 0.0
    guard_evaluations: float = 0.0


@contextlib.contextmanager
def metered(model: Any) -> Generator[Callable[[], Cost]]:
    """Gives a function that returns the cost of a model since here: evaluations, seconds, and the peak of memory."""
    reset_peak(model.device)
    started = time.perf_counter()
    with counting(model) as count:
        yield lambda: Cost(
            evaluations=float(count.evaluations),
            seconds=time.perf_counter() - started,
            peak_bytes=peak_bytes(model.device),
        )


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
