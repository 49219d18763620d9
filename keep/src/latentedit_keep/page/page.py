"""The page: what its controls do. `layout` arranges them, `visitor.VisitorSession` does the work."""

import base64
import contextlib
import functools
import json
import shutil
import weakref
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from gradio.components import Component
from PIL import Image

from latentedit.app import fragments
from latentedit.app.layout import DISABLE, EMPTY, ENABLE, Layout
from latentedit.app.models import Models
from latentedit.app.visitor import STOPPED, Download, PageChange, VisitorSession
from latentedit.core.errors import ConfigError, LatentEditError, UnknownImageError
from latentedit.core.progress import Progress
from latentedit_keep.api import KeepResult, keep
from latentedit_keep.photo.images import PixelImage

_Item = TypeVar("_Item")

_Visitor = VisitorSession | None  # the state of a page; None after the server was started again
_Update = dict[Any, Any]  # new values of components
_PROGRESS = gr.Progress()  # as a default, it makes gradio show the progress of a handler

# Downloads are sent to the browser as text, so that the server stores no file.
_DOWNLOAD = """
(text) => {
  for (const file of JSON.parse(text || "[]")) {
    const bytes = Uint8Array.from(atob(file.content), (letter) => letter.charCodeAt(0));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes], {type: file.kind}));
    link.download = file.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }
  return "";
}
"""

_OTHER = "The two images appear here once both are there."
_ELSEWHERE = "The tab Keep only the change copies the edit of another program onto the original"
_GONE = "this session has expired. Reload the page and upload the image again"


@functools.cache
def example() -> KeepResult:
    """The finished example of `keep`."""
    folder = Path(__file__).with_name("example")
    return keep(folder / "scene.jpg", folder / "scene-edited.jpg")


class Page:
    """The page with its events; files in the folder of uploads are deleted as soon as they were read."""

    def __init__(self, models: Models, uploads: Path) -> None:
        self._models = models
        self._uploads = uploads
        self._examples = models.examples()
        self._visitors: weakref.WeakValueDictionary[str, VisitorSession] = weakref.WeakValueDictionary()
        images = [Image.open(path) for path in self._examples]
        self._at = Layout(models.names, fragments.thumbnails(images, ["" for _ in images]))
        self.blocks = self._at.blocks
        with self.blocks:
            self._wire()

    def close(self) -> None:
        for visitor in list(self._visitors.values()):
            visitor.close()

    def _wire(self) -> None:
        """Connect controls to handlers: tasks that compute wait in one queue, others run at once."""
        at = self._at
        buttons = [
            at.edit,
            at.discover,
            at.undo,
            at.keep_edit,
            at.save_image,
            at.save_direction,
            at.save_record,
            at.cancel,
        ]
        self._buttons = [*buttons, at.mask, at.unmask, at.save_kept, at.save_layers, at.cancel_keep]
        status: list[Component] = [at.visitor, at.message, *self._buttons]
        screen = [*status, at.preview, at.caption, at.viewer, at.facts, at.history, at.strength]
        task: dict[str, Any] = {"concurrency_id": "work", "concurrency_limit": 1, "api_visibility": "private"}
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        shows: dict[str, Any] = {**task, "show_progress_on": [at.viewer, at.working]}
        keeps: dict[str, Any] = {**task, "show_progress_on": [at.keeping]}
        result = [*status, at.kept, at.kept_strength]
        kept = [*result, at.only, at.brush]
        self.blocks.load(self._welcome, None, kept, **quick)
        self.blocks.unload(self._farewell)
        request = [at.visitor, at.model, at.method, at.caption, at.strength, *at.texts, *at.strengths]
        tasks: list[Any] = []

        def on(event: Any, *arguments: Any, cancel: gr.Button = at.cancel, **options: Any) -> Any:
            event(None, None, [cancel], js=ENABLE, **quick)
            tasks.append(event(*arguments, **options))
            return tasks[-1]

        at.upload.upload(None, None, [at.edit], js=DISABLE, **quick)  # until there is a caption
        at.examples.click(None, None, [at.edit], js=DISABLE, **quick)
        on(at.upload.upload, self._open, [at.visitor, at.upload, at.model], [*screen, at.upload], **shows)
        on(at.examples.click, self._open_example, [at.visitor, at.model], screen, **shows)
        on(at.edit.click, self._edit, request, screen, **shows)
        on(at.message.click, functools.partial(self._edit, force=True), request, screen, **shows)
        on(at.undo.click, self._undo, [at.visitor, at.model], screen, **shows)
        found: dict[str, Any] = {**task, "show_progress_on": [at.discovered, at.working]}
        values = [at.visitor, at.model, at.rank, at.level]
        on(at.discover.click, self._discover, values, [*status, at.discovered], **found)
        limits = [at.only, at.strokes, at.kept_strength]
        for button, save, values in (
            (at.save_image, lambda visitor, strength: [visitor.image_file(strength)], [at.strength]),
            (at.save_direction, lambda visitor: visitor.direction_files(), []),
            (at.save_record, lambda visitor, strength: [visitor.record_file(strength)], [at.strength]),
            (at.save_kept, _kept_files, limits),
            (at.save_layers, functools.partial(_kept_files, layers=True), limits),
        ):
            shown = [*status, at.files, at.history]
            saved = on(button.click, functools.partial(self._save, save), [at.visitor, *values], shown, **task)
            saved.then(None, [at.files], [at.files], js=_DOWNLOAD, **quick)
        compared: dict[str, Any] = {"cancel": at.cancel_keep, **keeps}
        for role, (zone, preview) in at.pair.items():
            drop, shown = functools.partial(self._drop, role), [*kept, zone, preview, at.strokes]
            dropped = on(zone.upload, drop, [at.visitor, zone], shown, **compared)
            dropped.then(None, None, [at.cancel_keep], js=ENABLE, **quick)
            tasks.append(dropped.then(self._keep, [at.visitor], kept, **keeps))
        previews = [preview for _, preview in at.pair.values()]
        shown = [*kept, at.sections, at.strokes, at.history, *previews]
        on(at.keep_edit.click, self._keep_edit, [at.visitor, at.strength], shown, **shows)
        limits = [at.visitor, *limits]
        compared["trigger_mode"] = "always_last"
        on(at.only.input, self._limit, limits, kept, **compared)
        on(at.brush.input, self._paint, limits, result, **compared)
        on(at.mask.upload, self._limit, [*limits, at.mask], [*kept, at.mask], **compared)
        on(at.unmask.click, functools.partial(self._limit, unmask=True), limits, kept, **compared)
        for cancel in (at.cancel, at.cancel_keep):
            cancel.click(self._cancel, [at.visitor], status, cancels=tasks, **quick)
        at.history.click(self._go_to, [at.visitor], screen, **quick)
        changed = [*status, at.tabs, *at.texts]
        at.discovered.click(self._take_direction, [at.visitor, *at.texts], changed, **quick)
        added = [at.visitor, at.direction, at.model, *at.texts]
        at.direction.upload(self._add_direction, added, [*changed, at.direction], **task)

    def _welcome(self, request: gr.Request) -> _Update:
        visitor = VisitorSession(self._models)
        self._visitors[str(request.session_hash)] = visitor
        visitor.kept = example()
        return self._try(visitor, self._show_kept)

    def _farewell(self, request: gr.Request) -> None:
        """The page was closed: delete everything at once."""
        visitor = self._visitors.pop(str(request.session_hash), None)
        if visitor is not None:
            visitor.close()

    def _open(self, visitor: _Visitor, path: str | None, model: str, progress: gr.Progress = _PROGRESS) -> _Update:
        if path is None:
            return {self._at.upload: None}
        with self._uploaded(path) as file:
            name, content = file.name, file.read_bytes()
        shown = self._do(visitor, lambda session: session.open(content, name, model=model, progress=_report(progress)))
        return {**shown, self._at.upload: None}

    def _open_example(
        self, visitor: _Visitor, model: str, event: gr.EventData, progress: gr.Progress = _PROGRESS
    ) -> _Update:
        def open_example(visitor: VisitorSession) -> None:
            path = _chosen(self._examples, event)
            visitor.open(path.read_bytes(), path.name, model=model, progress=_report(progress))

        return self._do(visitor, open_example)

    def _edit(
        self,
        visitor: _Visitor,
        model: str,
        method: str,
        caption: str,
        strength: float | None,
        progress: gr.Progress = _PROGRESS,
        *changes: Any,
        force: bool = False,
    ) -> _Update:
        pairs = zip(changes[: len(changes) // 2], changes[len(changes) // 2 :], strict=True)
        edits = [PageChange(text=text or "", strength=share) for text, share in pairs]

        def edit(visitor: VisitorSession) -> None:
            report, source = _report(progress), caption or ""
            visitor.settle(strength, progress=report)
            visitor.edit(edits, model=model, method=method or None, caption=source, force=force, progress=report)

        return self._do(visitor, edit)

    def _drop(self, role: str, visitor: _Visitor, path: str | None) -> _Update:
        """Take one image of a pair, and show both, not yet compared."""
        zone, preview = self._at.pair[role]
        if path is None:
            return {zone: None}

        def drop(visitor: VisitorSession) -> _Update:
            with self._uploaded(path) as file:
                image = visitor.drop(role, file)
            viewer = fragments.wipe(**visitor.pair) if len(visitor.pair) == 2 else fragments.empty(_OTHER)
            at = self._at
            return {
                preview: _preview(image),
                at.kept: viewer,
                at.brush: "",
                at.strokes: "",
                at.only: gr.CheckboxGroup(visible=False),
            }

        return {**self._try(visitor, drop), zone: None}

    def _keep(self, visitor: _Visitor, progress: gr.Progress = _PROGRESS) -> _Update:
        def compare(visitor: VisitorSession) -> _Update:
            return self._show_kept(visitor) if visitor.keep_pair(progress=_report(progress)) else {}

        return self._try(visitor, compare)

    def _keep_edit(self, visitor: _Visitor, strength: float | None, progress: gr.Progress = _PROGRESS) -> _Update:
        """Put the change of an edit onto the first image, in the first tab."""

        def compare(visitor: VisitorSession) -> _Update:
            visitor.keep_edit(strength, progress=_report(progress))
            previews = {preview: _preview(visitor.pair[role]) for role, (_, preview) in self._at.pair.items()}
            tab = {self._at.sections: gr.Tabs(selected="keep"), self._at.strokes: ""}
            history = {self._at.history: fragments.history(visitor.entries, visitor.current)}
            return {**self._show_kept(visitor), **previews, **tab, **history}

        return self._try(visitor, compare)

    def _limit(
        self,
        visitor: _Visitor,
        only: Sequence[int],
        strokes: str,
        strength: float | None,
        mask: str | None = None,
        *,
        unmask: bool = False,
    ) -> _Update:
        """Keep the chosen changes only, and only inside the mask."""

        def limit(visitor: VisitorSession) -> _Update:
            if mask is None:
                visitor.limit(mask=None if unmask else visitor.mask, only=only, strokes=strokes)
            else:
                with self._uploaded(mask) as file:
                    visitor.limit(mask=file, only=only, strokes=strokes)
            return self._show_kept(visitor, strength)

        return self._try(visitor, limit) | ({} if mask is None else {self._at.mask: None})

    def _paint(self, visitor: _Visitor, only: Sequence[int], strokes: str, strength: float | None) -> _Update:
        """Restore what was painted, without a new brush: the visitor may paint the next stroke."""

        def paint(visitor: VisitorSession) -> _Update:
            visitor.limit(mask=visitor.mask, only=only, strokes=strokes)
            return self._show_result(visitor, strength)

        return self._try(visitor, paint)

    def _show_result(self, visitor: VisitorSession, strength: float | None) -> _Update:
        if visitor.kept is None:
            return {}
        strength = 1.0 if strength is None else strength
        viewer = fragments.kept(visitor.kept, strength, is_example=visitor.shows_example)
        return {self._at.kept: viewer, self._at.kept_strength: strength}

    def _show_kept(self, visitor: VisitorSession, strength: float | None = None) -> _Update:
        at, kept = self._at, visitor.kept
        if kept is None:
            return {}
        changes = kept.analysis.unmasked.changes
        names = [(f"{one.number}: {100 * one.share:.2f} %{', faint' * one.faint}", one.number) for one in changes]
        usual = [one.number for one in changes if not one.faint]
        chosen = usual if kept.record.only is None else list(kept.record.only)
        group = gr.CheckboxGroup(choices=names, value=chosen, visible=len(names) > 1)
        panel = fragments.brush(visitor.unpainted(), chosen, is_example=visitor.shows_example)
        return {**self._show_result(visitor, strength), at.only: group, at.brush: panel}

    def _undo(self, visitor: _Visitor, model: str, progress: gr.Progress = _PROGRESS) -> _Update:
        return self._do(visitor, lambda session: session.undo(model=model, progress=_report(progress)))

    def _go_to(self, visitor: _Visitor, event: gr.EventData) -> _Update:
        return self._do(visitor, lambda session: session.go_to(_index(event)))

    def _discover(
        self, visitor: _Visitor, model: str, rank: int, level: float, progress: gr.Progress = _PROGRESS
    ) -> _Update:
        def discover(visitor: VisitorSession) -> _Update:
            discovery = visitor.discover(model=model, rank=int(rank), level=level, progress=_report(progress))
            return {self._at.discovered: fragments.discovered(discovery)}

        return self._try(visitor, discover)

    def _take_direction(self, visitor: _Visitor, event: gr.EventData, *texts: str) -> _Update:
        return self._try(visitor, lambda session: self._insert(texts, _chosen(session.discovered, event)))

    def _add_direction(self, visitor: _Visitor, path: str | None, model: str, *texts: str) -> _Update:
        if path is None:
            return {self._at.direction: None}

        def add(visitor: VisitorSession) -> _Update:
            with self._uploaded(path) as file:
                return self._insert(texts, visitor.add_direction(file, model=model))

        return {**self._try(visitor, add), self._at.direction: None}

    def _insert(self, texts: Sequence[str], name: str) -> _Update:
        """Put the name of a direction into the first empty field."""
        empty = [box for box, text in zip(self._at.texts, texts, strict=True) if not (text or "").strip()]
        if not empty:
            raise ConfigError(f"all {len(texts)} changes are in use. Clear a field first")
        note = fragments.message(f"Added {name} to the changes.", kind="note")
        return {empty[0]: name, self._at.tabs: gr.Tabs(selected="change"), self._at.message: note}

    def _save(self, files: Callable[..., list[Download]], visitor: _Visitor, *values: Any) -> _Update:
        """Send files to the browser; see `_DOWNLOAD`."""

        def save(visitor: VisitorSession) -> _Update:
            found = files(visitor, *values)
            packed = [
                {"name": file.name, "kind": file.kind, "content": base64.b64encode(file.content).decode()}
                for file in found
            ]
            history = fragments.history(visitor.entries, visitor.current)
            lines = [file.note for file in found if file.note]
            note = {self._at.message: fragments.message("; ".join(lines), kind="note")} if lines else {}
            return {self._at.files: json.dumps(packed), self._at.history: history, **note}

        return {self._at.files: "", **self._try(visitor, save)}

    def _cancel(self, visitor: _Visitor) -> _Update:
        if visitor is None:
            return {self._at.message: fragments.message(_GONE)}
        visitor.stop()
        note = fragments.message(STOPPED, kind="note")
        return self._try(visitor, lambda _: {self._at.message: note})

    def _do(self, visitor: _Visitor, task: Callable[[VisitorSession], object]) -> _Update:
        """Perform a task, and show the session afterwards."""

        def show(visitor: VisitorSession) -> _Update:
            task(visitor)
            return self._screen(visitor)

        return self._try(visitor, show)

    def _try(self, visitor: _Visitor, task: Callable[[VisitorSession], _Update]) -> _Update:
        """What a task shows, or one line with its error. Returning the session to gradio extends its lifetime."""
        at = self._at
        if visitor is None:
            return {at.message: fragments.message(_GONE)}
        try:
            shown = {at.message: "", **task(visitor)}
        except LatentEditError as error:
            if isinstance(error, UnknownImageError):
                message = fragments.message(f"{error}. {_ELSEWHERE}", button="Edit it anyway")
            else:
                message = fragments.message(str(error))
            shown = {at.message: message}
        able = {button: gr.update(interactive=button in _able(at, visitor)) for button in self._buttons}
        return {at.visitor: visitor, **able, **shown}

    def _screen(self, visitor: VisitorSession) -> _Update:
        entry, at = visitor.current, self._at
        if entry is None:
            return {}
        viewer = EMPTY
        if entry.edit is not None:  # the viewer blends between strengths, so that the page saves, not the viewer
            viewer = fragments.edited(entry.edit.results, entry.strength)
        return {
            at.preview: fragments.figure(entry.image.image, entry.caption or "current image", entry.notes),
            at.caption: entry.caption,
            at.viewer: viewer,
            at.facts: "" if entry.edit is None else fragments.facts(entry.edit),
            at.history: fragments.history(visitor.entries, entry),
            at.strength: entry.strength,
        }

    @contextlib.contextmanager
    def _uploaded(self, place: str) -> Generator[Path]:
        """An upload, which is deleted once it was read, so that no other visitor can read it."""
        path = Path(place)
        try:
            yield path
        finally:
            if path.resolve().is_relative_to(self._uploads.resolve()):
                shutil.rmtree(path.parent, ignore_errors=True)


def _able(at: Layout, visitor: VisitorSession) -> set[Component]:
    """The buttons that can do something."""
    entry, kept = visitor.current, visitor.kept
    edit = None if entry is None else entry.edit
    able: dict[Component, object] = {
        at.edit: entry,
        at.discover: entry,
        at.undo: entry and (entry.before or entry.payload),
        at.keep_edit: entry and entry is not visitor.entries[0],
        at.save_image: len(visitor.entries) > 1,
        at.save_direction: edit and edit.directions,
        at.save_record: edit,
        at.mask: kept,
        at.unmask: visitor.mask,
        at.save_kept: kept and visitor.pair,
        at.save_layers: kept and visitor.pair,
        at.cancel: visitor.busy,
        at.cancel_keep: visitor.busy,
    }
    return {button for button, reason in able.items() if reason}


def _kept_files(
    visitor: VisitorSession, only: Sequence[int], strokes: str, strength: float | None, *, layers: bool = False
) -> list[Download]:
    visitor.limit(mask=visitor.mask, only=only, strokes=strokes)  # of a stroke that is still waiting
    return visitor.kept_files(strength, layers=layers)


def _preview(image: PixelImage) -> str:
    return fragments.figure(image.image, image.name, image.carried.notes, name=image.name)


def _report(progress: gr.Progress) -> Progress:
    def report(what: str, done: int, total: int) -> None:
        progress((done, total), desc=what)

    return report


def _index(event: gr.EventData) -> int:
    """Index of the clicked image, as sent by the browser."""
    index = getattr(event, "index", None)
    if not isinstance(index, int):
        raise ConfigError("no image was selected. Click an image")
    return index


def _chosen(items: Sequence[_Item], event: gr.EventData) -> _Item:
    index = _index(event)
    if not 0 <= index < len(items):
        raise ConfigError(f"there are {len(items)} items; got number {index + 1}. Reload the page")
    return items[index]
