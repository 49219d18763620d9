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
from typing import Any

from latentedit.core.errors import OutputError

PAUSE_S = 0.5  # between looks at what others have finished
Named = tuple[str, Any]  # a task or its result, with its name
Start = Callable[[], Callable[[Any], Any]]  # called once in each process: loads what all tasks need


class Workers:
    """A pool of workers: ``running`` has at most ``count`` tasks, each with its name."""

    def __init__(self, count: int) -> None:
        self.count, self.running = count, dict[Any, Named]()

    def submit(self, name: str, task: Any) -> None:
        """Take a task."""
        raise NotImplementedError

    def finished(self) -> list[Named]:
        """Results, after a pause if there are none yet; errors of tasks are raised."""
        raise NotImplementedError


def each(tasks: Iterator[Named | None], workers: Workers) -> Iterator[Named]:
    """Results as they are finished; a task that is None says that others will come later."""
    while True:
        task: Any = None
        while len(workers.running) < workers.count and (task := next(tasks, ())):
            workers.submit(*task)
        if workers.running:
            yield from workers.finished()
        elif task == ():
            return
        else:
            time.sleep(PAUSE_S)


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


class _Here(Workers):
    """This process."""

    def __init__(self, start: Start) -> None:
        super().__init__(1)
        self._start = functools.cache(start)

    def submit(self, name: str, task: Any) -> None:
        self.running[name] = name, task

    def finished(self) -> list[Named]:
        name, task = self.running.pop(next(iter(self.running)))
        return [(name, self._start()(task))]


class _Pool(_Here):
    """Several processes, of which there is one less after each death; this one where none can be started."""

    def __init__(self, start: Start, count: int, remedy: str) -> None:
        super().__init__(start)
        self._context: Any = multiprocessing.get_context("spawn")
        self.count, self._remedy, self._is_here = count, remedy, False
        self._options: dict[str, Any] = {"mp_context": self._context, "initializer": _begin, "initargs": (start,)}
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    def submit(self, name: str, task: Any) -> None:
        if self._is_here:
            super().submit(name, task)
            return
        # Ctrl-C is sent to the process group; workers inherit SIG_IGN, and are terminated by this process.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._pool = self._pool or concurrent.futures.ProcessPoolExecutor(self.count, **self._options)
            self.running[self._pool.submit(_measured, task)] = name, task
        except BrokenProcessPool as error:  # found when the task is waited for
            lost = concurrent.futures.Future[Any]()
            lost.set_exception(error)
            self.running[lost] = name, task
        except (OSError, ImportError, RuntimeError) as error:  # no semaphores; too many processes, threads or bytes
            warnings.warn(f"worker processes cannot be started ({error}); this one does all the work", stacklevel=2)
            self.terminate()
            self._pool, self.count, self._is_here = None, 1, True
            super().submit(name, task)  # tasks that were submitted before are done again
        finally:
            signal.signal(signal.SIGINT, before)

    def finished(self) -> list[Named]:
        if self._is_here:
            return super().finished()
        ended = concurrent.futures.wait(self.running, PAUSE_S, concurrent.futures.FIRST_COMPLETED)[0]
        dead = {future for future in ended if isinstance(future.exception(), BrokenProcessPool)}
        found = [(self.running.pop(future)[0], future.result()) for future in ended - dead]
        if dead:
            self._replace()
        return found

    def _replace(self) -> None:
        """New processes, one less, for all tasks that were not finished."""
        self.close()
        self._pool, running, self.running, self.count = None, self.running.values(), {}, self.count - 1
        if not self.count:
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


_own: dict[str, Start] = {}  # starts of this worker process


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
