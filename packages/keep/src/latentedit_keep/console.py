"""The progress bar of the commands, and the one place that prints.

Captions, names of files and messages of libraries come from anyone, so all that a command prints goes through `say`,
`complain`, `print_rows`, `warn` or `print_json`, which show what would steer a terminal as escapes.
"""

import contextlib
import errno
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

Progress = Callable[[str, int, int], None]  # called with what is done, how much of it, and of how much, at each step
PARAMETER = re.compile(r"`([a-z_]+)(?:=([^`]*))?`")  # in a message of the library, with a value or without
_LABEL_WIDTH = 12
_RENAMED = {"caption": "from", "directions": "direction", "password": "password-file"}  # parameters to their options

# An error: what is wrong, and behind the last full stop what to do about it.
_REMEDY = re.compile(r"(?P<problem>.+)(?:\. (?=[A-Z])|[:;] (?=did you mean ))(?P<remedy>.+)")

# Control characters (ESC, line breaks, the 8-bit CSI), marks that turn the direction of writing, halves of characters.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class _Outlived(io.TextIOWrapper):
    """A standard stream that drops what is written from the first failure on (``| head``, a full disk)."""

    failure: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        self.failure = self.failure or error
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


def open_streams() -> None:
    """Call first: stdout and stderr take names of files that are no text, and may be closed, full or left unread."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, or the next file would be stdout
    for number, name in ((1, "stdout"), (2, "stderr")):
        there = getattr(sys, name)
        buffer: Any = open(number, "wb", closefd=False)  # noqa: SIM115
        encoding = getattr(there, "encoding", None) or "utf-8"
        stream = _Outlived(buffer, encoding, errors="backslashreplace", line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def close_streams(code: int) -> int:
    """Call last: the exit code; 2 in place of 0 where something could not be written, but for a reader who left."""
    sys.stdout.flush()
    failure = getattr(sys.stdout, "failure", None)
    if failure is None or failure.errno == errno.EPIPE:
        return code
    fail(f"what is told here cannot be written: {failure.strerror}; what was made is kept")
    return code or 2


@contextlib.contextmanager
def progress_bar(*, quiet: bool = False) -> Generator[Progress | None]:
    """A progress callback that draws a bar on stderr; None where stderr is no terminal or ``quiet`` is set."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich import console, progress

    text = progress.TextColumn("{task.description}", markup=False)
    counts = progress.BarColumn(), progress.MofNCompleteColumn()
    times = progress.TimeElapsedColumn(), progress.TimeRemainingColumn()
    with progress.Progress(text, *counts, *times, console=console.Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(escaped(what), total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield report


def escaped(text: str) -> str:
    """Text as it may stand in one line of a terminal: control characters as escapes."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def with_options(text: str) -> str:
    """A message of the library with options in the place of parameters: ``--no-local`` for ```local=False```."""

    def option(found: re.Match[str]) -> str:
        name, value = _RENAMED.get(found[1], found[1].replace("_", "-")), found[2]
        if value in (None, "True", "False"):
            return f"--no-{name}" if value == "False" else f"--{name}"
        return f"--{name} {value if ' ' in value else value.strip(chr(34))}"

    return PARAMETER.sub(option, text)


def say(text: object = "") -> None:
    """One line on stdout."""
    print(escaped(str(text)), flush=True)


def complain(text: str, *, indented: bool = False) -> None:
    """One line on stderr; line breaks of a library's message become spaces, but not where it is indented."""
    print(escaped(text if indented else with_options(" ".join(text.split()))), file=sys.stderr)


def fail(text: object) -> None:
    """An error on stderr; what to do about it stands on a line of its own."""
    line = " ".join(str(text).split())
    found = _REMEDY.fullmatch(line)
    complain(f"error: {line if found is None else found['problem']}")
    if found is not None:
        complain(f"hint: {found['remedy']}")


def print_rows(rows: Sequence[tuple[str, str]], *, indent: int = 2) -> None:
    """Label and text, aligned; text that is longer than the terminal stays on one line for pipes and greps."""
    width = max([_LABEL_WIDTH, *(len(label) + 1 for label, _ in rows)])
    for label, text in rows:
        say(f"{'':{indent}}{label:<{width}}{text}")


def warn(notes: Sequence[str]) -> None:
    """Warnings, one a line, on stderr."""
    for note in notes:
        complain(f"warning: {note}")


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout; numbers that JSON has no word for become null."""
    from latentedit_keep.files import plain

    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    print(_STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def typed_command() -> str:
    """What was typed, for the results' files; bytes that are no text are written as escapes."""
    return shlex.join(["latentedit", *sys.argv[1:]]).encode("utf-8", "backslashreplace").decode()
