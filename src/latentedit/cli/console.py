"""The progress bar of the commands, and the one place that prints.

Captions, names of files and messages of libraries come from anyone. So everything that a command prints goes through
`say`, `complain`, `print_rows`, `warn` or `print_json`, which show what would steer a terminal as escapes.
"""

import contextlib
import json
import re
import shlex
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

_LABEL_WIDTH = 12

_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters (ESC, line breaks, the 8-bit CSI), marks that turn the direction of writing, halves of
characters."""


@contextlib.contextmanager
def progress_bar(*, quiet: bool = False) -> Generator[Callable[[str, int, int], None] | None]:
    """A progress callback that draws a bar on stderr; None where stderr is no terminal or ``quiet`` is set."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(escaped(what), total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield report


def escaped(text: str) -> str:
    r"""Text as it may stand in one line of a terminal.

    Example:
        >>> print(escaped("caf\u00e9 \x1b[31m\n"))
        café \x1b[31m\n
    """
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def say(text: object = "") -> None:
    """One line on stdout."""
    print(escaped(str(text)), flush=True)


def complain(text: str) -> None:
    """One line on stderr; line breaks of a library's message become spaces."""
    print(escaped(" ".join(text.split())), file=sys.stderr)


def print_rows(rows: Sequence[tuple[str, str]], *, indent: int = 2) -> None:
    """Label and text, aligned; text that is longer than the terminal stays on one line for pipes and greps."""
    for label, text in rows:
        say(f"{'':{indent}}{label:<{_LABEL_WIDTH}}{text}")


def warn(notes: Sequence[str]) -> None:
    """Warnings, one a line, on stderr."""
    for note in notes:
        complain(f"warning: {note}")


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout; numbers that JSON has no word for become null."""
    from latentedit.core.plain import plain

    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    print(_STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def typed_command() -> str:
    """What was typed, for the results' files; bytes that are no text are written as escapes."""
    return shlex.join(["latentedit", *sys.argv[1:]]).encode("utf-8", "backslashreplace").decode()
