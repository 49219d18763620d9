"""``latentedit methods``: the editors, and the settings of one. Heavy imports are inside the command."""

import dataclasses
import inspect
import json
from typing import Annotated, Any

import typer

from latentedit.cli import options
from latentedit.core.console import echo, print_json, print_rows
from latentedit.core.files import plain
from latentedit.core.plugins import EDITORS
from latentedit.editing.request import descriptions


def methods(
    name: Annotated[
        str | None, typer.Argument(help="List the settings of this method.", autocompletion=EDITORS.complete)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List the editing methods, or the settings of one.

    --method takes a name, --set a setting: those stored for a model replace the defaults that are listed here.

    Examples:
        latentedit methods
        latentedit methods flowedit
    """
    from latentedit.editors.base import editor_class

    if name is None:
        about = {one: _about(editor_class(one)) for one in EDITORS.names()}
        if as_json:
            print_json({"methods": about})
        else:
            print_rows(list(about.items()))
        return
    kind: Any = editor_class(name)
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):  # options that several methods share are described once
        texts |= descriptions(base)
    defaults = plain(kind())
    rows = {
        one.name: {"default": defaults[one.name], "about": texts.get(one.name, "")} for one in dataclasses.fields(kind)
    }
    if as_json:
        print_json({"method": name, "about": _about(kind), "settings": rows})
        return
    echo(f"{name}: {_about(kind)}")
    print_rows([(one, " ".join([f"{json.dumps(row['default'])};", row["about"]])) for one, row in rows.items()])


def _about(kind: type) -> str:
    """The first paragraph of its docstring."""
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split()).rstrip(".")
