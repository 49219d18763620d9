"""``latentedit mcp``: tools for agents, over the Model Context Protocol on stdio."""

import base64
import contextlib
import importlib.util
import inspect
import json
import multiprocessing
import os
import signal
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Annotated, Any

import pydantic
import typer

from latentedit.agents.history import HISTORY
from latentedit.agents.keep_tools import CHECK_EDIT, KEEP_EDIT, UNDO_EDIT
from latentedit.agents.tools import Tool
from latentedit.agents.worker import Refusal, Worker
from latentedit.core.errors import (
    ConfigError,
    MissingDependencyError,
    in_one_line,
    in_our_words,
    to_install,
)
from latentedit.core.plugins import has_models

TOOLS_WITHOUT_MODELS = (CHECK_EDIT, KEEP_EDIT, UNDO_EDIT, HISTORY)
_INSTRUCTIONS = (
    "Call check_edit after an image editor, with a mask if the user said where the image may change. If something else "
    "changed too, call keep_edit: it puts only the edit on the original's own pixels. If it is unsure, look at its "
    "image. If nothing changed, edit again once at most, then ask the user. Paths are relative to the root folder."
)


def mcp(
    root: Annotated[Path, typer.Option("--root", help="Folder in which files may be read and written.")] = Path(),
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="Time limit of one call, in seconds, after loading.")
    ] = 120,
) -> None:
    """Serve keep and check to agents, over the Model Context Protocol on stdio.

    The tools are check_edit, keep_edit, undo_edit and history; with models, also edit_image and sweep_image.

    Examples:
        latentedit mcp --root ~/images
        latentedit mcp --root . --seconds 60
    """
    if not root.is_dir():
        raise ConfigError(f"the root folder {root} does not exist. Create it, or name another with --root")
    server = make_server(root, seconds=seconds)
    import anyio

    signal.signal(signal.SIGINT, _end_at_signal)
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        # nohup ignores SIGHUP.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end_at_signal)
    try:
        anyio.run(_serve_on_stdio, server)
    except* BrokenPipeError:
        # The client has left.
        pass


async def _serve_on_stdio(server: Any) -> None:
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (read_stream, write_stream):
        await server.run(read_stream, write_stream, server.create_initialization_options())


def _end_at_signal(number: int, _: object) -> None:
    """Exit at once: the thread that reads stdin cannot be interrupted."""
    with contextlib.suppress(OSError):
        os.write(2, f"latentedit: {signal.Signals(number).name}\n".encode())
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    os._exit(128 + number)


def offered_tools() -> list[Tool]:
    """Return the tools that this installation can run; those that edit by text need models."""
    tools = list(TOOLS_WITHOUT_MODELS)
    if has_models():
        from latentedit.agents.edit_tools import EDIT_IMAGE, SWEEP_IMAGE

        tools += [EDIT_IMAGE, SWEEP_IMAGE]
    return tools


def make_server(root: Path, *, seconds: float = 120) -> Any:
    """Return the server, a low-level ``Server`` of the official SDK.

    Only files in the folder ``root`` are read and written. Calls run in one process, which is killed when a call takes
    more than this many seconds, or is canceled.
    """
    if importlib.util.find_spec("mcp") is None:
        raise MissingDependencyError(f"the package mcp is not installed. {to_install('latentedit[mcp]')}")
    from importlib.metadata import version

    from mcp.server.lowlevel import Server
    from mcp.types import CallToolResult, ListToolsResult

    tools = {tool.name: tool for tool in offered_tools()}
    worker = Worker(root.resolve(), seconds)

    async def list_tools(_context: Any, _parameters: Any) -> ListToolsResult:
        return ListToolsResult(tools=[describe(tool) for tool in tools.values()])

    async def call_tool(context: Any, parameters: Any) -> CallToolResult:
        async def report(step: str, done: int, total: int) -> None:
            await context.session.report_progress(done, total, step)

        if parameters.name not in tools:
            names = ", ".join(tools)
            return _refused(f"there is no tool {parameters.name!r}. The tools are {names}")
        tool = tools[parameters.name]
        try:
            arguments = _validate(tool, parameters.arguments or {})
        except ConfigError as error:
            return _refused(str(error))
        outcome = await worker.call(tool, arguments, report)
        if isinstance(outcome, Refusal):
            return _refused(outcome.message)
        return _answered(outcome.values, outcome.jpeg)

    @contextlib.asynccontextmanager
    async def lifespan(_server: Any) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            worker.end()

    return Server(
        "latentedit",
        version=version("latentedit"),
        instructions=_INSTRUCTIONS,
        lifespan=lifespan,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def describe(tool: Tool) -> Any:
    """Return what clients read of a tool, a ``Tool`` of the SDK."""
    from mcp.types import Tool as DescribedTool
    from mcp.types import ToolAnnotations

    annotations = ToolAnnotations(
        title=tool.title,
        read_only_hint=not tool.writes,
        destructive_hint=False,
        idempotent_hint=not tool.writes,
        open_world_hint=False,
    )
    return DescribedTool(
        name=tool.name,
        title=tool.title,
        description=inspect.getdoc(tool.function),
        input_schema=tool.arguments_model().model_json_schema(),
        annotations=annotations,
    )


def _validate(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call with their types and defaults; a `ConfigError` for wrong ones."""
    model = tool.arguments_model()
    fields = model.model_fields
    for name in arguments:
        if name not in fields:
            raise ConfigError(f"there is no argument {name!r}. The arguments are {', '.join(fields)}")
    try:
        validated = model.model_validate(arguments)
    except pydantic.ValidationError as error:
        first_error = error.errors()[0]
        name = str(first_error["loc"][0])
        if first_error["type"] == "missing":
            remedy = f"Pass {name}: {fields[name].description}".rstrip(".")
            raise ConfigError(f"the argument {name!r} is missing. {remedy}") from error
        problem = in_our_words(first_error["msg"][:1].lower() + first_error["msg"][1:])
        value = repr(first_error["input"])
        raise ConfigError(f"the argument {name!r} is wrong: {problem}; got {value:.80}. Correct it") from error
    return {name: getattr(validated, name) for name in fields}


def _refused(message: str) -> Any:
    """Return the answer to a call that failed, as one line."""
    from mcp.types import CallToolResult, TextContent

    return CallToolResult(content=[TextContent(text=in_one_line(message))], is_error=True)


def _answered(values: dict[str, Any], jpeg: bytes | None) -> Any:
    """Return the answer to a call, with its values as text and as structured content."""
    from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent

    content: list[ContentBlock] = [TextContent(text=json.dumps(values, ensure_ascii=False))]
    if jpeg is not None:
        data = base64.b64encode(jpeg).decode()
        content.append(ImageContent(data=data, mime_type="image/jpeg"))
    return CallToolResult(content=content, structured_content=values)
