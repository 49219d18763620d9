"""What a tool of agents is: a function, its arguments as agents see them, and what it can use during a call."""

import contextlib
import dataclasses
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pydantic

from latentedit.agents import paths
from latentedit.core.console import Progress
from latentedit.core.files import sibling_path

LOADING = "loading the model"
"""The step that a tool reports while it loads: 0 of 1, then 1 of 1 when its work and its time limit begin."""

OriginalImage = Annotated[
    str,
    pydantic.Field(description="Image before the edit: a path relative to the root folder."),
]
EditedImage = Annotated[
    str,
    pydantic.Field(description="Output of the editor, of any size: a path relative to the root folder."),
]
Boxes = Annotated[
    list[Any] | str | None,
    pydantic.Field(
        description="Instead of a mask, [x, y, width, height] in the original's pixels, or a list of such boxes."
    ),
]


def _read_list(value: object) -> object:
    """Return the list of a JSON text, and any other value unchanged."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


JSON_LIST = pydantic.BeforeValidator(_read_list)
"""Marks an argument that is a list: some clients, such as Claude Desktop, send lists as texts."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call.

    Args:
        values: what the agent reads, of JSON types.
        image: what the agent is shown, a Pillow image, or None.
    """

    values: dict[str, Any]
    image: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class ToolCall:
    """What a tool can use while it runs.

    Args:
        root: the real path of the root folder, which is also the current folder.
        report_progress: is called with a step, the parts of it that are done, and their number.
    """

    root: Path
    report_progress: Progress

    def input_file(self, name: str) -> Path:
        """Return the path, relative to the root, of an existing file."""
        return paths.input_file(self.root, name)

    def optional_input(self, name: str | None) -> Path | None:
        """Return the path of an existing file, or None if no file was named."""
        return None if name is None else self.input_file(name)

    def output_file(self, argument: str, name: str) -> Path:
        """Return the path, relative to the root, of a file that does not exist yet."""
        return paths.output_file(self.root, argument, name)

    def output_or_default(self, name: str | None, source: Path, ending: str) -> Path:
        """Return the path of the `output` that was named, or a free one next to the source, with this ending."""
        if name is None:
            return sibling_path(source, ending)
        return self.output_file("output", name)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool.

    Args:
        title: for people.
        function: a function of a module. It takes a `ToolCall`, then the arguments that agents pass, and returns an
            `Answer`. Agents read its name, its docstring and the descriptions of its arguments. It runs in the worker
            process, so what it keeps in memory is there in the next call.
        writes: whether it writes files.
        timeout_remedy: what an agent can do after a call that was stopped at its time limit.
    """

    title: str
    function: Callable[..., Answer]
    writes: bool = True
    timeout_remedy: str = "Ask the user to start the server with more --seconds"

    @property
    def name(self) -> str:
        """The name that agents call."""
        return self.function.__name__

    def arguments_model(self) -> type[pydantic.BaseModel]:
        """Return the pydantic model of the arguments that agents pass."""
        _, *parameters = inspect.signature(self.function).parameters.values()
        fields = dict[str, Any]()
        for parameter in parameters:
            is_required = parameter.default is inspect.Parameter.empty
            fields[parameter.name] = (parameter.annotation, ... if is_required else parameter.default)
        options = pydantic.ConfigDict(extra="forbid")
        return pydantic.create_model(self.name, __config__=options, **fields)
