"""The tab *Edit*: a change in words, with a slider for its strength; and *Discover*, which finds directions."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import gradio as gr
import torch
from gradio.components import Component
from PIL import Image
from torch import Tensor

from latentedit.core.errors import ConfigError, UnknownImageError
from latentedit.core.plugins import EDITORS
from latentedit.editing.discovery import SCALES, Discovery
from latentedit.editing.result import view
from latentedit.encoding.captions.base import to_images
from latentedit.encoding.captions.change import Caption
from latentedit.page import fragments
from latentedit.page.edit_visit import MAX_CHANGES, MAX_PIXELS, EditVisit, PageChange
from latentedit.page.fragments import chooser, empty, message, thumbnails, zone
from latentedit.page.layout import CHOOSE, DISABLE, UPLOAD, button, cancel_button
from latentedit.page.models import Models
from latentedit.page.page import PROGRESS, Page, Tab, Update, chosen, clicked, reported
from latentedit.page.visit import Visit

_MAX_LETTERS = 2000  # longest caption or change
_DROP = ("Image", f"Drop an image here, or choose it (up to {MAX_PIXELS // 1_000_000} megapixels)")
_EMPTY = empty("Write a change and press Edit: the edit appears here, with a slider for the strength.")
_ELSEWHERE = "The tab Keep only the change copies the edit of another program onto the original"

# A click on a phrase begins a change of it.
_PHRASE = """
element.addEventListener("click", (event) => {
  const phrase = event.target.closest("button[data-phrase]")?.dataset.phrase;
  const box = document.querySelector("#le-change :is(input, textarea)");
  if (!phrase || !box) return;
  box.value = `${phrase} => `;
  box.dispatchEvent(new Event("input", {bubbles: true}));
  box.focus();
});
"""


class EditTab(Tab):
    """Edits an image by its caption, with the models of a page."""

    title = "Edit"

    def __init__(self, models: Models) -> None:
        self._models = models
        self._examples = models.examples()

    def add(self) -> None:
        images = [Image.open(path) for path in self._examples]
        examples = thumbnails(images, ["" for _ in images])
        with gr.Row():
            with gr.Column(scale=2):
                self.upload = gr.HTML(zone(*_DROP), js_on_load=UPLOAD, elem_id="le-upload", padding=False)
                if examples:
                    examples = f"<p>or take one of these:</p>{examples}"
                self.examples = gr.HTML(
                    examples, js_on_load=CHOOSE, elem_id="le-examples", visible=bool(examples), padding=False
                )
                self.preview = gr.HTML(elem_id="le-preview")
                with gr.Tabs() as self.tabs:
                    with gr.Tab("Change", id="change"):
                        self._add_change()
                    with gr.Tab("Discover", id="discover"):
                        self._add_discover()
                self._add_model()
            with gr.Column(scale=3):
                self._add_result()
        self._buttons = [
            self.edit,
            self.discover,
            self.undo,
            self.keep_edit,
            self.save_image,
            self.save_direction,
            self.save_record,
        ]
        self.controls = [*self._buttons, self.cancel]

    def _add_change(self) -> None:
        info = "OLD => NEW replaces words of the caption; => NEW adds, OLD => removes. Or the name of a direction file."
        self.texts = [_text("What to change", info, "=> glasses", elem_id="le-change")]
        self.phrases = gr.HTML(js_on_load=_PHRASE, elem_id="le-phrases", padding=False)
        with gr.Row():
            self.edit = button("Edit", "le-edit", size="lg", variant="primary")
            self.cancel = cancel_button("le-cancel")
        self.working = gr.HTML(elem_id="le-working", elem_classes="le-working")
        with gr.Accordion("Source caption", open=False):
            info = "Written by the model's captioner. Correct any mistakes: the edit starts from this caption."
            self.caption = gr.Textbox(
                label="Source caption", info=info, lines=2, max_length=_MAX_LETTERS, elem_id="le-caption"
            )
        with gr.Accordion("More changes, and the strength of each", open=False):
            self.strengths = [_strength()]
            for number in range(2, MAX_CHANGES + 1):
                self.texts.append(_text(f"Change {number}", None, "a smile => a sad mouth"))
                self.strengths.append(_strength())
            add = chooser("Add a direction file", ".safetensors")
            self.direction = gr.HTML(add, js_on_load=UPLOAD, elem_id="le-direction", padding=False)

    def _add_discover(self) -> None:
        gr.HTML(
            "<p>Find the directions along which this image changes most, without a caption. This takes thousands "
            "of network evaluations. Click a direction to use it as a change.</p>"
        )
        self.rank = gr.Slider(1, 10, value=4, step=1, label="Number of directions")
        info = "High for large changes, low for details"
        self.level = gr.Slider(0.2, 0.95, value=0.85, step=0.05, label="Noise level", info=info)
        self.discover = button("Discover", "le-discover", size="lg", variant="primary")
        self.discovered = gr.HTML(js_on_load=CHOOSE, elem_id="le-discovered", min_height=120)

    def _add_model(self) -> None:
        with gr.Accordion("Model and method", open=False):
            self.model = gr.Dropdown(self._models.names, label="Model")
            methods = [("default for the model", ""), *EDITORS.names()]
            self.method = gr.Dropdown(methods, label="Method")

    def _add_result(self) -> None:
        self.viewer = gr.HTML(fragments.edit_example(), elem_id="le-result", min_height=240, padding=False)
        self.strength = gr.Number(0, visible="hidden", elem_id="le-strength")  # set by the viewer, see layout
        with gr.Row():
            self.undo = button("Undo", "le-undo")
            self.keep_edit = button("Keep the change", "le-keep-edit")
            self.save_image = button("Save image", "le-save-image")
            self.save_direction = button("Save direction", "le-save-direction")
            self.save_record = button("Save record", "le-save-record")
        self.facts = gr.HTML(elem_id="le-facts")
        self.history = gr.HTML(js_on_load=CHOOSE, elem_id="le-history")

    def status(self, visit: Visit) -> Update:
        visit = cast("EditVisit", visit)
        entry = visit.current
        edit = None if entry is None else entry.edit
        able: dict[Component, object] = {
            self.edit: entry,
            self.discover: entry,
            self.undo: entry and (entry.before or entry.payload),
            self.keep_edit: entry and entry is not visit.entries[0],
            self.save_image: len(visit.entries) > 1,
            self.save_direction: edit and edit.directions,
            self.save_record: edit,
        }
        shown = {one: gr.update(interactive=bool(able[one])) for one in self._buttons}
        return {**shown, self.cancel: gr.update(visible=visit.busy)}

    def connect(self, page: Page) -> None:
        self._page, at, cancel = page, page.visit, self.cancel
        screen = [*page.status, self.preview, self.caption, self.phrases, self.viewer, self.facts, self.history]
        screen.append(self.strength)
        shows: dict[str, Any] = {"show_progress_on": [self.viewer, self.working]}
        request = [at, self.model, self.method, self.caption, self.strength, *self.texts, *self.strengths]
        for event in (self.upload.upload, self.examples.click):
            event(None, None, [self.edit], js=DISABLE, **page.quick)  # until there is a caption
        page.on(self.upload.upload, self._open, [at, self.model], screen, cancel, **shows)
        page.on(self.examples.click, self._open_example, [at, self.model], screen, cancel, **shows)
        for event in (self.edit.click, self.texts[0].submit):
            page.on(event, self._edit, request, screen, cancel, **shows)
        page.on(page.message.click, functools.partial(self._edit, force=True), request, screen, cancel, **shows)
        page.on(self.undo.click, self._undo, [at, self.model], screen, cancel, **shows)
        found: dict[str, Any] = {"show_progress_on": [self.discovered, self.working]}
        values = [at, self.model, self.rank, self.level]
        page.on(self.discover.click, self._discover, values, [*page.status, self.discovered], cancel, **found)
        for event, files, values in (
            (self.save_image.click, lambda visit, _, strength: [visit.image_file(strength)], True),
            (self.save_direction.click, lambda visit, *_: visit.direction_files(), False),
            (self.save_record.click, lambda visit, _, strength: [visit.record_file(strength)], True),
        ):
            given = [self.strength] * values
            page.saves(event, files, given, cancel, shown=[self.history], show=self._show_history)
        kept: Any = page.tabs[0]
        self._show_pair: Callable[[Visit], Update] = kept.show
        shown = [*kept.shown, page.sections, self.history]
        page.on(self.keep_edit.click, self._keep_edit, [at, self.strength], shown, cancel, **shows)
        self.history.click(self._go_to, [at], screen, **page.quick)
        changed = [*page.status, self.tabs, *self.texts]
        self.discovered.click(self._take_direction, [at, *self.texts], changed, **page.quick)
        self.direction.upload(self._add_direction, [at, self.model, *self.texts], changed, **page.task)

    def _open(
        self, visit: EditVisit | None, model: str, event: gr.EventData, progress: gr.Progress = PROGRESS
    ) -> Update:
        def read(visit: EditVisit) -> None:
            path = self._page.uploaded(visit, event)
            visit.open(path.read_bytes(), path.name, model=model, progress=reported(progress))

        return self._do(visit, read)

    def _open_example(
        self, visit: EditVisit | None, model: str, event: gr.EventData, progress: gr.Progress = PROGRESS
    ) -> Update:
        def read(visit: EditVisit) -> None:
            path = chosen(self._examples, event)
            visit.open(path.read_bytes(), path.name, model=model, progress=reported(progress))

        return self._do(visit, read)

    def _edit(
        self,
        visit: EditVisit | None,
        model: str,
        method: str,
        caption: str,
        strength: float | None,
        progress: gr.Progress = PROGRESS,
        *changes: Any,
        force: bool = False,
    ) -> Update:
        pairs = zip(changes[: len(changes) // 2], changes[len(changes) // 2 :], strict=True)
        edits = [PageChange(text=text or "", strength=share) for text, share in pairs]

        def edit(visit: EditVisit) -> Update:
            report = reported(progress)
            visit.settle(strength, progress=report)
            source: dict[str, Any] = {"model": model, "method": method or None, "caption": caption or ""}
            try:
                visit.edit(edits, **source, force=force, progress=report)
            except UnknownImageError as error:
                return {self._page.message: message(f"{error}. {_ELSEWHERE}", button="Edit it anyway")}
            return self._screen(visit)

        return self._page.perform(visit, edit)

    def _keep_edit(self, visit: EditVisit | None, strength: float | None, progress: gr.Progress = PROGRESS) -> Update:
        """Put the change of an edit onto the first image, in the first tab."""

        def compare(visit: EditVisit) -> Update:
            visit.keep_edit(strength, progress=reported(progress))
            tab = {self._page.sections: gr.Tabs(selected=self._page.tabs[0].title)}
            return {**self._show_pair(visit), **tab, **self._show_history(visit)}

        return self._page.perform(visit, compare)

    def _show_history(self, visit: EditVisit) -> Update:
        return {self.history: fragments.history(visit.entries, visit.current)}

    def _undo(self, visit: EditVisit | None, model: str, progress: gr.Progress = PROGRESS) -> Update:
        return self._do(visit, lambda visit: visit.undo(model=model, progress=reported(progress)))

    def _go_to(self, visit: EditVisit | None, event: gr.EventData) -> Update:
        return self._do(visit, lambda visit: visit.go_to(clicked(event)))

    def _discover(
        self, visit: EditVisit | None, model: str, rank: int, level: float, progress: gr.Progress = PROGRESS
    ) -> Update:
        def discover(visit: EditVisit) -> Update:
            report = reported(progress)
            found = visit.discover(model=model, rank=int(rank), level=level, progress=report)
            return {self.discovered: discovered(found)}

        return self._page.perform(visit, discover)

    def _take_direction(self, visit: EditVisit | None, event: gr.EventData, *texts: str) -> Update:
        def take(visit: EditVisit) -> Update:
            return self._insert(texts, chosen(visit.discovered, event))

        return self._page.perform(visit, take)

    def _add_direction(self, visit: EditVisit | None, model: str, event: gr.EventData, *texts: str) -> Update:
        def add(visit: EditVisit) -> Update:
            path = self._page.uploaded(visit, event)
            return self._insert(texts, visit.add_direction(path, model=model))

        return self._page.perform(visit, add)

    def _insert(self, texts: Sequence[str], name: str) -> Update:
        """Put the name of a direction into the first empty field."""
        free = [box for box, text in zip(self.texts, texts, strict=True) if not (text or "").strip()]
        if not free:
            raise ConfigError(f"all {len(texts)} changes are in use. Clear a field first")
        note = message(f"Added {name} to the changes.", kind="note")
        return {free[0]: name, self.tabs: gr.Tabs(selected="change"), self._page.message: note}

    def _do(self, visit: EditVisit | None, task: Callable[[EditVisit], object]) -> Update:
        """Perform a task, and show the state afterwards."""

        def show(visit: EditVisit) -> Update:
            task(visit)
            return self._screen(visit)

        return self._page.perform(visit, show)

    def _screen(self, visit: EditVisit) -> Update:
        if (entry := visit.current) is None:
            return {}
        phrases = [phrase.text for phrase in Caption.of(entry.caption).phrases]
        viewer = _EMPTY
        if entry.edit is not None:  # the viewer blends between strengths, so that the page saves, not the viewer
            viewer = fragments.edited(view(entry.edit.results), entry.strength)
        return {
            self.preview: fragments.figure(entry.image.image, entry.caption or "current image", entry.notes),
            self.caption: entry.caption,
            self.phrases: fragments.phrases(phrases),
            self.viewer: viewer,
            self.facts: "" if entry.edit is None else fragments.facts(entry.edit),
            self.history: fragments.history(visit.entries, entry),
            self.strength: entry.strength,
        }


def discovered(discovery: Discovery) -> str:
    """One button for each direction: the image at -2 and 2 steps along it, and the name."""
    scales = [SCALES.index(-2.0), SCALES.index(2.0)]
    names = [item.probe.meaning.name for item in discovery.directions]
    pairs: list[Tensor] = []
    for item in discovery.directions:
        if item.probe.images is not None:
            images = item.probe.images[scales]
            pairs.append(torch.cat(tuple(images), dim=-1))
    return thumbnails(to_images(torch.stack(pairs)), names)


def _text(label: str, info: str | None, placeholder: str, **more: Any) -> gr.Textbox:
    return gr.Textbox(label=label, info=info, placeholder=placeholder, max_length=_MAX_LETTERS, **more)


def _strength() -> gr.Slider:
    return gr.Slider(-1, 2, value=1, step=0.05, label="Strength", info="0: original, 1: full change")
