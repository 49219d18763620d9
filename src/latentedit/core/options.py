"""Options that several commands share, each declared once, and the panels of a command's help."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

# Options on what is changed and how far are in typer's panel "Options", the first one.
METHOD = "Method"
MODEL = "Model"
MANY = "Many images"
OUTPUT = "Output"


def completed(*words: str) -> Callable[[str], list[str]]:
    """Completion of an option that takes one of a few words."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def argument(text: str, metavar: str | None = None) -> Any:
    """A required argument."""
    return typer.Argument(help=text, show_default=False, metavar=metavar)


def option(panel: str | None, *names: str, words: Sequence[str] | Callable[[str], Any] = (), **more: Any) -> Any:
    """An option in a panel, with completion of a few words or by a function; its help may state the default itself."""
    complete = words if callable(words) else completed(*words) if words else None
    more.setdefault("show_default", "Default: " not in more.get("help", ""))
    return typer.Option(*names, autocompletion=complete, rich_help_panel=panel, **more)


def output(text: str) -> Any:
    """The option that names the result."""
    return option(None, "--output", "-o", help=text)


def mask(text: str) -> Any:
    """The option that names a mask."""
    return option(None, "--mask", help=text)


_BOX = "Box instead of a mask: x,y,width,height in the original's pixels; may be repeated."
Box = Annotated[list[str] | None, option(None, "--box", help=_BOX, metavar="X,Y,W,H")]
Output = Annotated[Path | None, output("Output file.")]
Json = Annotated[bool, option(OUTPUT, "--json", help="Print one JSON object instead of text.")]
Quiet = Annotated[bool, option(OUTPUT, "--quiet", "-q", help="Print nothing but errors.")]
