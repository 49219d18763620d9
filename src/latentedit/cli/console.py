"""What the commands share: their common options, the progress bar, and how results are printed."""

import contextlib
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Annotated, Any

import typer

Model = Annotated[str, typer.Option("--model", help="A bundled model, a diffusers folder, or a hub id.")]
Seed = Annotated[int, typer.Option("--seed", help="Of every random number; the same seed gives the same file.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps; chosen by itself if not given.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

_LABEL_WIDTH = 12


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
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield report


def print_rows(rows: Sequence[tuple[str, str]], *, indent: int = 2) -> None:
    """Label and text, aligned; text that is longer than the terminal stays on one line for pipes and greps."""
    for label, text in rows:
        print(f"{'':{indent}}{label:<{_LABEL_WIDTH}}{text}")


def warn(notes: Sequence[str]) -> None:
    """Warnings, one a line, on stderr."""
    for note in notes:
        print(f"warning: {' '.join(note.split())}", file=sys.stderr)


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout; numbers that JSON has no word for become null."""
    print(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownArgumentType]
        case str() | bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case Sequence():
            return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return str(value)
