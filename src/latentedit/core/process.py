"""Settings of the running process: its memory, its garbage collection, and what several threads set together.

By default glibc returns every freed block of more than 32 MiB to Linux, and asks for it again for the next tensor;
Linux then fills it with zeros, page by page. That is a tenth of the time of a benchmark in batches of 32.
"""

import ctypes
import gc
import platform
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4

# Requested beyond what is needed, each time that the heap grows.
_PAD_BYTES = 64 * 2**20

COLLECT_AFTER = 100_000
"""New objects after which Python collects garbage, 700 by default."""

COLLECT_AFTER_IMPORTS = 2_000_000
"""The same until a model is loaded: importing torch and diffusers makes a million objects, all of which stay, and
examining them again and again is a fifth of the import time with Python's default, a twentieth with `COLLECT_AFTER`."""


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, if it has glibc; its peak grows by about 64 MiB at most."""
    if platform.libc_ver()[0] != "glibc":
        return False
    parameters = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: _PAD_BYTES}
    library = ctypes.CDLL(None)
    return all(library.mallopt(parameter, value) == 1 for parameter, value in parameters.items())


def collect_garbage_less_often(after: int = COLLECT_AFTER) -> None:
    """Collect cyclic garbage less often from now on; memory that tensors hold is not in such cycles."""
    gc.set_threshold(after, *gc.get_threshold()[1:])


def spare_what_is_loaded() -> None:
    """Never examine what exists now, modules and a model; from now on collect garbage as often as usual here."""
    gc.freeze()
    collect_garbage_less_often()


def leave_without_collecting() -> None:
    """Skip the garbage collection at exit, which takes a second; to be called last."""
    gc.freeze()


class SharedContext:
    """A process-wide setting that holds while any thread needs it, and is undone when the last one leaves.

    ``begin`` applies it, and returns the function that undoes it.
    """

    def __init__(self, begin: Callable[[], Callable[[], object]]) -> None:
        self._begin = begin
        self._lock, self._ends = threading.Lock(), list[Callable[[], object]]()

    @contextmanager
    def open(self) -> Generator[None]:
        """Apply the setting inside the context."""
        with self._lock:
            self._ends.append(self._ends[0] if self._ends else self._begin())
        try:
            yield
        finally:
            with self._lock:
                end = self._ends.pop()
                if not self._ends:
                    end()
