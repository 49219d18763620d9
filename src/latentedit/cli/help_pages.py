"""Help pages from docstrings: prose is wrapped, sections such as ``Examples:`` keep their lines."""

import inspect
from typing import Any, get_args, get_origin

import typer

EXAMPLES = "Examples:"  # title of the section with examples
_VERBATIM = "\b"  # mark of a line that typer keeps as it is


def help_page(docstring: str) -> str:
    r"""The docstring with lines of prose joined and lines of sections kept.

    Example:
        >>> help_page("Edit a\npicture.\n\nExamples:\n    latentedit edit me.png\n")
        'Edit a picture.\n\n\x08Examples:\n\x08  latentedit edit me.png'
    """
    paragraphs: list[str] = []
    for paragraph in inspect.cleandoc(docstring).split("\n\n"):
        title, *lines = paragraph.splitlines()
        if title.endswith(":") and lines and all(line.startswith(" ") for line in lines):
            paragraphs.append("\n".join(_VERBATIM + line for line in [title, *(f"  {line.strip()}" for line in lines)]))
        else:
            paragraphs.append(" ".join(paragraph.split()))
    return "\n\n".join(paragraphs)


def name_kinds(command: Any) -> None:
    """Show TEXT for the values of options, where typer shows <list[str]>, and nothing for a switch."""
    for param in command.get_params(typer.Context(command)):
        if param.param_type_name == "option":
            param.metavar = kind(param)


def kind(option: Any) -> str | None:
    """The metavar of an option: TEXT, PATH; empty for a switch; None for typer's own."""
    descriptor = getattr(option, "type_descriptor", None)  # newer versions of typer
    if option.is_flag or option.metavar or descriptor is None:
        return "" if option.is_flag else option.metavar
    annotation = descriptor.annotation
    if get_origin(annotation) in (list, tuple):
        annotation = get_args(annotation)[0]
    return getattr(annotation, "__name__", "text").upper().replace("STR", "TEXT")
