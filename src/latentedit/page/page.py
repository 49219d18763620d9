"""The page: its tabs, and what their tasks have in common. `visit.Visit` does the work."""

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
from latentedit.page.visit import STOPPED, Visit

_Item = TypeVar("_Item")
_Visit = TypeVar("_Visit", bound=Visit)

Update = dict[Any, Any]  # new values of components
MAX_UPLOAD_BYTES = 50_000_000  # a PNG of 25 megapixels
PROGRESS = gr.Progress()  # a default argument by which gradio shows the progress of a handler
# Interval in seconds and age in seconds at which gradio removes uploads, see `Blocks.delete_cache`.
_REMOVAL_OF_UPLOADS = (600, 3600)
_GONE = "this session has expired. Reload the page and choose the images again"


class Tab(abc.ABC):
    """A tab of the page."""

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
    def status(self, visit: Visit) -> Update:
        """Which controls can act."""


class Page:
    """The page with its events.

    Every time that it is opened or reloaded is a visit, with a state of its own.

    Args:
        tabs: the first one is shown.
        new_visit: called with a lock that the running task holds.
    """

    def __init__(
        self,
        tabs: Sequence[Tab],
        new_visit: Callable[[threading.Lock], Visit],
    ) -> None:
        self.tabs = tabs
        self._new_visit = new_visit
        self._working = threading.Lock()
        self._visits: dict[str, Visit] = {}  # keys are gradio's names of sessions
        self._tasks: list[Any] = []
        self.task: dict[str, Any] = {"concurrency_id": "work", "concurrency_limit": 1, "api_visibility": "private"}
        self.quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        self.blocks = gr.Blocks(
            title="latentedit",
            delete_cache=_REMOVAL_OF_UPLOADS,
            analytics_enabled=False,
        )
        with self.blocks:
            self.visit = gr.State()  # None after the server was started again
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
                tab.cancel.click(self._cancel, [self.visit], self.status, cancels=self._tasks, **self.quick)
            self.blocks.load(self._welcome, None, [self.visit], **self.quick)
            self.blocks.unload(self._farewell)

    def close(self) -> None:
        for visit in list(self._visits.values()):
            visit.close()

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
        show: Callable[..., Update] = lambda _: {},
    ) -> None:
        """Send the files that a function of visit, event and values makes to the browser.

        Afterwards ``show`` updates the components ``shown``.
        """

        def save(visit: Visit | None, event: gr.EventData, *given: Any) -> Update:
            def pack(visit: Visit) -> Update:
                if visit.lost:
                    raise ConfigError(visit.lost)
                found = files(visit, event, *given)
                packed = [
                    {"name": file.name, "kind": file.kind, "content": base64.b64encode(file.content).decode()}
                    for file in found
                ]
                lines = "; ".join(file.note for file in found if file.note)
                note = {self.message: fragments.message(lines, kind="note")} if lines else {}
                return {self.files: json.dumps(packed), **show(visit), **note}

            return {self.files: "", **self.perform(visit, pack)}

        saved = self.on(event, save, [self.visit, *values], [*self.status, self.files, *shown], cancel)
        saved.then(None, [self.files], [self.files], js=DOWNLOAD, **self.quick)

    def _welcome(self, request: gr.Request) -> Visit:
        """Begin a visit, at once: images may be dropped from now on."""
        visit = self._new_visit(self._working)
        self._visits[str(request.session_hash)] = visit
        return visit

    def _farewell(self, request: gr.Request) -> None:
        """End the task of a page that was closed, and free its images at once."""
        session_name = str(request.session_hash)
        visit = self._visits.pop(session_name, None)
        if visit is not None:
            visit.close()
        # Gradio would hold the values of all controls, of up to 10,000 closed pages.
        self.blocks.state_holder.session_data.pop(session_name, None)

    def _cancel(self, visit: Visit | None) -> Update:
        if visit is None:
            return {self.message: fragments.message(_GONE)}
        visit.stop()
        note = fragments.message(STOPPED, kind="note")
        return self.perform(visit, lambda _: {self.message: note})

    def perform(self, visit: _Visit | None, task: Callable[[_Visit], Update]) -> Update:
        """A task's update, or one line with its error."""
        if visit is None:
            return {self.message: fragments.message(_GONE)}
        try:
            shown = {self.message: "", **task(visit)}
        except LatentEditError as error:
            shown = {self.message: fragments.message(str(error))}
        status = {control: value for tab in self.tabs for control, value in tab.status(visit).items()}
        return {**status, **shown}

    def uploaded(self, visit: Visit, event: gr.EventData) -> Path:
        """Return the path of an upload; gradio refuses events that name any other file.

        After an upload that did not arrive, nothing can be saved until the next one does, because
        the result would lack it.
        """
        path = Path(str(getattr(event, "path", "")))
        if not path.is_file():
            limit = MAX_UPLOAD_BYTES // 1_000_000
            visit.lost = (
                "the file was not uploaded. Choose it again. "
                f"Files may have at most {limit} MB; for larger ones use latentedit keep"
            )
            raise ConfigError(visit.lost)
        visit.lost = ""
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
