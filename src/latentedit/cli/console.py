"""What the commands share: their common options, the progress bar, and the one place that prints.

Captions, names of files and messages of libraries come from anyone. So everything that a command prints goes through
`say`, `complain`, `print_rows`, `warn` or `print_json`, which show what would steer a terminal as escapes.
"""

import contextlib
import json
import re
import shlex
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit.core.plugins import CAPTIONERS, EDITORS, MODELS


def _known(names: Sequence[str]) -> str:
    """Names for a help text."""
    return ", ".join(names) or "none installed"


MIXINGS = ("sum", "inverse", "projection")
"""How several changes become one, for help and completion."""

Model = Annotated[
    str,
    typer.Option(
        "--model",
        help=f"A bundled model ({_known(MODELS.names())}), a diffusers folder, or a hub id.",
        autocompletion=MODELS.complete,
    ),
]
Method = Annotated[
    str,
    typer.Option("--method", help=f"The editor: {_known(EDITORS.names())}.", autocompletion=EDITORS.complete),
]
Seed = Annotated[int, typer.Option("--seed", help="Of every random number; the same seed gives the same file.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps; chosen by itself if not given.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
To = Annotated[str | None, typer.Option("--to", help="What the picture should show: a full caption.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--change", help="Instead of --to: OLD => NEW in the caption; either may be empty. Repeatable."),
]
From = Annotated[str | None, typer.Option("--from", help="What the picture shows now; read from it if not given.")]
Reader = Annotated[
    str | None,
    typer.Option(
        "--captioner",
        help=(
            f"Who reads the picture: a name ({_known(CAPTIONERS.names())}), openai:MODEL, or a folder or hub id; the "
            "model's own if not given."
        ),
        autocompletion=CAPTIONERS.complete,
    ),
]
Mask = Annotated[
    Path | None, typer.Option("--mask", help="Where the picture may change: a picture of its size, white for yes.")
]
Local = Annotated[
    bool | None,
    typer.Option("--local/--no-local", help="Keep the change to where it is strong. Default: yes with eim, else no."),
]
Mixing = Annotated[
    str,
    typer.Option(
        "--mixing",
        help="Several changes: sum, inverse (of their cross-talk), or projection.",
        autocompletion=lambda incomplete: [name for name in MIXINGS if name.startswith(incomplete)],
    ),
]
Strengths = Annotated[
    list[float] | None,
    typer.Option("--strength", help="How much: 0 is the picture itself, 1 all (the default). One, or one a change."),
]
Directions = Annotated[
    list[Path] | None,
    typer.Option("--direction", help="Instead of --to and --change: a direction's file. Repeatable."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where the result goes.")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Processes, each with a model. Default: one a core or GPU; with --ray, one a GPU."),
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", help="Address of a Ray cluster that is to do the work: HOST:PORT, or auto for one here."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]

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
    from latentedit.api.outputs import plain

    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    print(_STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def typed_command() -> str:
    """What was typed, for the results' files; bytes that are no text are written as escapes."""
    return shlex.join(["latentedit", *sys.argv[1:]]).encode("utf-8", "backslashreplace").decode()
