"""``latentedit mcp``: check, keep, undo and history as tools for agents, over the Model Context Protocol on stdio."""

import base64
import contextlib
import difflib
import importlib.util
import io
import json
import multiprocessing
import os
import re
import signal
import threading
import traceback
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit_keep.base.errors import (
    ConfigError,
    FileFormatError,
    LatentEditError,
    MissingDependencyError,
    to_install,
)  # fmt: skip
from latentedit_keep.base.files import plain, read_object, sibling_path
from latentedit_keep.base.workers import end_with_parent

_PANEL_SIDE_PX = 1024  # of the image in an answer: agents pay for its pixels
_MOST_STEPS = 100  # of a history
_INSTRUCTIONS = (
    "Call check_edit after an image editor, with a mask if the user said where the image may change. If something else "
    "changed too, call keep_edit: it puts only the edit on the original's own pixels. If it is unsure, look at its "
    "image. If nothing changed, edit again once at most, then ask the user. Paths are relative to the root folder."
)
_WRITTEN = ("output", "save_mask", "save_layer")  # arguments that name new files
_SHARES = ("max_outside", "strength")  # arguments that may be texts such as 0.1%
_HISTORY_FIELDS = ("method", "caption", "target_caption", "strengths", "seed")  # of an edit's record
Answer = tuple[dict[str, Any], Any]  # plain values, and an image to show or None


def mcp(
    root: Annotated[Path, typer.Option("--root", help="Folder in which files may be read and written.")] = Path(),
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="Time limit of one call, in seconds.")] = 120,
) -> None:
    """Serve keep and check to agents, over the Model Context Protocol on stdio.

    The tools are check_edit, keep_edit, undo_edit and history.

    Examples:
        latentedit mcp --root ~/images
        latentedit mcp --root . --seconds 60
    """
    if not root.is_dir():
        raise ConfigError(f"the root folder {root} does not exist. Create it, or name another with --root")
    server = make_server(root, seconds=seconds)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    server.run()


def _stop(number: int, _: object) -> None:
    """Exit at once, with running calls: the thread that waits for the client cannot be interrupted."""
    with contextlib.suppress(OSError):
        os.write(2, f"latentedit: {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


def make_server(root: Path, *, seconds: float = 120) -> Any:
    """The server, an ``MCPServer`` of the official SDK. Only files in the folder ``root`` are read and written."""
    # Each call runs in a process of its own, which is killed after this many seconds.
    if importlib.util.find_spec("mcp") is None:
        raise MissingDependencyError(f"the package mcp is not installed. {to_install('latentedit-keep[mcp]')}")
    from importlib.metadata import version

    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent, ToolAnnotations

    class Server(MCPServer[Any]):
        async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
            schemas = {tool.name: tool.input_schema for tool in await self.list_tools()}
            try:
                arguments = arguments if name not in schemas else _given(arguments, schemas[name]["properties"])
                return await super().call_tool(name, arguments, context)
            except ToolError as error:
                return refused(_why(error))
            except LatentEditError as error:
                return refused(str(error))

    here, one_at_a_time, folder = version("latentedit-keep"), threading.Lock(), root.resolve()
    server = Server("latentedit", instructions=_INSTRUCTIONS, version=here, log_level="WARNING")

    def refused(line: str) -> CallToolResult:
        return CallToolResult(content=[TextContent(text=line)], is_error=True)

    def call(task: Callable[..., Answer], **arguments: Any) -> CallToolResult:
        with one_at_a_time:
            values, panel = _in_process(task, folder, arguments, seconds)
        if isinstance(values, str):
            return refused(values)
        content: list[ContentBlock] = [TextContent(text=json.dumps(values, ensure_ascii=False))]
        if panel is not None:
            content.append(ImageContent(data=base64.b64encode(panel).decode(), mime_type="image/jpeg"))
        return CallToolResult(content=content, structured_content=values)

    reads, writes = (ToolAnnotations(read_only_hint=only, destructive_hint=False) for only in (True, False))

    @server.tool(annotations=reads)
    def check_edit(
        original: str, edited: str, mask: str | None = None, max_outside: float | None = None, expect_size: bool = False
    ) -> CallToolResult:
        """Measure whether an edit happened and what else changed. The panel outlines the changes.

        Args:
            original: the image before the edit.
            edited: the output of the editor, of any size.
            mask: image of the original's size, white where it may change.
            max_outside: share of the pixels that may change outside the mask; 0.001 by default. 1 also allows a change
                of the whole image.
            expect_size: fail if the size changed.
        """
        places = {"original": original, "edited": edited, "mask": mask}
        return call(_check, places=places, max_outside=max_outside, expect_size=expect_size)

    @server.tool(annotations=writes)
    def keep_edit(
        original: str,
        edited: str,
        output: str | None = None,
        mask: str | None = None,
        strength: float = 1.0,
        only: list[int] | None = None,
        ai: bool = False,
        save_mask: str | None = None,
        save_layer: str | None = None,
    ) -> CallToolResult:
        """Put the edit alone on the original's own pixels, and write the result to a new file.

        Args:
            original: the image before the edit.
            edited: the output of the editor, of any size.
            output: a new file; NAME.kept.png by default, or NAME.kept-2.png if that exists.
            mask: image of the original's size, white where a change may be kept.
            strength: from 0, the original, to 1, the whole change.
            only: numbers of the regions of check_edit that are kept; all by default.
            ai: whether AI made the edit, which the result then declares; also without this if a file declares it.
            save_mask: a new .png, also written: the opacity of the change.
            save_layer: a new .png, .ora or .tif, also written: the change as a layer over the original.
        """
        places = {"original": original, "edited": edited, "mask": mask, "output": output}
        places |= {"save_mask": save_mask, "save_layer": save_layer}
        return call(_keep, places=places, strength=strength, only=only, ai=ai)

    @server.tool(annotations=writes)
    def undo_edit(path: str, output: str | None = None) -> CallToolResult:
        """Restore the image before an edit by latentedit, bit for bit; for a result of keep_edit, find its original.

        Args:
            path: the edited image.
            output: a new file; NAME.undone.png by default.
        """
        return call(_undo, places={"path": path, "output": output})

    @server.tool(annotations=reads)
    def history(path: str) -> CallToolResult:
        """List what an image was made from, by which tool, and how it was kept, the newest step first.

        Args:
            path: an image that latentedit wrote.
        """
        return call(_history, places={"path": path})

    return server


def _given(arguments: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """The arguments without empty ones, which models pass for omitted ones; numbers and lists that came as texts."""
    for name in arguments:
        if name not in known:
            (near,) = difflib.get_close_matches(name, known, 1, 0)
            raise ConfigError(f"there is no argument {name!r}. Did you mean {near!r}?")
    given = {name: value for name, value in arguments.items() if value is not None and str(value).strip()}
    given |= {name: _number(given[name], name) for name in _SHARES if isinstance(given.get(name), str)}
    only = given.get("only", [])
    if not isinstance(only, list):
        if not re.fullmatch(r"[\[(]?\s*\d+(\s*[,;\s]\s*\d+)*\s*[\])]?", str(only).strip()):
            raise ConfigError(f"only takes a list of the numbers of regions; got {only!r}. Pass it like [1] or [1, 3]")
        given["only"] = [int(number) for number in re.findall(r"\d+", str(only))]
    return given


def _number(text: str, name: str) -> float:
    """The share that a text states: without % the number itself, as in JSON, and never a hundredth of it."""
    number, percent, rest = text.strip().partition("%")
    with contextlib.suppress(ValueError):
        if 0 <= (value := float(number + rest) / (100 if percent else 1)) <= 1:
            return value
    remedy = "Pass one such as 0.5, or a percentage such as 50%"
    raise ConfigError(f"{name} is a number from 0 to 1; got {text!r}. {remedy}")


def _why(error: Exception) -> str:
    """One line on a call that the SDK rejected, without the wording of pydantic, or on an internal error."""
    cause: Any = error.__cause__
    if not hasattr(cause, "errors"):
        return " ".join(str(error).split()) if cause is None else _fault(cause)
    first = cause.errors(include_url=False)[0]
    name, got = first["loc"][0], " ".join(repr(first["input"]).split())
    if first["type"] == "missing":
        return f"the argument {name!r} is missing. Pass it"
    return f"the argument {name!r} is wrong: {first['msg'][:1].lower()}{first['msg'][1:]}; got {got:.80}. Correct it"


def _fault(error: BaseException) -> str:
    advice = ". The images do not fit into memory: scale them down" if isinstance(error, MemoryError) else ""
    return f"internal error: {type(error).__name__}: {' '.join(str(error).split())}{advice}"


def _in_process(
    task: Callable[..., Answer], root: Path, arguments: dict[str, Any], seconds: float, *, method: str = "spawn"
) -> tuple[dict[str, Any] | str, bytes | None]:
    """The answer of a task with its panel as JPEG, or one line with an error."""
    context: Any = multiprocessing.get_context(method)
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, task, root, arguments), daemon=True)
    process.start()
    there.close()
    try:
        if here.poll(seconds):
            return here.recv()
        return f"the call took more than {seconds:g} s and was stopped. Scale the images down", None
    except EOFError:
        process.join(1)
        return f"internal error: the call's process ended with {process.exitcode}. See the server's log", None
    finally:
        process.kill()
        process.join()


def _answer(pipe: Any, task: Callable[..., Answer], root: Path, arguments: dict[str, Any]) -> None:
    """Send the answer of a task. The root is the current folder, so that no text contains the path of another."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the server
    os.chdir(root)
    file = io.BytesIO()
    try:
        named = {name: place for name, place in arguments["places"].items() if place is not None}
        found = {name: inside(root, place, new=name in _WRITTEN) for name, place in named.items()}
        for name, path in found.items():
            if name not in _WRITTEN and not path.exists():
                tails = [Path(*path.parts[start:]) for start in range(1, len(path.parts))]
                meant = next((f"Did you mean '{tail}'?" for tail in tails if tail.is_file()), "Check the path")
                what = f"there is no {named[name]!r} in the root folder, to which paths are relative"
                raise ConfigError(f"{what}. {meant}")
        values, image = task(**arguments | {"places": dict.fromkeys(arguments["places"]) | found})
        if image is not None:
            image.thumbnail((_PANEL_SIDE_PX, _PANEL_SIDE_PX))
            image.convert("RGB").save(file, format="JPEG", quality=85)
        answer: Any = plain(values)
    except LatentEditError as error:
        answer = str(error)
    except Exception as error:  # noqa: BLE001 (reported, and logged by the server)
        traceback.print_exc()
        answer = _fault(error)
    pipe.send((answer, file.getvalue() or None))


def inside(root: Path, name: str, *, new: bool = False) -> Path:
    """The path relative to the root, a real folder; raises a `ConfigError` if it is outside or goes through a link."""
    # The root itself may be a link. A name that does not exist, unless it is ``new``, also matches another spelling:
    # other kinds of spaces, other compositions of letters.
    if "\0" in name:
        raise ConfigError(f"{name!r} cannot be read: it contains a null character. Check the path")
    path = Path(os.path.normpath(root / _local(name)))
    top = next((place for place in (*reversed(path.parents), path) if _is_same(place, root)), None)
    if top is None:
        raise ConfigError(f"{name!r} is outside the root folder. Pass a path inside it, relative to it")
    *folders, last = path.relative_to(top).parts or (".",)
    path = root
    for part in folders:
        path = _spelled(path, part)
    path = path / last if new else _spelled(path, last)
    if os.path.realpath(path) != str(path):
        raise ConfigError(f"{name!r} goes through a symbolic link, which is not allowed. Pass the file itself")
    return path.relative_to(root)


def _is_same(place: Path, root: Path) -> bool:
    with contextlib.suppress(OSError):
        return place.samefile(root)
    return False


def _local(name: str) -> str:
    """The path that a name means: a file URI of this machine, or the name itself without quotes around it."""
    name = re.sub(r"""^\s*(["'`])(.+)\1\s*$""", r"\2", name).strip()
    found = re.match(r"(?i)(file|data|sandbox):|([a-z][a-z0-9+.-]+)://", name)
    if found is None:
        return name
    scheme, path, host = (found[1] or found[2]).lower(), name[5:], ""
    if path.startswith("//"):
        host, slash, path = path[2:].partition("/")
        path = slash + path
    if scheme != "file" or host.lower() not in ("", "localhost"):
        what = f"its host {host!r}" if scheme == "file" else f"its scheme {scheme!r}"
        raise ConfigError(f"{name[:80]!r} is not a local file: {what} is not supported. Pass a path in the root folder")
    try:
        return re.sub(r"^/(?=[A-Za-z]:[/\\])", "", urllib.parse.unquote(path, errors="strict"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name!r} is not UTF-8 after %-decoding. Pass the plain path") from error


def _spelled(folder: Path, part: str) -> Path:
    """The entry of a folder of this name, or the only one that equals it in NFKC with plain spaces."""
    if os.path.lexists(folder / part) or not folder.is_dir() or os.path.realpath(folder) != str(folder):
        return folder / part
    alike = sorted(one.name for one in folder.iterdir() if _key(one.name) == _key(part))
    if len(alike) > 1:
        raise ConfigError(f"there is no {part!a}; similar names are {alike[0]!a} and {alike[1]!a}. Pass one of these")
    return folder / (*alike, part)[0]


def _key(name: str) -> str:
    return re.sub(r"\s", " ", unicodedata.normalize("NFKC", name))


def _check(places: dict[str, Any], **limits: Any) -> Answer:
    from latentedit_keep.checking import check

    result = check(places["original"], places["edited"], mask=places["mask"], **limits)
    values = result.report.values
    return values | {"next_step": values["next_step"].replace("latentedit keep", "keep_edit")}, result.panel


def _keep(places: dict[str, Any], **options: Any) -> Answer:
    from latentedit_keep import api
    from latentedit_keep.base.images import read_pixels
    from latentedit_keep.base.saving import check_keep_output
    from latentedit_keep.layers import check_extras

    original, edited, mask, output, mask_file, layer_file = places.values()
    output, first = _new(output, original, "kept.png"), read_pixels(original)
    check_keep_output(first, output, inputs=[])
    check_extras(mask_file, layer_file, output)
    _check_new("save_mask", mask_file)
    _check_new("save_layer", layer_file)
    result, also = api.keep(first, edited, mask=mask, **options), {"mask_file": mask_file, "layer_file": layer_file}
    if layer_file is not None:  # before all else, since not every change can be a layer
        result.save_layers(layer_file)
    if mask_file is not None:
        result.save_mask(mask_file)
    fate, values = result.save(output), {"output": str(output), **plain(also)}
    return values | plain(result.as_written(output).measures) | {"left_out": fate.left_out}, result.image


def _undo(places: dict[str, Any]) -> Answer:
    from latentedit_keep.base.saving import save_image
    from latentedit_keep.undo import undo

    path, output = places.values()
    record = _record(path)
    if record.get("output") == "kept":
        found = _made_from(path, record)["original"]["file"]
        if found is None:
            what = f"the original {record['original'].get('name', '')!r} of {path} is missing from its folder"
            raise FileFormatError(f"{what}, or was changed. Restore it")
        return {"output": found, "how": "the original itself, which keep_edit did not change"}, None
    output = _new(output, path, "undone.png")
    save_image(undo(path), output)
    return {"output": str(output), "how": "restored bit for bit from the edited file"}, None


def _history(places: dict[str, Any]) -> Answer:
    steps, waiting = list[dict[str, Any]](), [places["path"]]
    while waiting and len(steps) < _MOST_STEPS:
        path = waiting.pop(0)
        try:
            record = _record(path)
        except FileFormatError:
            if not steps:
                raise
            continue
        kept, sources = record.get("output") == "kept", _made_from(path, record)
        step: dict[str, Any] = {"file": str(path), "tool": "latentedit keep" if kept else "latentedit edit"}
        report = ("strength", "only", "found") if kept else _HISTORY_FIELDS
        step |= {name: record[name] for name in (*report, "versions") if name in record}
        step |= _declares(path)
        steps.append(step | {"made_from": sources})
        found = [Path(source["file"]) for source in sources.values() if source["file"] is not None]
        waiting += [one for one in found if str(one) not in {step["file"] for step in steps}]
    return {"steps": steps}, None


def _record(path: Path) -> dict[str, Any]:
    from latentedit_keep.base.saving import read_chunks

    text = read_chunks(path)[0]
    if text is None:
        raise FileFormatError(f"{path} contains no record of latentedit. Pass a PNG written by latentedit")
    with contextlib.suppress(ValueError):
        record = read_object(text)
        objects = {key for key, value in record.items() if isinstance(value, dict)}
        if "image" in objects or objects >= {"original", "edited"}:
            return record
    raise FileFormatError(f"the record in {path} is damaged. Pass a PNG written by latentedit")


def _declares(path: Path) -> dict[str, str]:
    """What a file says of its own making, in one line; nothing if it says nothing."""
    from latentedit_keep.base.images import read_content
    from latentedit_keep.base.provenance import declared

    found = declared(read_content(path))
    return {} if found is None else {"declares": found.words}


def _made_from(path: Path, record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name and fingerprint of the source images, and their files if these still exist unchanged."""
    from latentedit_keep.base.images import fingerprint_of, read_pixels

    sources: dict[str, dict[str, Any]] = {}
    for role, key in {"original": "original", "edited": "edited", "mask": "mask", "source": "image"}.items():
        if not isinstance(about := record.get(key), dict):
            continue
        name, fingerprint = (str(about.get(field, "")) for field in ("name", "fingerprint"))
        sources[role] = {"name": name, "fingerprint": fingerprint, "file": None}
        with contextlib.suppress(LatentEditError):
            place = inside(Path.cwd(), str(path.parent / Path(name).name))
            pixels = read_pixels(place)
            if fingerprint in (pixels.fingerprint, fingerprint_of(pixels.image)):  # the library's are of 8 bits
                sources[role] |= {"file": str(place), **_declares(place)}
    return sources


def _new(output: Path | None, source: Path, ending: str) -> Path:
    """The output, or a default next to the source; a tool never replaces a file."""
    output = sibling_path(source, ending) if output is None else output
    _check_new("output", output)
    return output


def _check_new(argument: str, path: Path | None) -> None:
    if path is not None and path.exists():
        raise ConfigError(f"{path} already exists. Choose another `{argument}`")
