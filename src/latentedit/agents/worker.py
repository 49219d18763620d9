"""The process in which the calls of a server run, one after the other. It keeps what tools keep in memory."""

import contextlib
import dataclasses
import io
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from latentedit.agents.tools import LOADING, Answer, Tool, ToolCall
from latentedit.core.errors import LatentEditError, too_little_memory
from latentedit.core.files import confine, plain
from latentedit.core.workers import end_with_parent

# Time limit before the first step of work: a large model from a slow disk takes minutes.
_MAXIMUM_LOADING_S = 900
# The process ends after this time without a call, with the model that it holds.
_IDLE_S = 1800
# The server stops using the process this much earlier, so that no call meets its end.
_IDLE_MARGIN_S = 60
# Longest side of the image in an answer: agents pay for its pixels.
_MAXIMUM_SIDE_PX = 1024

Report = Callable[[str, int, int], Awaitable[None]]
"""Is called with a step, the parts of it that are done, and their number."""


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What the agent gets: values of JSON types, and an image as JPEG or None."""

    values: dict[str, Any]
    jpeg: bytes | None


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """One line on a call that failed, and whether the process can still be used."""

    message: str
    is_usable: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class _Step:
    """A step of a running call."""

    name: str
    done: int
    total: int


class Worker:
    """A process for the calls of a server. The first call starts it, and the first call after its end another one.

    Args:
        root: the real path of the root folder.
        seconds: the time limit of a call, counted from its first step of work. When it is reached, and when the call
            is canceled, the process is killed.
        method: how `multiprocessing` starts the process.
    """

    def __init__(self, root: Path, seconds: float, *, method: str = "spawn") -> None:
        import anyio

        self._root = root
        self._seconds = seconds
        self._context: Any = multiprocessing.get_context(method)
        self._process: Any = None
        self._pipe: Any = None
        self._lock = anyio.Lock()
        self._last_call = time.monotonic()

    async def call(self, tool: Tool, arguments: dict[str, Any], report: Report | None = None) -> Result | Refusal:
        """Run a tool with these arguments. Calls wait for each other."""
        async with self._lock:
            is_usable = False
            try:
                self._start()
                self._pipe.send((tool.function, arguments))
                outcome = await self._outcome(tool, report)
                is_usable = isinstance(outcome, Result) or outcome.is_usable
            except (EOFError, ConnectionError):
                self._process.join(1)
                code = self._process.exitcode
                return Refusal(f"internal error: the call's process ended with {code}. See the server's log")
            finally:
                # A canceled call comes here, too.
                self._last_call = time.monotonic()
                if not is_usable:
                    self.end()
            return outcome

    def end(self) -> None:
        """End the process, and with it a running call."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        """Start the process unless it runs, and will not end soon because it was idle."""
        if time.monotonic() - self._last_call > _IDLE_S - _IDLE_MARGIN_S:
            self.end()
        if self._process is None or not self._process.is_alive():
            self._pipe, other_end = self._context.Pipe()
            self._process = self._context.Process(target=_serve, args=(other_end, self._root), daemon=True)
            self._process.start()
            other_end.close()

    async def _outcome(self, tool: Tool, report: Report | None) -> Result | Refusal:
        """Wait for the result of a call, and pass its steps on."""
        import anyio.to_thread

        step = _Step("starting", 0, 0)
        is_loading = True
        end_time = time.monotonic() + _MAXIMUM_LOADING_S
        while True:
            seconds_left = max(0, end_time - time.monotonic())
            # The thread ends with the process, which closes its end of the pipe.
            has_message = await anyio.to_thread.run_sync(self._pipe.poll, seconds_left, abandon_on_cancel=True)
            if not has_message:
                return self._timeout(tool, step, is_loading=is_loading)
            message = self._pipe.recv()
            if isinstance(message, Result | Refusal):
                return message
            step = message
            if is_loading != (step.name == LOADING and step.done < step.total):
                is_loading = not is_loading
                limit = _MAXIMUM_LOADING_S if is_loading else self._seconds
                end_time = time.monotonic() + limit
            if step.total and report is not None:
                await report(step.name, step.done, step.total)

    def _timeout(self, tool: Tool, step: _Step, *, is_loading: bool) -> Refusal:
        """Return the line on a call that was stopped at its time limit."""
        if is_loading:
            return Refusal(
                f"the call was stopped: {step.name} took more than {_MAXIMUM_LOADING_S} s. "
                "It has no result. Call it again when less else runs"
            )
        reached = ""
        if step.total:
            reached = f", with {step.done} of {step.total} steps of '{step.name}' done"
        return Refusal(
            f"the call was stopped at its limit of {self._seconds:g} s{reached}. "
            f"It has no result. {tool.timeout_remedy}"
        )


def _serve(pipe: Any, root: Path) -> None:
    """Answer calls until the server ends, or makes none for long."""
    end_with_parent()
    # Ctrl-C ends the server, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Messages name files relative to the root, and files in it are read without following links.
    os.chdir(root)
    confine()
    call = ToolCall(root, lambda name, done, total: pipe.send(_Step(name, done, total)))
    # An EOFError means that the server has ended.
    with contextlib.suppress(EOFError):
        while pipe.poll(_IDLE_S):
            function, arguments = pipe.recv()
            # The time limit of the call begins.
            pipe.send(_Step("", 0, 0))
            pipe.send(_run(function, call, arguments))


def _run(function: Callable[..., Answer], call: ToolCall, arguments: dict[str, Any]) -> Result | Refusal:
    """Return the result of a tool, or one line on its error."""
    try:
        answer = function(call, **arguments)
        return Result(plain(answer.values), _as_jpeg(answer.image))
    except LatentEditError as error:
        return Refusal(str(error), is_usable=True)
    except Exception as error:  # noqa: BLE001 (it is reported, and the server's log has it)
        traceback.print_exc()
        message = " ".join(str(error).split())
        reason = f"internal error: {type(error).__name__}: {message}"
        return Refusal(too_little_memory(error) or reason)


def _as_jpeg(image: Any) -> bytes | None:
    """Return the image of an answer, made small; None if there is none."""
    if image is None:
        return None
    file = io.BytesIO()
    image.thumbnail((_MAXIMUM_SIDE_PX, _MAXIMUM_SIDE_PX))
    image.convert("RGB").save(file, format="JPEG", quality=85)
    return file.getvalue()
