"""As much of Ray as a run asks for, on this machine: each worker is a forked process."""

from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace
from typing import Any

from tests.api.runs.small_work import FORK


class RayTaskError(Exception):
    """What a worker raised, as its ``cause``."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class RayActorError(Exception):
    """A worker was lost."""

    actor_init_failed = False


class FakeRay:
    """A cluster whose objects are stored nowhere: what is put is what is got.

    Args:
        room: workers that find a place; later ones wait for ever.
    """

    exceptions = SimpleNamespace(RayTaskError=RayTaskError, RayActorError=RayActorError)

    def __init__(self, *, room: int = 100) -> None:
        self._room = room
        self._pools: list[ProcessPoolExecutor] = []

    def init(self, **_: object) -> None:
        """Nothing to join."""

    def shutdown(self) -> None:
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def put(self, value: object) -> object:
        return value

    def get(self, value: Any) -> Any:
        if not isinstance(value, Future):
            return value
        try:
            return value.result()
        except BrokenProcessPool as error:
            raise RayActorError from error
        except Exception as error:
            raise RayTaskError(error) from error

    def wait(self, futures: list[Future[Any]], *, timeout: float) -> tuple[list[Future[Any]], list[Future[Any]]]:
        ready, rest = wait(futures, timeout=timeout, return_when="FIRST_COMPLETED")
        return list(ready), list(rest)

    def remote(self, **_: object) -> Any:
        return lambda kind: SimpleNamespace(remote=lambda *arguments: self._begin(kind, arguments))

    def _begin(self, kind: type, arguments: tuple[Any, ...]) -> Any:
        pool = ProcessPoolExecutor(1, mp_context=FORK) if len(self._pools) < self._room else None
        if pool is not None:
            self._pools.append(pool)

        def method(name: str) -> Any:
            def remote(*task: object) -> Future[Any]:
                return Future() if pool is None else pool.submit(_call, kind, arguments, name, *task)

            return SimpleNamespace(remote=remote)

        return SimpleNamespace(start=method("start"), measure=method("measure"))


_worker: list[Any] = []
"""In a worker's process, the one that lives there."""


def _call(kind: type, arguments: tuple[Any, ...], name: str, *task: object) -> Any:
    if not _worker:
        _worker.append(kind(*arguments))
    return getattr(_worker[0], name)(*task)
