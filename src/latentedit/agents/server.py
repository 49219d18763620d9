"""``latentedit mcp``: check, keep, undo and history as tools for agents, over the Model Context Protocol on stdio."""

import base64
import contextlib
import contextvars
import importlib.util
import inspect
import json
import multiprocessing
import os
import re
import select
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from latentedit.agents.arguments import typed_arguments, unused_arguments
from latentedit.agents.refusals import internal_error, one_line, shortened
from latentedit.agents.tools import OWN_TOOLS, TOOLS, Tool
from latentedit.agents.worker import Worker, remove_stages
from latentedit.core.errors import (  # fmt: skip
    ConfigError,
    LatentEditError,
    MissingDependencyError,
    in_our_words,
    to_install,
)

_MOST_BYTES = 4096  # most bytes of a text; the longest path of Linux
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

    The tools are check_edit, keep_edit, undo_edit and history; the library adds edit_image and sweep_image.

    Examples:
        latentedit mcp --root ~/images
        latentedit mcp --root . --seconds 60
    """
    if not root.is_dir():
        raise ConfigError(f"the root folder {root} does not exist. Create it, or name another with --root")
    server = make_server(root, seconds=seconds)
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, _stop)
    if hasattr(select, "poll"):
        threading.Thread(target=_end_with_reader, args=(os.dup(1),), daemon=True).start()
    try:
        server.run()
    except* BrokenPipeError:  # the client has left, and the thread was slower or cannot run
        _end(0)


def _stop(number: int, _: object) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"latentedit: {signal.Signals(number).name}\n".encode())
    _end(128 + number)


def _end_with_reader(stdout: int) -> None:
    """End the server when nobody can read its answers any more."""
    gone = select.poll()
    gone.register(stdout, 0)
    gone.poll()
    _end(0)


def _end(code: int) -> None:
    """Exit at once, without running calls and their files: the thread that reads stdin cannot be interrupted."""
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    remove_stages()
    os._exit(code)


def make_server(root: Path, *, seconds: float = 120) -> Any:
    """The server, an ``MCPServer`` of the official SDK. Only files in the folder ``root`` are read and written."""
    # Calls run in one process, which is killed when one takes more than this many seconds or is canceled.
    if importlib.util.find_spec("mcp") is None:
        raise MissingDependencyError(f"the package mcp is not installed. {to_install('latentedit[mcp]')}")
    from importlib.metadata import version

    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent, ToolAnnotations
    from mcp.types import Tool as Schema

    session: contextvars.ContextVar[Any] = contextvars.ContextVar("session of a call", default=None)
    # Descriptions of the arguments of each tool, which the SDK does not take from docstrings.
    texts = dict[str, dict[str, str]]()

    class Server(MCPServer[Any]):
        async def list_tools(self) -> list[Schema]:
            tools = await super().list_tools()
            for tool in tools:
                for name, text in texts[tool.name].items():
                    tool.input_schema["properties"][name]["description"] = text
            return tools

        async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
            schemas = {tool.name: tool.input_schema for tool in await self.list_tools()}
            if name not in schemas:
                return refused(f"there is no tool {name!r}. The tools are {', '.join(schemas)}", [name])
            known, unused = schemas[name].get("properties", {}), ""
            session.set(context)
            try:
                unused = unused_arguments(arguments, known)
                recognized = {name: value for name, value in arguments.items() if name in known}
                _check_lengths(recognized)
                arguments = typed_arguments(recognized)
                answer: Any = await super().call_tool(name, arguments, context)
            except ToolError as error:
                answer = refused(_why(error, known), [name, *arguments.values()])
            except LatentEditError as error:
                answer = refused(one_line(error), [*arguments, *arguments.values()])
            if not unused:
                return answer
            first = cast(TextContent, answer.content[0])
            if answer.is_error:
                first.text += f" ({unused}; the arguments are {', '.join(known)})"
            else:
                answer.structured_content = {**answer.structured_content, "unused": unused}
                first.text = json.dumps(answer.structured_content, ensure_ascii=False)
            return answer

    worker, here = Worker(root.resolve(), seconds), version("latentedit")

    @contextlib.asynccontextmanager
    async def served(_: Any) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            worker.end()

    server = Server("latentedit", instructions=_INSTRUCTIONS, version=here, log_level="WARNING", lifespan=served)

    def refused(line: str, given: Iterable[object]) -> CallToolResult:
        return CallToolResult(content=[TextContent(text=shortened(line, given))], is_error=True)

    async def call(tool: Tool, **arguments: Any) -> CallToolResult:
        # A call that is canceled waits no longer, or ends with its process, which writes nothing in the root.
        context = session.get()

        async def report(what: str, done: int, number: int) -> None:
            if context is not None:
                await context.report_progress(done, number, what)

        values, panel = await worker.call(tool, arguments, report)
        if isinstance(values, str):
            return refused(values, arguments["places"].values())
        content: list[ContentBlock] = [TextContent(text=json.dumps(values, ensure_ascii=False))]
        if panel is not None:
            content.append(ImageContent(data=base64.b64encode(panel).decode(), mime_type="image/jpeg"))
        return CallToolResult(content=content, structured_content=values)

    def add(tool: Tool, name: str) -> Callable[..., Any]:
        hints = ToolAnnotations(
            title=tool.title,
            read_only_hint=not tool.writes,
            destructive_hint=False,
            idempotent_hint=not tool.writes,
            open_world_hint=False,
        )
        run, (description, texts[name]) = _called(tool, name, call, CallToolResult), _documented(tool.declared)
        return server.tool(title=tool.title, description=description, annotations=hints)(run)

    for tool in OWN_TOOLS:
        add(tool, tool.declared.__name__)
    for name in TOOLS.names():
        add(TOOLS.load(name), name)
    return server


def _called(added: Tool, name: str, call: Callable[..., Any], answer: type) -> Callable[..., Any]:
    """The function of a tool, with the arguments that this declares."""

    async def run(**given: Any) -> Any:
        places = dict[str, Any]()
        for argument in added.files:
            files = given.pop(argument)
            several = enumerate(files, 1) if isinstance(files, list) else ()
            places |= {f"{argument} {number}": file for number, file in several} or {argument: files}
        return await call(added, places=places, **given)

    described: Any = run
    described.__name__, described.__doc__ = name, added.declared.__doc__
    described.__signature__ = inspect.signature(added.declared).replace(return_annotation=answer)
    return described


def _documented(task: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The description of a tool and of each of its arguments, from a docstring."""
    text, _, rows = (inspect.getdoc(task) or "").partition("\n\nArgs:\n")
    found = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", rows, re.MULTILINE)
    return text, {name: " ".join(row.split()) for name, row in found}


def _check_lengths(arguments: Mapping[str, Any]) -> None:
    for name, value in arguments.items():
        if isinstance(value, str) and (size := len(value.encode(errors="replace"))) > _MOST_BYTES:
            raise ConfigError(
                f"{name} has {size:,} bytes; the most are {_MOST_BYTES:,}. Pass a path relative to the root"
            )


def _why(error: Exception, known: Mapping[str, Any]) -> str:
    """One line on a call that the SDK rejected, without the wording of pydantic, or on an internal error."""
    cause: Any = error.__cause__
    if not hasattr(cause, "errors"):
        return " ".join(str(error).split()) if cause is None else internal_error(cause)
    first = cause.errors()[0]
    name, got = first["loc"][0], " ".join(repr(first["input"]).split())
    if first["type"] == "missing":
        return f"the argument {name!r} is missing. Pass {name}: {known[name].get('description', 'it').rstrip('.')}"
    why = in_our_words(f"{first['msg'][:1].lower()}{first['msg'][1:]}")
    return f"the argument {name!r} is wrong: {why}; got {got:.80}. Correct it"
