"""Output of the commands. Captions and file names are untrusted, so all printing escapes control characters."""

import contextlib
import functools
import inspect
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentedit.core.errors import ConfigError, OutputError, in_one_line
from latentedit.core.files import as_text, plain

Progress = Callable[[str, int, int], None]  # called at each step with the task, the steps done and their number
Tick = Callable[[], None]  # called at each step of a long computation, which an exception ends
PARAMETER = re.compile(r"`([a-z_]+)(?:=([^`]*))?`")  # a parameter in a library message, with or without a value
_LINE_S = 30  # between two lines of progress where no bar is drawn
_OPTION_NAMES = {"directions": "direction", "references": "reference"}
_SETTINGS = ("arm", "combine", "complete")  # parameters that ``--set`` sets
_REMEDY = re.compile(r"(?P<problem>.+)(?:\. (?=[A-Z])|[:;] (?=did you mean |known: ))(?P<remedy>.+)")
# Control characters (ESC, line breaks, the 8-bit CSI), marks of writing direction, surrogates.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def nothing() -> None:
    """No progress."""


def check_progress(progress: object) -> None:
    """Refuse what cannot be called with a task, a step and a number, before anything is computed."""
    try:
        if progress is None or (callable(progress) and inspect.signature(progress).bind("", 0, 1)):
            return
    except TypeError:
        pass
    except ValueError:  # a function without a signature: nothing is known of it
        return
    raise ConfigError(
        f"`progress` is a function of task, step and number; got {progress!r:.60}. "
        "Give one such as lambda task, step, number: print(task, step, number)"
    )


class Ticks:
    """Reports a step at each call; their number is an estimate, so the last one is reported by `finish`."""

    def __init__(self, progress: Progress | None, task: str, total: int) -> None:
        check_progress(progress)
        self._report, self._task, self._total, self._done = progress or (lambda *_: None), task, total, -1
        self()

    def __call__(self) -> None:
        self._done = min(self._done + 1, self._total - 1)
        self._report(self._task, self._done, self._total)

    def finish(self) -> None:
        self._report(self._task, self._total, self._total)


def close_streams(code: int) -> int:
    """Flush stdout and return the exit code."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:  # its reader has left; a full disk was reported by `say`
        _discard(sys.stdout)
    return code


def _discard(stream: Any) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write(text: str, stream: Any) -> None:
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        _discard(stream)
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):  # the reader has left, as in `| head`
            raise OutputError(f"cannot write to stdout: {error.strerror}; the output files were saved") from error


@contextlib.contextmanager
def progress_bar(given: Progress | bool | None = True, *, quiet: bool = False) -> Generator[Progress | None]:
    """A progress callback: the given one, or one that reports on stderr; None for False, or if ``quiet`` is set."""
    # On a terminal and in a notebook it draws a bar, elsewhere it prints a line every `_LINE_S` seconds. TQDM_DISABLE
    # in the environment silences both.
    if quiet or (given is True and os.environ.get("TQDM_DISABLE")):
        yield None
    elif given is not True:
        check_progress(given or None)
        yield given or None
    elif sys.stderr.isatty() or "ipykernel" in sys.modules:
        with contextlib.ExitStack() as drawn:
            yield functools.partial(_draw, {}, drawn)
    else:
        yield functools.partial(_print_line, {"": time.monotonic()})


def _draw(bars: dict[str, Any], drawn: contextlib.ExitStack, task: str, done: int, total: int) -> None:
    if task not in bars:
        from tqdm.auto import tqdm

        bars[task] = drawn.enter_context(tqdm(desc=escaped(task), total=total, leave=False, dynamic_ncols=True))
    bars[task].total = total
    bars[task].update(done - bars[task].n)


def _print_line(last: dict[str, float], task: str, done: int, total: int) -> None:
    """A line each `_LINE_S` seconds, and the last one of a task that had one; ``last`` has the time of both."""
    if time.monotonic() - last[""] >= _LINE_S or (done == total and task in last):
        last[""] = last[task] = time.monotonic()
        complain(f"{task}: {100 * done // max(total, 1)} %")
    if done == total:
        last.pop(task, None)


def escaped(text: str) -> str:
    """The text on one line, with control characters as escapes."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def with_options(text: str) -> str:
    """A library message with options instead of parameters: ``--no-auto-mask`` for ```auto_mask=False```."""

    def option(found: re.Match[str]) -> str:
        name, value = _OPTION_NAMES.get(found[1], found[1].replace("_", "-")), found[2]
        if name in _SETTINGS:
            return f"--set {name}" + ("" if value is None else f"={value.strip(chr(34))}")
        if value in (None, "True", "False"):
            return f"--no-{name}" if value == "False" else f"--{name}"
        return f"--{name} {value if ' ' in value else value.strip(chr(34))}"

    return PARAMETER.sub(option, text)


def echo(text: object = "") -> None:
    """One line on stdout."""
    _write(escaped(str(text)), sys.stdout)


def complain(text: str, *, indented: bool = False) -> None:
    """One line on stderr; line breaks become spaces unless the text is indented."""
    _write(escaped(text if indented else with_options(" ".join(text.split()))), sys.stderr)


def fail(text: object) -> None:
    """An error on stderr, with the remedy on a second line."""
    found = _REMEDY.fullmatch(line := in_one_line(str(text)))
    complain(f"error: {line if found is None else found['problem']}")
    if found is not None:
        complain(f"hint: {found['remedy'][0].upper()}{found['remedy'][1:]}")


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Labels and texts, aligned; long texts are not wrapped, so that they can be piped."""
    width = max([12, *(len(label) + 1 for label, _ in rows)])
    for label, text in rows:
        echo(f"  {label:<{width}}{text}")


def warn(notes: Sequence[str]) -> None:
    """Warnings on stderr, one per line."""
    for note in notes:
        complain(f"warning: {note}")


def were_replaced(files: Sequence[Path]) -> list[str]:
    """A warning for each file that a result replaced."""
    return [f"{file} already existed and was replaced" for file in files]


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout; nan and infinity become null."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    _write(_STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text), sys.stdout)


def typed_command() -> str:
    """The command line, for the records of results; bytes that are not text become escapes."""
    return as_text(shlex.join(["latentedit", *sys.argv[1:]]))
