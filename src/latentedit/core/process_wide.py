"""Settings of the whole process that several threads need at once."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager


class WhileNeeded:
    """What is set while any thread has it open; as it was before once the last one leaves.

    Args:
        begin: sets it, and gives what sets it back.
    """

    def __init__(self, begin: Callable[[], Callable[[], object]]) -> None:
        self._begin = begin
        self._lock, self._ends = threading.Lock(), list[Callable[[], object]]()

    @contextmanager
    def open(self) -> Generator[None]:
        """Inside the context it is set, whichever thread was the first to open it."""
        with self._lock:
            self._ends.append(self._ends[0] if self._ends else self._begin())
        try:
            yield
        finally:
            with self._lock:
                end = self._ends.pop()
                if not self._ends:
                    end()
