"""The page: what happens when it is used. What stands where is `layout`; what is done, `visit.Visit` does."""

import base64
import dataclasses
import functools
import json
import shutil
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from gradio.components import Component
from PIL import Image

from latentedit.app import fragments
from latentedit.app.layout import EMPTY, lay_out
from latentedit.app.models import Models
from latentedit.app.visit import Download, Visit, Wish
from latentedit.core.errors import ConfigError, LatentEditError, UnknownPictureError
from latentedit.core.progress import Progress
from latentedit.display.viewer import view
from latentedit.editing.result import EditResult

_Item = TypeVar("_Item")

_Update = dict[Any, Any]
"""Component to what it shows from now on."""

_PROGRESS = gr.Progress()
"""The default by which gradio knows that a handler wants to tell its progress."""

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
"""Hands files to the visitor that came as text: none of them ever lies on the server."""

_GONE = "this page is of an earlier run of the server, or was left alone for too long. Reload it and drop the picture"


class Page:
    """What happens on the page.

    Args:
        models: that it offers.
        uploads: where gradio puts what visitors drop; each file is removed as soon as it was read.
    """

    def __init__(self, models: Models, uploads: Path) -> None:
        self._models = models
        self._uploads = uploads
        self._examples = models.examples()
        self._visits: weakref.WeakValueDictionary[str, Visit] = weakref.WeakValueDictionary()
        images = [Image.open(path) for path in self._examples]
        self.blocks, self._at = lay_out(models.names, fragments.pictures(images, ["" for _ in images]))
        with self.blocks:
            self._wire()

    def close(self) -> None:
        """End all visits, and what runs for them."""
        for visit in list(self._visits.values()):
            visit.close()

    def _wire(self) -> None:
        """Which control does what: tasks wait in one queue, what needs no computing does not wait."""
        at = self._at
        picture, change, discover, result = at.picture, at.change, at.discover, at.result
        screen: list[Component] = [at.visit, at.said, picture.preview, picture.caption, result.viewer, result.facts]
        screen += [result.history, result.strength]
        task: dict[str, Any] = {"concurrency_id": "work", "concurrency_limit": 1, "api_visibility": "private"}
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        shows: dict[str, Any] = {**task, "show_progress_on": [result.viewer, at.working]}
        self.blocks.load(self._welcome, None, [at.visit], **quick)
        self.blocks.unload(self._farewell)
        wishes = [*change.texts, *change.strengths]
        asked = [at.visit, at.model, at.method, picture.caption, result.strength, *wishes]
        tasks: list[Any] = [
            picture.upload.upload(self._open, [at.visit, picture.upload, at.model], [*screen, picture.upload], **shows),
            picture.examples.click(self._take_example, [at.visit, at.model], screen, **shows),
            change.edit.click(self._edit, asked, screen, **shows),
            at.said.click(functools.partial(self._edit, anyway=True), asked, screen, **shows),
            result.undo.click(self._undo, [at.visit, at.model], screen, **shows),
            discover.look.click(
                self._discover,
                [at.visit, at.model, discover.rank, discover.level],
                [at.visit, at.said, discover.found],
                **task,
                show_progress_on=[discover.found, at.working],
            ),
        ]
        for button, save in (
            (result.save_picture, self._save_picture),
            (result.save_direction, self._save_directions),
            (result.save_record, self._save_record),
        ):
            told = [at.visit, at.said, at.gift, result.history]
            saved = button.click(save, [at.visit, result.strength], told, **task)
            saved.then(None, [at.gift], [at.gift], js=_DOWNLOAD, **quick)
            tasks.append(saved)
        at.cancel.click(self._cancel, [at.visit], [at.said], cancels=tasks, **quick)
        result.history.click(self._go_to, [at.visit], screen, **quick)
        wished = [at.visit, at.said, at.tabs, *change.texts]
        discover.found.click(self._take_direction, [at.visit, *change.texts], wished, **quick)
        added = [at.visit, change.direction, at.model, *change.texts]
        change.direction.upload(self._add_direction, added, [*wished, change.direction], **task)

    def _welcome(self, request: gr.Request) -> Visit:
        visit = Visit(self._models)
        self._visits[str(request.session_hash)] = visit
        return visit

    def _farewell(self, request: gr.Request) -> None:
        """The page was closed: let go of everything at once."""
        visit = self._visits.pop(str(request.session_hash), None)
        if visit is not None:
            visit.close()

    def _open(self, visit: Visit | None, path: str | None, model: str, progress: gr.Progress = _PROGRESS) -> _Update:
        upload = self._at.picture.upload
        if path is None:
            return {upload: None}
        content = self._taken(Path(path))

        def open_picture(visit: Visit) -> None:
            visit.open(content, Path(path).name, model=model, progress=_told(progress))

        return {**self._done(visit, open_picture), upload: None}

    def _take_example(
        self, visit: Visit | None, model: str, event: gr.EventData, progress: gr.Progress = _PROGRESS
    ) -> _Update:
        def open_example(visit: Visit) -> None:
            path = _chosen(self._examples, event)
            visit.open(path.read_bytes(), path.name, model=model, progress=_told(progress))

        return self._done(visit, open_example)

    def _edit(
        self,
        visit: Visit | None,
        model: str,
        method: str,
        caption: str,
        strength: float | None,
        progress: gr.Progress = _PROGRESS,
        *wishes: Any,
        anyway: bool = False,
    ) -> _Update:
        texts, strengths = wishes[: len(wishes) // 2], wishes[len(wishes) // 2 :]

        def edit(visit: Visit) -> None:
            wanted = [Wish(text=text or "", strength=much) for text, much in zip(texts, strengths, strict=True)]
            visit.settle(strength, progress=_told(progress))
            said, told = caption or "", _told(progress)
            visit.edit(wanted, model=model, method=method or None, caption=said, anyway=anyway, progress=told)

        return self._done(visit, edit)

    def _undo(self, visit: Visit | None, model: str, progress: gr.Progress = _PROGRESS) -> _Update:
        return self._done(visit, lambda visit: visit.undo(model=model, progress=_told(progress)))

    def _go_to(self, visit: Visit | None, event: gr.EventData) -> _Update:
        return self._done(visit, lambda visit: visit.go_to(_index(event)))

    def _discover(
        self, visit: Visit | None, model: str, rank: int, level: float, progress: gr.Progress = _PROGRESS
    ) -> _Update:
        def discover(visit: Visit) -> _Update:
            found = visit.discover(model=model, rank=int(rank), level=level, progress=_told(progress))
            return {self._at.discover.found: fragments.discovered(found)}

        return self._tried(visit, discover)

    def _take_direction(self, visit: Visit | None, event: gr.EventData, *texts: str) -> _Update:
        return self._tried(visit, lambda visit: self._wished(texts, _chosen(visit.discovered, event)))

    def _add_direction(self, visit: Visit | None, path: str | None, model: str, *texts: str) -> _Update:
        button = self._at.change.direction
        if path is None:
            return {button: None}

        def add(visit: Visit) -> _Update:
            try:
                return self._wished(texts, visit.add_direction(Path(path), model=model))
            finally:
                self._taken(Path(path))

        return {**self._tried(visit, add), button: None}

    def _wished(self, texts: Sequence[str], name: str) -> _Update:
        """The name of a direction in the first free place."""
        free = next(
            (box for box, text in zip(self._at.change.texts, texts, strict=True) if not (text or "").strip()), None
        )
        if free is None:
            raise ConfigError(f"all {len(texts)} places hold a change already. Empty one of them first")
        said = fragments.message(f"{name} stands among the changes", kind="note")
        return {free: name, self._at.tabs: gr.Tabs(selected="change"), self._at.said: said}

    def _save_picture(self, visit: Visit | None, strength: float | None) -> _Update:
        return self._given(visit, lambda visit: [visit.picture_file(strength)])

    def _save_directions(self, visit: Visit | None, strength: float | None) -> _Update:
        del strength
        return self._given(visit, lambda visit: visit.direction_files())

    def _save_record(self, visit: Visit | None, strength: float | None) -> _Update:
        return self._given(visit, lambda visit: [visit.record_file(strength)])

    def _given(self, visit: Visit | None, files: Callable[[Visit], list[Download]]) -> _Update:
        """Files on their way to the visitor; see `_DOWNLOAD`."""

        def give(visit: Visit) -> _Update:
            told = [
                {"name": file.name, "kind": file.kind, "content": base64.b64encode(file.content).decode()}
                for file in files(visit)
            ]
            history = fragments.history(visit.entries, visit.current)
            return {self._at.gift: json.dumps(told), self._at.result.history: history}

        return {self._at.gift: "", **self._tried(visit, give)}

    def _cancel(self, visit: Visit | None) -> _Update:
        def stop(visit: Visit) -> _Update:
            visit.stop()
            return {
                self._at.said: fragments.message("stopped; the picture and its history are as they were", kind="note")
            }

        return {name: shown for name, shown in self._tried(visit, stop).items() if name is not self._at.visit}

    def _done(self, visit: Visit | None, task: Callable[[Visit], object]) -> _Update:
        """Do something to the visit, and show it as it is then."""

        def show(visit: Visit) -> _Update:
            task(visit)
            return self._screen(visit)

        return self._tried(visit, show)

    def _tried(self, visit: Visit | None, task: Callable[[Visit], _Update]) -> _Update:
        """What a task shows, or in its place one line that says what was wrong.

        The visit goes back to gradio each time, which then remembers it for longer.
        """
        at = self._at
        if visit is None:
            return {at.said: fragments.message(_GONE)}
        try:
            return {at.visit: visit, at.said: "", **task(visit)}
        except UnknownPictureError as error:
            return {at.visit: visit, at.said: fragments.message(str(error), button="Edit anyway")}
        except LatentEditError as error:
            return {at.visit: visit, at.said: fragments.message(str(error))}

    def _screen(self, visit: Visit) -> _Update:
        """Everything that a visit shows."""
        entry, picture, result = visit.current, self._at.picture, self._at.result
        if entry is None:
            return {}
        edit = entry.edit
        return {
            picture.preview: fragments.preview(entry),
            picture.caption: entry.caption,
            result.viewer: EMPTY if edit is None else fragments.frame(_viewer(edit.results, entry.strength)),
            result.facts: "" if edit is None else fragments.facts(edit),
            result.history: fragments.history(visit.entries, entry),
            result.strength: entry.strength,
        }

    def _taken(self, path: Path) -> bytes:
        """The content of an upload, which is removed; no other visitor can have it then."""
        content = path.read_bytes()
        if path.resolve().is_relative_to(self._uploads.resolve()):
            shutil.rmtree(path.parent, ignore_errors=True)
        return content


def _viewer(results: Sequence[EditResult], strength: float) -> str:
    """The viewer, which saves nothing itself: between strengths it has a blend, and the page the exact picture."""
    return dataclasses.replace(view(results), start=strength, saves=False).html


def _told(progress: gr.Progress) -> Progress:
    """Progress as the library tells it, on gradio's bar."""

    def report(what: str, done: int, total: int) -> None:
        progress((done, total), desc=what)

    return report


def _index(event: gr.EventData) -> int:
    """Which picture was clicked, as the browser says."""
    index = getattr(event, "index", None)
    if not isinstance(index, int):
        raise ConfigError("nothing was chosen. Click a picture")
    return index


def _chosen(items: Sequence[_Item], event: gr.EventData) -> _Item:
    index = _index(event)
    if not 0 <= index < len(items):
        raise ConfigError(f"there are {len(items)} to choose from; got number {index + 1}. Click one of them")
    return items[index]
