"""The first tab: an original, its edited image, and the original with the change alone."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from latentedit.core.errors import ConfigError
from latentedit.keeping.api import KeepResult, keep
from latentedit.page import fragments
from latentedit.page.downloads import LAYERS, Download
from latentedit.page.layout import CHOOSE, PAINT, UPLOAD, button, cancel_button
from latentedit.page.page import PROGRESS, Page, Tab, Update, chosen, reported
from latentedit.page.visit import Visit
from latentedit.photo.images import PixelImage, read_pixels

ROLES = {
    "original": ("Original", "Drop a photograph here, or choose it"),
    "edited": ("Edited image", "Drop what an editor made of it, or choose it"),
}
_INTRODUCTION = "Drop a photograph and what any editor made of it: you get the photograph with that change alone."
_OTHER = "The two images appear here once both are there."
_NONE = "The changes of your two images appear here: choose among them, and paint parts back."


@functools.cache
def example() -> KeepResult:
    """The finished example: Grace Hopper, by the U.S. Navy, in the public domain, with an edit by `tools.draw`."""
    folder = Path(__file__).with_name("example")
    return keep(*(read_pixels(folder / name) for name in ("photograph.jpg", "edited.jpg")))


class KeepTab(Tab):
    """Keeps only the change of an edited image."""

    title = "Keep only the change"

    def add(self) -> None:
        changes = _changes(example())
        gr.HTML(f"<p>{_INTRODUCTION}</p>", padding=False)
        with gr.Row(elem_id="le-pair"):
            self.zones = {
                role: gr.HTML(fragments.zone(*words), js_on_load=UPLOAD, elem_id=f"le-{role}", padding=False)
                for role, words in ROLES.items()
            }
        self.working = gr.HTML(elem_id="le-keeping", elem_classes="le-working")
        with gr.Tabs():
            with gr.Tab("Compare"):
                shown = fragments.kept(example(), 1.0, is_example=True)
                self.kept = gr.HTML(shown, elem_id="le-kept", min_height=240, padding=False)
            with gr.Tab("Choose and restore"):
                panel = fragments.brush(example(), changes["value"], is_example=True)
                self.brush = gr.HTML(panel, js_on_load=PAINT, elem_id="le-brush", min_height=240, padding=False)
                self.only = gr.CheckboxGroup(**changes, elem_id="le-only")
        with gr.Row(elem_id="le-actions"):
            self.save = button("Save result", "le-save-kept", size="lg", variant="primary", visible=False)
            self.cancel = cancel_button("le-cancel-keep")
            self.layers = gr.HTML(js_on_load=CHOOSE, elem_id="le-layers", padding=False)
            self.mask = gr.HTML(js_on_load=UPLOAD, elem_id="le-mask", padding=False)
            self.unmask = button("Remove the mask", "le-unmask", visible=False, interactive=True)
        self.strokes = gr.Textbox("", visible="hidden", elem_id="le-strokes")  # set by the brush, see brush.js
        self.strength = gr.Number(1, visible="hidden", elem_id="le-kept-strength")  # set by the viewer, see layout
        self.controls = [self.save, self.layers, self.mask, self.unmask, self.cancel]

    def connect(self, page: Page) -> None:
        self._page, result = page, [*page.status, self.kept, self.strength]
        kept = [*result, self.only, self.brush]
        self.shown: list[Component] = [*kept, *self.zones.values(), self.strokes]
        task: dict[str, Any] = {**page.task, "show_progress_on": [self.working]}
        limits = [self.only, self.strokes, self.strength]
        page.saves(self.save.click, _kept_files, limits, self.cancel)
        page.saves(self.layers.click, _layer_files, limits, self.cancel)
        for role, zone in self.zones.items():
            dropped = page.on(zone.upload, self._dropper(role), [page.visit], self.shown, self.cancel, **task)
            page.on(dropped.then, self._keep, [page.visit], kept, self.cancel, **task)
        limits, task["trigger_mode"] = [page.visit, *limits], "always_last"
        page.on(self.only.input, self._limiter(), limits, kept, self.cancel, **task)
        page.on(self.brush.input, self._limiter("paint"), limits, result, self.cancel, **task)
        page.on(self.mask.upload, self._limiter("mask"), limits, kept, self.cancel, **task)
        page.on(self.unmask.click, self._limiter("unmask"), limits, kept, self.cancel, **task)

    def status(self, visit: Visit) -> Update:
        own = bool(visit.kept and visit.pair)
        return {
            self.save: gr.update(visible=own, interactive=own),
            self.layers: fragments.links("Save layers as", list(LAYERS)) if own else "",
            self.mask: fragments.chooser("Use another mask" if visit.mask else "Add a mask") if own else "",
            self.unmask: gr.update(visible=visit.mask is not None),
            self.cancel: gr.update(visible=visit.busy),
        }

    def _dropper(self, role: str) -> Callable[..., Update]:
        """Take one image of a pair, and show both, not yet compared."""

        def drop(visit: Visit | None, event: gr.EventData) -> Update:
            def read(visit: Visit) -> Update:
                visit.drop(role, self._page.uploaded(visit, event))
                both = [visit.pair[role] for role in ROLES if role in visit.pair]
                viewer = fragments.wipe(*both) if len(both) == 2 else fragments.empty(_OTHER)
                nothing = {self.brush: fragments.empty(_NONE), self.only: gr.CheckboxGroup(visible=False)}
                return {**self._show_zone(visit, role), self.kept: viewer, self.strokes: "", **nothing}

            return self._page.perform(visit, read)

        return drop

    def _show_zone(self, visit: Visit, role: str) -> Update:
        """One of the two alone: the focus stays in the other."""
        return {self.zones[role]: fragments.zone(*ROLES[role], visit.pair[role])}

    def _keep(self, visit: Visit | None, progress: gr.Progress = PROGRESS) -> Update:
        def compare(visit: Visit) -> Update:
            if visit.keep_pair(progress=reported(progress)):
                return self._show_kept(visit)
            return {self._page.message: gr.skip()}  # why an image was not read

        return self._page.perform(visit, compare)

    def show(self, visit: Visit) -> Update:
        """The pair and its result, in the components ``shown``."""
        zones = self._show_zone(visit, "original") | self._show_zone(visit, "edited")
        return {**self._show_kept(visit), **zones, self.strokes: visit.strokes}

    def _limiter(self, change: str = "") -> Callable[..., Update]:
        """Keep what is chosen, not painted, and within the mask, which may be added or removed now."""

        def limited(
            visit: Visit | None, only: Sequence[int], strokes: str, strength: float | None, event: gr.EventData
        ) -> Update:
            def limit(visit: Visit) -> Update:
                mask: Path | PixelImage | None = visit.mask
                if change == "unmask":
                    mask = None
                elif change == "mask":
                    mask = self._page.uploaded(visit, event)
                visit.limit(mask=mask, only=only, strokes=strokes)
                # No new brush after a stroke: the next one may have begun.
                return (self._show_result if change == "paint" else self._show_kept)(visit, strength)

            return self._page.perform(visit, limit)

        return limited

    def _show_result(self, visit: Visit, strength: float | None) -> Update:
        if visit.kept is None:
            return {}
        strength = 1.0 if strength is None else strength
        viewer = fragments.kept(visit.kept, strength, is_example=visit.shows_example)
        return {self.kept: viewer, self.strength: strength}

    def _show_kept(self, visit: Visit, strength: float | None = None) -> Update:
        if visit.kept is None:
            return {}
        changes = _changes(visit.kept)
        panel = fragments.brush(visit.unpainted(), changes["value"], is_example=visit.shows_example)
        return {**self._show_result(visit, strength), self.only: gr.CheckboxGroup(**changes), self.brush: panel}


def _changes(kept: KeepResult) -> dict[str, Any]:
    """The choice among the changes of a result; those that it has are marked."""
    found = kept.analysis.unmasked
    names = [(f"{one.number}: {100 * one.share:.2f} %{', faint' * one.faint}", one.number) for one in found.changes]
    return {
        "label": "Changes to keep alone; none for the whole edited image" if found.is_global else "Changes to keep",
        "choices": names,
        "value": list(found.kept_by_default if kept.record.only is None else kept.record.only),
        "visible": len(names) > (not found.is_global),
    }


def _kept_files(
    visit: Visit,
    event: gr.EventData,  # noqa: ARG001 (signature of `Page.saves`)
    only: Sequence[int],
    strokes: str,
    strength: float | None,
    *,
    layers: str = "",
) -> list[Download]:
    if visit.shows_example:
        raise ConfigError("this result is an example. Drop an original and an edited image first")
    visit.limit(mask=visit.mask, only=only, strokes=strokes)  # a stroke may still be waiting
    return visit.kept_files(strength, layers=layers)


def _layer_files(visit: Visit, event: gr.EventData, *limits: Any) -> list[Download]:
    return _kept_files(visit, event, *limits, layers=chosen(list(LAYERS), event))
