"""Judges one input: no crash, no excess of time or memory, no partial file, no raw control characters."""

import ast
import contextlib
import dataclasses
import io
import re
import resource
import signal
import tempfile
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from hypothesis.strategies import SearchStrategy

from latentedit.cli.program import run
from latentedit.core.errors import LatentEditError

LIMIT_S = 20
MEMORY_BYTES = 2_000_000_000  # time and additional memory that one input may take

_RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters other than tabs and line breaks."""


class FaultError(AssertionError):
    """The program behaved wrongly."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A kind of input, made of plain Python literals, and the function that processes it in an empty folder.

    ``act`` raises `LatentEditError` if it rejects the input.
    """

    name: str
    inputs: SearchStrategy[Any]
    act: Callable[[Any, Path], None]


def judged(target: Target, value: Any) -> bool:
    """Whether the input was accepted; a `FaultError` if the program behaved wrongly."""
    if ast.literal_eval(repr(value)) != value:
        raise FaultError(f"an input of {target.name} cannot be kept: {value!r}")
    with tempfile.TemporaryDirectory() as folder, bounded(LIMIT_S, MEMORY_BYTES):
        try:
            target.act(value, Path(folder))
            taken = True
        except FaultError:
            raise
        except LatentEditError as error:
            if "\n" in str(error).strip() and len(str(error)) > 100_000:
                raise FaultError(f"an error of {len(str(error))} letters") from error
            taken = False
        except (Exception, SystemExit) as error:
            raise FaultError(f"{type(error).__name__}: {error}") from error
        half = [place.name for place in Path(folder).rglob(".*.tmp")]
        if half:
            raise FaultError(f"a partial file was left: {half[0]}")
    return taken


def run_command(*arguments: str) -> int:
    """Run a command line and check what it printed; a `LatentEditError` if it was rejected."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(list(arguments))
    check_printed(code, out.getvalue(), err.getvalue())
    if code == 2:
        raise LatentEditError(err.getvalue())
    return code


def check_printed(code: int, out: str, err: str) -> None:
    """Raise for another code than 0, 1 or 2, control characters, a traceback, or wrong input without an error line."""
    if code not in (0, 1, 2):
        raise FaultError(f"the exit code {code}")
    if found := _RAW.search(out) or _RAW.search(err):
        raise FaultError(f"the raw character {found[0]!r} was printed")
    if "Traceback" in err:
        raise FaultError(err[-2000:])
    if code == 2 and not re.search(r"^error: .+\n(hint: .+\n)?\Z", err, re.MULTILINE) and "Usage" not in out + err:
        raise FaultError(f"wrong input is no error with a hint on stderr: {err[:500]!r}")


@contextlib.contextmanager
def bounded(seconds: int, memory_bytes: int) -> Generator[None]:
    """Limit time, and memory beyond that of the process, inside the context."""

    def late(*_: object) -> None:
        raise TimeoutError(f"it takes more than {seconds} s")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory_bytes, before[1]))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)
