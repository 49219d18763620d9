"""Many tasks, done in this process or by workers: each is handed out when one is free, and redone if that one dies."""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from latentedit_keep.base.errors import OutputError

PAUSE_S = 0.5  # between looks at what others have finished
Named = tuple[str, Any]  # a task or its result, with its name
Start = Callable[[], Callable[[Any], Any]]  # called once in each process: loads what all tasks need


class Workers(Protocol):
    """What does tasks."""

    @property
    def free(self) -> bool: ...  # whether one more task is taken

    @property
    def busy(self) -> bool: ...  # whether results are to come

    def submit(self, name: str, task: Any) -> None: ...

    def finished(self) -> list[Named]: ...  # results, after a pause if there are none yet; errors of tasks are raised


def each(tasks: Iterator[Named | None], workers: Workers) -> Iterator[Named]:
    """Results as they are finished; a task that is None says that others will come later."""
    while True:
        task: Any = None
        while workers.free and (task := next(tasks, ())):
            workers.submit(*task)
        if task == () and not workers.busy:
            return
        yield from workers.finished()


@contextlib.contextmanager
def processes(start: Start, count: int, remedy: str) -> Generator[Workers]:
    """Workers: this process for a count of 1, else new ones, which end with it; ``remedy`` is for those that die."""
    if count == 1:
        yield _Here(start)
        return
    pool = _Pool(start, count, remedy)
    try:
        yield pool
    except BaseException:
        pool.terminate()
        raise
    finally:
        pool.close()


class _Here:
    """This process."""

    def __init__(self, start: Start) -> None:
        self._start, self._tasks = functools.cache(start), list[Named]()

    @property
    def free(self) -> bool:
        return not self._tasks

    @property
    def busy(self) -> bool:
        return bool(self._tasks)

    def submit(self, name: str, task: Any) -> None:
        self._tasks.append((name, task))

    def finished(self) -> list[Named]:
        if not self._tasks:
            time.sleep(PAUSE_S)
            return []
        name, task = self._tasks.pop()
        return [(name, self._start()(task))]


class _Pool:
    """Several processes, of which there is one less after each death."""

    def __init__(self, start: Start, count: int, remedy: str) -> None:
        self._context: Any = multiprocessing.get_context("spawn")
        self._start, self._count, self._remedy = start, count, remedy
        self._running: dict[concurrent.futures.Future[Any], Named] = {}
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    @property
    def free(self) -> bool:
        return len(self._running) < self._count

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def submit(self, name: str, task: Any) -> None:
        if self._pool is None:
            options: dict[str, Any] = {"mp_context": self._context, "initializer": _begin, "initargs": (self._start,)}
            self._pool = concurrent.futures.ProcessPoolExecutor(self._count, **options)
        # Ctrl-C is sent to the process group; workers inherit SIG_IGN, and are terminated by this process.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._running[self._pool.submit(_measured, task)] = name, task
        except BrokenProcessPool as error:  # found when the task is waited for
            lost = concurrent.futures.Future[Any]()
            lost.set_exception(error)
            self._running[lost] = name, task
        finally:
            signal.signal(signal.SIGINT, before)

    def finished(self) -> list[Named]:
        if not self._running:
            time.sleep(PAUSE_S)
        ended = concurrent.futures.wait(self._running, PAUSE_S, concurrent.futures.FIRST_COMPLETED)[0]
        dead = {future for future in ended if isinstance(future.exception(), BrokenProcessPool)}
        found = [(self._running.pop(future)[0], future.result()) for future in ended - dead]
        if dead:
            self._replace()
        return found

    def _replace(self) -> None:
        """New processes, one less, for all tasks that were not finished."""
        self.close()
        self._pool, running, self._running, self._count = None, self._running.values(), {}, self._count - 1
        if not self._count:
            died = "all worker processes died, possibly out of memory; what is finished was saved"
            raise OutputError(f"{died}. {self._remedy}")
        warnings.warn("a worker process died, possibly out of memory; the others continue", stacklevel=2)
        for task in running:
            self.submit(*task)

    def terminate(self) -> None:
        for worker in self._context.active_children():
            worker.terminate()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


_own: dict[str, Start] = {}  # of a worker process


def _begin(start: Start) -> None:
    """Called first in each process; what it loads is loaded by its first task, whose error then reaches its parent."""
    end_with_parent()
    _own["start"] = functools.cache(start)


def _measured(task: Any) -> Any:
    return _own["start"]()(task)


def end_with_parent() -> None:
    """End this process when its parent ends, also by ``kill -9``."""
    if (parent := multiprocessing.parent_process()) is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
