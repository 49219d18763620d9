"""The page: its tabs, and what their tasks have in common. `visitor.VisitorSession` does the work."""

import abc
import base64
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from gradio.components import Component

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, LatentEditError
from latentedit.page import fragments
from latentedit.page.downloads import Download
from latentedit.page.layout import CHOOSE, DOWNLOAD, SHOW
from latentedit.page.visitor import STOPPED, Closing, VisitorSession

_Item = TypeVar("_Item")

Update = dict[Any, Any]  # new values of components
MAX_UPLOAD_BYTES = 50_000_000  # a PNG of 25 megapixels
PROGRESS = gr.Progress()  # a default argument by which gradio shows the progress of a handler
_Visitor = VisitorSession | None  # the state of a page; None after the server was started again
# Interval in seconds and age in seconds at which gradio removes uploads, see `Blocks.delete_cache`.
_REMOVAL_OF_UPLOADS = (600, 3600)
_GONE = "this session has expired. Reload the page and choose the images again"


class Tab(abc.ABC):
    """A tab of the page; an entry point of the group ``latentedit.tabs`` is a function that returns one.

    The function's options, which `latentedit app` takes too, are declared as those of a command.
    """

    title: str
    controls: Sequence[Component]  # components that `status` updates
    cancel: gr.Button  # ends a running task

    @abc.abstractmethod
    def add(self) -> None:
        """Add the controls, inside the tab."""

    @abc.abstractmethod
    def connect(self, page: "Page") -> None:
        """Connect the controls to what they do; those of the other tabs are there."""

    @abc.abstractmethod
    def status(self, visitor: VisitorSession) -> Update:
        """Which controls can act."""

    def session(self, visitor: VisitorSession) -> Closing | None:  # noqa: ARG002 (of subclasses)
        """The tab's part of a new visitor, in ``visitor.tabs``."""
        return None


class Page:
    """The page with its events. The first of the tabs is shown."""

    def __init__(self, tabs: Sequence[Tab], uploads: Path) -> None:
        self.tabs = tabs
        self._uploads = uploads.resolve()
        self._working = threading.Lock()  # held by the running task
        self._visitors: dict[str, VisitorSession] = {}  # keys are gradio's names of sessions
        self._tasks: list[Any] = []
        self.task: dict[str, Any] = {"concurrency_id": "work", "concurrency_limit": 1, "api_visibility": "private"}
        self.quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        self.blocks = gr.Blocks(title="latentedit", delete_cache=_REMOVAL_OF_UPLOADS, analytics_enabled=False)
        with self.blocks:
            self.visitor = gr.State()
            gr.HTML("<h1>Keep only what you asked for</h1><b>latentedit</b>", elem_id="le-title", padding=False)
            self.message = gr.HTML(js_on_load=CHOOSE, elem_id="le-message")
            self.files = gr.Textbox(visible="hidden", elem_id="le-downloads")  # downloads, as JSON
            with gr.Tabs(elem_classes="le-single" if len(tabs) == 1 else None) as self.sections:
                for tab in tabs:
                    with gr.Tab(tab.title, id=tab.title):
                        tab.add()
            self.status: list[Component] = [self.message]
            for tab in tabs:
                self.status += tab.controls
            for tab in tabs:
                tab.connect(self)
            for tab in tabs:
                tab.cancel.click(self._cancel, [self.visitor], self.status, cancels=self._tasks, **self.quick)
            self.blocks.load(self._welcome, None, [self.visitor], **self.quick)
            self.blocks.unload(self._farewell)

    def close(self) -> None:
        for visitor in list(self._visitors.values()):
            visitor.close()

    def on(self, event: Any, task: Any, inputs: Any, outputs: Any, cancel: gr.Button, **options: Any) -> Any:
        """Run a task that computes, in one queue with all others, and show the button that cancels it meanwhile."""
        event(None, None, [cancel], js=SHOW, **self.quick)
        self._tasks.append(event(task, inputs, outputs, **{**self.task, **options}))
        return self._tasks[-1]

    def saves(
        self,
        event: Any,
        files: Callable[..., list[Download]],
        values: Sequence[Component],
        cancel: gr.Button,
        *,
        shown: Sequence[Component] = (),
        show: Callable[[VisitorSession], Update] = lambda _: {},
    ) -> None:
        """Send the files that a function of visitor, event and values makes to the browser, and show what follows."""

        def save(visitor: _Visitor, event: gr.EventData, *given: Any) -> Update:
            def pack(visitor: VisitorSession) -> Update:
                if visitor.lost:
                    raise ConfigError(visitor.lost)
                found = files(visitor, event, *given)
                packed = [
                    {"name": file.name, "kind": file.kind, "content": base64.b64encode(file.content).decode()}
                    for file in found
                ]
                lines = "; ".join(file.note for file in found if file.note)
                note = {self.message: fragments.message(lines, kind="note")} if lines else {}
                return {self.files: json.dumps(packed), **show(visitor), **note}

            return {self.files: "", **self.perform(visitor, pack)}

        saved = self.on(event, save, [self.visitor, *values], [*self.status, self.files, *shown], cancel)
        saved.then(None, [self.files], [self.files], js=DOWNLOAD, **self.quick)

    def _welcome(self, request: gr.Request) -> VisitorSession:
        """Make a new visitor, at once: images may be dropped from now on."""
        self._visitors[str(request.session_hash)] = visitor = VisitorSession(self._working)
        held = {tab.title: tab.session(visitor) for tab in self.tabs}
        visitor.tabs = {title: one for title, one in held.items() if one is not None}
        return visitor

    def _farewell(self, request: gr.Request) -> None:
        """End the task of a page that was closed, and free its images at once."""
        session_name = str(request.session_hash)
        visitor = self._visitors.pop(session_name, None)
        if visitor is not None:
            visitor.close()
        # Gradio would hold the values of all controls, of up to 10,000 closed pages.
        self.blocks.state_holder.session_data.pop(session_name, None)

    def _cancel(self, visitor: _Visitor) -> Update:
        if visitor is None:
            return {self.message: fragments.message(_GONE)}
        visitor.stop()
        note = fragments.message(STOPPED, kind="note")
        return self.perform(visitor, lambda _: {self.message: note})

    def perform(self, visitor: _Visitor, task: Callable[[VisitorSession], Update]) -> Update:
        """A task's update, or one line with its error."""
        if visitor is None:
            return {self.message: fragments.message(_GONE)}
        try:
            shown = {self.message: "", **task(visitor)}
        except LatentEditError as error:
            shown = {self.message: fragments.message(str(error))}
        status = {control: value for tab in self.tabs for control, value in tab.status(visitor).items()}
        return {**status, **shown}

    def uploaded(self, visitor: VisitorSession, event: gr.EventData) -> Path:
        """Return the path of an upload; the browser may name any file, and uploads alone are read.

        Until the next upload arrives, nothing can be saved: it would lack a lost one.
        """
        path = Path(str(getattr(event, "path", ""))).resolve()
        if not path.is_relative_to(self._uploads) or not path.is_file():
            limit = MAX_UPLOAD_BYTES // 1_000_000
            visitor.lost = (
                "the file was not uploaded. Choose it again. "
                f"Files may have at most {limit} MB; for larger ones use latentedit keep"
            )
            raise ConfigError(visitor.lost)
        visitor.lost = ""
        return path


def reported(progress: gr.Progress) -> Progress:
    """Reports to gradio, as a share: it would count in "steps"."""

    def report(what: str, done: int, total: int) -> None:
        progress(done / total, desc=what)

    return report


def clicked(event: gr.EventData) -> int:
    """Index of the clicked image, as sent by the browser."""
    index = getattr(event, "index", None)
    if not isinstance(index, int):
        raise ConfigError("no image was selected. Click an image")
    return index


def chosen(items: Sequence[_Item], event: gr.EventData) -> _Item:
    """The clicked one of some items."""
    index = clicked(event)
    if not 0 <= index < len(items):
        raise ConfigError(f"there are {len(items)} items; got number {index + 1}. Reload the page")
    return items[index]
