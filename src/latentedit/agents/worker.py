"""The process in which the calls of a server run, one after the other: it can be ended, and holds what tasks keep."""

import contextlib
import errno
import inspect
import io
import multiprocessing
import os
import re
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

from latentedit.agents.paths import check_existing, check_new, inside
from latentedit.agents.refusals import internal_error, one_line, shortened
from latentedit.agents.tools import LOADING, WRITTEN, Answer, NewFile, Tool
from latentedit.core.errors import LatentEditError
from latentedit.core.files import confine, plain
from latentedit.core.safe_paths import place_new
from latentedit.core.workers import end_with_parent

_MOST_LOADING_S = 900  # most seconds until the first step of work: a large model from a slow disk takes minutes
_IDLE_S = 1800  # after so many seconds without a call the process ends, with the model that it holds
_ENDING_S = 60  # so much earlier, the server no longer gives it a call
_PANEL_SIDE_PX = 1024  # longest side of the image in an answer: agents pay for its pixels
_stages = set[str]()  # folders of running calls
Report = Callable[[str, int, int], Awaitable[None]]  # called with what is done, the steps done and their number


class _Answered(NamedTuple):
    """The answer of the process: one line for an error, after which it is not used again if ``made`` is None."""

    values: dict[str, Any] | str
    panel: bytes | None = None
    made: dict[str, NewFile] | None = None


class Worker:
    """A process for the calls of a server: the first call starts it, and the first after its end another.

    Args:
        root: the folder of the files.
        seconds: limit of a call, counted from its first step of work; after that, and when the call is canceled, the
            process is killed, and nothing is written.
        method: how `multiprocessing` starts the process.
    """

    def __init__(self, root: Path, seconds: float, *, method: str = "spawn") -> None:
        import anyio

        self._root, self._seconds = root, seconds
        self._context: Any = multiprocessing.get_context(method)
        self._process: Any = None
        self._pipe: Any = None
        self._alone, self._last = anyio.Lock(), time.monotonic()

    async def call(
        self, tool: Tool, arguments: dict[str, Any], report: Report | None = None
    ) -> tuple[dict[str, Any] | str, bytes | None]:
        """The answer of a tool with its panel as JPEG, or one line with an error; its new files are in the root then.

        The arguments are those of the task, with the names of files as ``places``. Calls wait for each other.
        """
        async with self._alone:
            with _stage() as stage:
                made = None
                try:
                    self._begin()
                    self._pipe.send((tool.task, arguments, Path(stage)))
                    values, panel, made = await self._answered(tool, report)
                except (EOFError, ConnectionError):
                    self._process.join(1)
                    code = self._process.exitcode
                    return f"internal error: the call's process ended with {code}. See the server's log", None
                finally:
                    self._last = time.monotonic()
                    if made is None:
                        self.end()
                if isinstance(values, str) or not made:
                    return values, panel
                try:
                    placed = place_new(self._root, {new.file: new.target(self._root) for new in made.values()})
                except LatentEditError as error:
                    return shortened(one_line(error), arguments["places"].values()), None
                return values | dict(zip(made, map(str, placed), strict=True)), panel

    def end(self) -> None:
        """End the process, and with it a running call."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _begin(self) -> None:
        """Start the process, unless it runs and will go on to."""
        if time.monotonic() - self._last > _IDLE_S - _ENDING_S:
            self.end()
        if self._process is None or not self._process.is_alive():
            self._pipe, there = self._context.Pipe()
            self._process = self._context.Process(target=_serve, args=(there, self._root), daemon=True)
            self._process.start()
            there.close()

    async def _answered(self, tool: Tool, report: Report | None) -> _Answered:
        """The answer of the process, or one line on a call that took too long."""
        import anyio.to_thread

        what, reached, is_loading, until = "starting", "", True, time.monotonic() + _MOST_LOADING_S
        while True:
            left = max(0, until - time.monotonic())
            # The thread ends with the process, whose end of the pipe is closed then.
            if not await anyio.to_thread.run_sync(self._pipe.poll, left, abandon_on_cancel=True):
                why, remedy = f" at its limit of {self._seconds:g} s{reached}", tool.quicker
                if is_loading:
                    why, remedy = f": {what} took more than {_MOST_LOADING_S} s", "Call it again when less else runs"
                return _Answered(f"the call was stopped{why}. It wrote no file and has no result. {remedy}")
            message = self._pipe.recv()
            if isinstance(message, _Answered):
                return message
            what, done, number = message
            if is_loading != (what == LOADING and done < number):
                is_loading = not is_loading
                until = time.monotonic() + (_MOST_LOADING_S if is_loading else self._seconds)
            if number:
                reached = f", with {done} of {number} steps of '{what}' done"
                if report is not None:
                    await report(what, done, number)


def remove_stages() -> None:
    """Remove the folders of running calls, whose processes have ended."""
    for stage in [*_stages]:
        shutil.rmtree(stage, ignore_errors=True)


@contextlib.contextmanager
def _stage() -> Generator[str]:
    """The folder of a call, which `remove_stages` knows until it is gone."""
    stage = tempfile.mkdtemp()
    _stages.add(stage)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        _stages.discard(stage)


def _serve(pipe: Any, root: Path) -> None:
    """Answer calls until the server ends, or makes none for long."""
    # A folder of the root may become a link at any time: this process reads files by descriptors from the root on, and
    # writes only in the stage. The server, which knows whether the call was canceled, places the files in the root.
    stages = list[Path]()
    end_with_parent(lambda: [_remove_stage(stage) for stage in stages])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the server
    confine()
    with contextlib.suppress(EOFError):  # the server has dropped it
        while pipe.poll(_IDLE_S):
            task, arguments, stage = pipe.recv()
            stages[:] = [stage]
            pipe.send(("", 0, 0))  # the limit of the call begins
            pipe.send(_answer(pipe, task, root, arguments, stage))


def _answer(pipe: Any, task: Callable[..., Answer], root: Path, arguments: dict[str, Any], stage: Path) -> _Answered:
    """The answer of a task. The root is the current folder, so that no text contains the path of another."""
    file, found, made = io.BytesIO(), dict[str, Path](), dict[str, NewFile]()
    try:
        os.chdir(root)
        named = {name: place for name, place in arguments["places"].items() if place is not None}
        found = {name: inside(root, place, new=name in WRITTEN) for name, place in named.items()}
        for name, path in found.items():
            if name in WRITTEN:
                check_new(name, path)
            else:
                check_existing(root, path, named[name])
        places = dict.fromkeys(arguments["places"]) | found | {"stage": stage}
        takes_step = "step" in inspect.signature(task).parameters
        steps = {"step": lambda *done: pipe.send(done)} if takes_step else {}
        values, image = task(**arguments | {"places": places}, **steps)
        if image is not None:
            image.thumbnail((_PANEL_SIDE_PX, _PANEL_SIDE_PX))
            image.convert("RGB").save(file, format="JPEG", quality=85)
        made = {name: value for name, value in values.items() if isinstance(value, NewFile)}
        return _Answered(plain(values), file.getvalue() or None, made)
    except LatentEditError as error:
        line = re.sub(rf"{re.escape(str(stage))}[/\\]\w+[/\\]", "", one_line(error))
        return _Answered(shortened(line, found.values()), made={})
    except Exception as error:  # noqa: BLE001 (reported, and logged by the server)
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            line = "the path, or a name in it, is longer than the system allows. Pass a shorter one"
            return _Answered(line, made={})
        traceback.print_exc()
        return _Answered(internal_error(error))


def _remove_stage(stage: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.rmtree(stage.rename(f"{stage}.ended"))  # under another name, the task cannot go on writing there
