"""The controls of the page and their arrangement; `page` says what they do."""

from collections.abc import Sequence
from importlib import resources
from typing import Any

import gradio as gr

from latentedit.app import fragments
from latentedit.app.access import UPLOAD_SECONDS
from latentedit.app.visitor import MAX_CHANGES, MAX_PIXELS
from latentedit.core.plugins import EDITORS

_STATE_SECONDS = 3600  # an unused session is forgotten after this time
_CACHE_SECONDS = (600, UPLOAD_SECONDS)  # interval and age at which gradio forgets its files, see `Blocks.delete_cache`
_PHOTOGRAPHS = ["image", ".heic", ".heif", ".avif"]
_MAX_LETTERS = 2000  # of a caption or a change

# A click on one of several buttons sends its index.
_CHOOSE = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-index]");
  if (button) trigger("click", {index: Number(button.dataset.index)});
});
"""

# Strokes have changed; the text box with them does not tell, as it is hidden.
_PAINT = 'element.addEventListener("paint", () => trigger("input"));'

# At the start of a task; at its end the server enables what can act then.
DISABLE, ENABLE = (f"() => ({{__type__: 'update', interactive: {value}}})" for value in ("false", "true"))

# A viewer reports its height and the strength of its slider, at which the image is saved and edited further.
_LISTEN = """
<script>
addEventListener("message", (event) => {
  const frames = [...document.querySelectorAll("iframe.le-viewer")], state = event.data?.latentedit;
  const frame = frames.find((one) => one.contentWindow === event.source);
  if (!state || !frame) return;
  if (state.height > 0) frame.style.height = `${Math.min(Number(state.height), Math.max(1200, 1.2 * innerHeight))}px`;
  const number = document.querySelector(frame.closest("#le-kept") ? "#le-kept-strength" : "#le-strength");
  const box = number?.querySelector("input");
  if (box && Number.isFinite(state.strength)) {
    box.value = state.strength;
    box.dispatchEvent(new Event("input", {bubbles: true}));
  }
});
</script>
"""

EMPTY = fragments.empty("Write a change and press Edit: the edit appears here, with a slider for the strength.")


def _resource(name: str) -> str:
    return resources.files("latentedit.app").joinpath(name).read_text("utf-8")


HEAD = f'<meta name="color-scheme" content="light dark">{_LISTEN}<script>{_resource("brush.js")}</script>'


def style() -> str:
    """The page's own style sheet."""
    return _resource("page.css")


def theme() -> gr.themes.Base:
    """Gradio's default theme with system fonts, so that no font is downloaded, and legible hints."""
    text, code = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
    return gr.themes.Default(primary_hue="blue", font=text, font_mono=code).set(block_info_text_color="*neutral_500")


class Layout:
    """All controls, without their events; the first model is selected, and the examples are HTML."""

    def __init__(self, models: Sequence[str], examples: str) -> None:
        with gr.Blocks(title="latentedit", delete_cache=_CACHE_SECONDS, analytics_enabled=False) as self.blocks:
            self.visitor = gr.State(time_to_live=_STATE_SECONDS, delete_callback=lambda one: one and one.close())
            gr.HTML("<h1>latentedit</h1>")
            self.message = gr.HTML(js_on_load=_CHOOSE, elem_id="le-message")
            self.files = gr.Textbox(visible="hidden", elem_id="le-downloads")  # downloads, as JSON
            with gr.Tabs() as self.sections:
                with gr.Tab("Keep only the change", id="keep"), gr.Row():
                    self._add_keep()
                with gr.Tab("Edit"), gr.Row():
                    with gr.Column(scale=2):
                        self._add_image(examples)
                        with gr.Tabs() as self.tabs:
                            with gr.Tab("Change", id="change"):
                                self._add_change()
                            with gr.Tab("Discover", id="discover"):
                                self._add_discover()
                        self._add_model(models)
                    with gr.Column(scale=3):
                        self._add_result()

    def _add_keep(self) -> None:
        with gr.Column(scale=2):
            gr.HTML(
                "<p>Drop an image and what any editor made of it. The result has the change alone, on the original's "
                "own pixels. No model is used.</p>"
            )
            with gr.Row():
                self.pair: dict[str, tuple[gr.File, gr.HTML]] = {}
                for role, label in (("original", "Original"), ("edited", "Edited image")):
                    with gr.Column(min_width=140):
                        zone = gr.File(label=label, file_types=_PHOTOGRAPHS, height=120, elem_id=f"le-{role}")
                        self.pair[role] = zone, gr.HTML(elem_id=f"le-{role}-preview")
            with gr.Row():
                self.mask = gr.UploadButton("Add a mask", file_types=["image"], size="sm", elem_id="le-mask")
                self.unmask = _button("Remove the mask", "le-unmask")
            with gr.Row():
                self.save_kept = _button("Save result", "le-save-kept", size="lg", variant="primary")
                self.cancel_keep = _button("Cancel", "le-cancel-keep", size="lg")
            self.save_layers = _button("Save layers", "le-save-layers")
            self.keeping = gr.HTML(elem_id="le-keeping", elem_classes="le-working")
        with gr.Column(scale=3):
            with gr.Tabs():
                with gr.Tab("Compare"):
                    self.kept = gr.HTML(elem_id="le-kept", min_height=240, padding=False)
                with gr.Tab("Choose and restore"):
                    self.brush = gr.HTML(js_on_load=_PAINT, elem_id="le-brush", min_height=240, padding=False)
                    self.only = gr.CheckboxGroup(label="Changes to keep", visible=False, elem_id="le-only")
            self.strokes = gr.Textbox("", visible="hidden", elem_id="le-strokes")  # set by the brush, see brush.js
            self.kept_strength = gr.Number(1, visible="hidden", elem_id="le-kept-strength")  # see _LISTEN

    def _add_image(self, examples: str) -> None:
        limit = f"Image (up to {MAX_PIXELS // 1_000_000} megapixels)"
        self.upload = gr.File(label=limit, file_types=_PHOTOGRAPHS, height=110, elem_id="le-upload")
        self.examples = gr.HTML(examples, js_on_load=_CHOOSE, elem_id="le-examples", visible=bool(examples))
        self.preview = gr.HTML(elem_id="le-preview")

    def _add_change(self) -> None:
        info = "OLD => NEW replaces words of the caption; => NEW adds, OLD => removes. Or the name of a direction file."
        self.texts = [_text("What to change", info, "=> glasses")]
        with gr.Row():
            self.edit = _button("Edit", "le-edit", size="lg", variant="primary")
            self.cancel = _button("Cancel", "le-cancel", size="lg")
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
            self.direction = gr.UploadButton(
                "Add a direction file", file_types=[".safetensors"], size="sm", elem_id="le-direction"
            )

    def _add_discover(self) -> None:
        gr.HTML(
            "<p>Find the directions along which this image changes most, without a caption. This takes thousands "
            "of network evaluations. Click a direction to use it as a change.</p>"
        )
        self.rank = gr.Slider(1, 10, value=4, step=1, label="Number of directions")
        info = "High for large changes, low for details"
        self.level = gr.Slider(0.2, 0.95, value=0.85, step=0.05, label="Noise level", info=info)
        self.discover = _button("Discover", "le-discover", size="lg", variant="primary")
        self.discovered = gr.HTML(js_on_load=_CHOOSE, elem_id="le-discovered", min_height=120)

    def _add_model(self, models: Sequence[str]) -> None:
        with gr.Accordion("Model and method", open=False):
            self.model = gr.Dropdown(list(models), label="Model")
            methods = [("default for the model", ""), *EDITORS.names()]
            self.method = gr.Dropdown(methods, label="Method")

    def _add_result(self) -> None:
        self.viewer = gr.HTML(fragments.edit_example(), elem_id="le-result", min_height=240, padding=False)
        self.strength = gr.Number(0, visible="hidden", elem_id="le-strength")  # set by the viewer, see _LISTEN
        with gr.Row():
            self.undo = _button("Undo", "le-undo")
            self.keep_edit = _button("Keep the change", "le-keep-edit")
            self.save_image = _button("Save image", "le-save-image")
            self.save_direction = _button("Save direction", "le-save-direction")
            self.save_record = _button("Save record", "le-save-record")
        self.facts = gr.HTML(elem_id="le-facts")
        self.history = gr.HTML(js_on_load=_CHOOSE, elem_id="le-history")


def _text(label: str, info: str | None, placeholder: str) -> gr.Textbox:
    return gr.Textbox(label=label, info=info, placeholder=placeholder, max_length=_MAX_LETTERS)


def _strength() -> gr.Slider:
    return gr.Slider(-1, 2, value=1, step=0.05, label="Strength", info="0: original, 1: full change")


def _button(text: str, name: str, **looks: Any) -> gr.Button:
    """A button that is disabled until it can do something."""
    looks = {"size": "sm", **looks}
    return gr.Button(text, elem_id=name, min_width=100, interactive=False, **looks)
