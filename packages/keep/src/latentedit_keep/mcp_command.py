"""``latentedit mcp``: check, keep, undo and history as tools for agents, over the Model Context Protocol on stdio."""

import base64
import contextlib
import hashlib
import importlib
import importlib.util
import io
import json
import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit_keep.errors import ConfigError, FileFormatError, LatentEditError, MissingDependencyError, to_install

_PANEL_SIDE_PX = 1024  # of the picture in an answer: agents pay for its pixels
_MOST_STEPS = 100  # of a history
_INSTRUCTIONS = (
    "Call check_edit after an image editor, with a mask if the user said where the image may change. If something "
    "else changed too, call keep_edit: it puts only the edit on the original's own pixels. If it is "
    "unsure, look at its picture. If nothing changed, edit again once at most, then ask the user. Paths are relative "
    "to the root folder."
)
_TOLD = ("method", "caption", "target_caption", "strengths", "seed")  # of an edit's record

Answer = tuple[dict[str, Any], Any]  # plain values, and an image to show or None


def mcp(
    root: Annotated[Path, typer.Option("--root", help="Folder whose files may be read and written.")] = Path(),
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="Time limit of a call.")] = 120,
) -> None:
    """Serve check_edit, keep_edit, undo_edit and history to an agent, over the Model Context Protocol on stdio.

    Examples:
        latentedit mcp --root ~/pictures
        latentedit mcp --root . --seconds 60
    """
    if not root.is_dir():
        raise ConfigError(f"the root folder {root} does not exist. Create it, or name another with --root")
    make_server(root, seconds=seconds).run()


def make_server(root: Path, *, seconds: float = 120) -> Any:
    """The server, an ``MCPServer`` of the official SDK. Only files in the folder ``root`` are read and written.

    Each call runs in a process of its own, which is killed after this many seconds.
    """
    if importlib.util.find_spec("mcp") is None:
        raise MissingDependencyError(f"the package mcp is not installed. {to_install('latentedit-keep[mcp]')}")
    from mcp.server import MCPServer
    from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent, ToolAnnotations

    server, one_at_a_time = MCPServer("latentedit", instructions=_INSTRUCTIONS, log_level="WARNING"), threading.Lock()
    folder = root.resolve()

    def call(task: Callable[..., Answer], **arguments: Any) -> CallToolResult:
        with one_at_a_time:
            values, panel = _in_process(task, folder, arguments, seconds)
        if isinstance(values, str):
            return CallToolResult(content=[TextContent(text=values)], is_error=True)
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
    ) -> CallToolResult:
        """Put the edit alone on the original's own pixels, and write the result to a new file.

        Args:
            original: the image before the edit.
            edited: the output of the editor, of any size.
            output: a new file; NAME.kept.png by default.
            mask: image of the original's size, white where a change may be kept.
            strength: from 0, the original, to 1, the whole change.
            only: numbers of the regions of check_edit that are kept; all by default.
        """
        places = {"original": original, "edited": edited, "mask": mask, "output": output}
        return call(_keep, places=places, strength=strength, only=only)

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


def _in_process(
    task: Callable[..., Answer], root: Path, arguments: dict[str, Any], seconds: float
) -> tuple[dict[str, Any] | str, bytes | None]:
    """The answer of a task with its panel as JPEG, or one line with an error."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, task, root, arguments), daemon=True)
    process.start()
    there.close()
    try:
        if here.poll(seconds):
            return here.recv()
        return f"the call took more than {seconds:g} s and was stopped. Scale the images down", None
    except EOFError:
        return "the call failed, possibly for lack of memory; see the server's log. Scale the images down", None
    finally:
        process.kill()
        process.join()


def _answer(pipe: Any, task: Callable[..., Answer], root: Path, arguments: dict[str, Any]) -> None:
    """Send the answer of a task. With the root as current folder, its texts have no other folder's name."""
    os.chdir(root)
    try:
        places = {name: None if place is None else inside(root, place) for name, place in arguments["places"].items()}
        values, image = task(**arguments | {"places": places})
        file = io.BytesIO()
        if image is not None:
            image.thumbnail((_PANEL_SIDE_PX, _PANEL_SIDE_PX))
            image.convert("RGB").save(file, format="JPEG", quality=85)
        pipe.send((values, file.getvalue() or None))
    except LatentEditError as error:
        pipe.send((str(error), None))


def inside(root: Path, name: str) -> Path:
    """The path relative to the root; raises a `ConfigError` if it is outside, or leads through a link."""
    path = Path(os.path.normpath(root / name))
    if not path.is_relative_to(root):
        raise ConfigError(f"{name!r} is outside the root folder. Give a path inside it")
    if "\0" not in name and os.path.realpath(path) != str(path):  # reading reports a null character
        raise ConfigError(f"{name!r} leads through a link, which is not followed. Give the file itself")
    return path.relative_to(root)


def _check(places: dict[str, Any], **limits: Any) -> Answer:
    from latentedit_keep.checking import check

    result = check(places["original"], places["edited"], mask=places["mask"], **limits)
    values = result.report.values
    return values | {"next_step": values["next_step"].replace("latentedit keep", "keep_edit")}, result.panel


def _keep(places: dict[str, Any], **options: Any) -> Answer:
    from latentedit_keep import api
    from latentedit_keep.files import plain
    from latentedit_keep.pictures import read_pixels

    original, edited, mask, output = places.values()
    output, first = _new(output, original, "kept.png"), read_pixels(original)
    api.check_keep_output(first, output, inputs=[])
    result = api.keep(first, edited, mask=mask, **options)
    result.save(output)
    return {"output": str(output), **plain(result.as_written(output).measures)}, result.image


def _undo(places: dict[str, Any]) -> Answer:
    from latentedit_keep.pictures import save_image

    path, output = places.values()
    record = _record(path)
    if record.get("output") == "kept":
        found = _made_from(path, record)["original"]["file"]
        if found is None:
            name = record["original"].get("name", "")
            raise FileFormatError(f"the original {name!r} of {path} is not in its folder, or was changed. Put it there")
        return {"output": found, "how": "the original itself, which keep_edit did not change"}, None
    if importlib.util.find_spec("latentedit") is None:
        raise MissingDependencyError(f"the library is needed to undo an edit. {to_install('latentedit')}")
    output = _new(output, path, "undone.png")
    save_image(importlib.import_module("latentedit.editing.undo").undo(path), output)
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
        told = ("strength", "only", "verdict") if kept else _TOLD
        step |= {name: record[name] for name in (*told, "versions") if name in record}
        steps.append(step | {"made_from": sources})
        found = [Path(source["file"]) for source in sources.values() if source["file"] is not None]
        waiting += [one for one in found if str(one) not in {step["file"] for step in steps}]
    return {"steps": steps}, None


def _record(path: Path) -> dict[str, Any]:
    from latentedit_keep.pictures import read_chunks

    text, problem = read_chunks(path)[0], f"{path} has no record of latentedit"
    with contextlib.suppress(ValueError, RecursionError):
        match json.loads(text or ""):
            case {"original": {}, "edited": {}} | {"picture": {}} as record:
                return record
            case _:
                problem = f"the record in {path} is damaged"
    raise FileFormatError(f"{problem}. Give a PNG as latentedit wrote it")


def _made_from(path: Path, record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name, fingerprint and, if it is still there unchanged, file of the images that another was made from."""
    from latentedit_keep.pictures import read_pixels

    sources: dict[str, dict[str, Any]] = {}
    for role, key in {"original": "original", "edited": "edited", "mask": "mask", "source": "picture"}.items():
        if not isinstance(about := record.get(key), dict):
            continue
        name, fingerprint = (str(about.get(field, "")) for field in ("name", "fingerprint"))
        sources[role] = {"name": name, "fingerprint": fingerprint, "file": None}
        with contextlib.suppress(LatentEditError):
            place = inside(Path.cwd(), str(path.parent / Path(name).name))
            picture = read_pixels(place)
            image = picture.image  # the library's fingerprints are of 8 bits
            shown = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()[:16]
            if fingerprint in (picture.fingerprint, shown):
                sources[role]["file"] = str(place)
    return sources


def _new(output: Path | None, source: Path, ending: str) -> Path:
    """The output, or a default next to the source; a tool never replaces a file."""
    from latentedit_keep.files import named_beside

    output = named_beside(source, ending) if output is None else output
    if output.exists():
        raise ConfigError(f"{output} exists. Choose another `output`")
    return output
