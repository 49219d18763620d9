"""What stands where on the page. Nothing happens here; see `page`."""

import dataclasses
from collections.abc import Sequence
from importlib import resources

import gradio as gr

from latentedit.app.visit import MAX_CHANGES, MAX_PIXELS, Visit
from latentedit.core.plugins import EDITORS

STATE_SECONDS = 3600
"""For how long a visit that is not used is remembered."""

CACHE_SECONDS = (600, 3600)
"""How often gradio looks for old files of its own, and how old these are; see `Blocks.delete_cache`."""

MAX_LETTERS = 2000
"""Of a caption or a change."""

_CHOOSE = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-index]");
  if (button) trigger("click", {index: Number(button.dataset.index)});
});
"""
"""Of buttons: a click tells which."""

_LISTEN = """
<script>
addEventListener("message", (event) => {
  const frame = document.querySelector("iframe.le-viewer"), told = event.data?.latentedit;
  if (!told || event.source !== frame?.contentWindow) return;
  if (told.height > 0) frame.style.height = `${Math.min(Number(told.height), Math.max(1200, 1.2 * innerHeight))}px`;
  const box = document.querySelector("#le-strength input[type=number]");
  if (box && Number.isFinite(told.strength)) {
    box.value = told.strength;
    box.dispatchEvent(new Event("input", {bubbles: true}));
  }
});
</script>
"""
"""The viewer tells where its slider stands, and how high it is; this strength is what is saved and edited on."""

EMPTY = '<p class="le-empty">Here the edit appears, beside the original, with a slider for its strength.</p>'

HEAD = f'<meta name="color-scheme" content="light dark">{_LISTEN}'


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureParts:
    """The picture to edit."""

    upload: gr.File
    examples: gr.HTML
    preview: gr.HTML
    caption: gr.Textbox


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChangeParts:
    """What should change: text and strength, a pair each."""

    texts: list[gr.Textbox]
    strengths: list[gr.Slider]
    direction: gr.UploadButton
    edit: gr.Button


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DiscoverParts:
    """Directions that nobody named."""

    rank: gr.Slider
    level: gr.Slider
    look: gr.Button
    found: gr.HTML


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResultParts:
    """What came of it, and what can be done with it."""

    viewer: gr.HTML
    strength: gr.Number
    undo: gr.Button
    save_picture: gr.Button
    save_direction: gr.Button
    save_record: gr.Button
    facts: gr.HTML
    history: gr.HTML


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Everything that handlers read and write.

    Args:
        visit: the visitor's `Visit`.
        said: one line about what happened; a click on its button edits a picture that the model does not know.
        gift: files on their way to the visitor, as JSON.
        tabs: "change" and "discover".
        working: where progress is seen beside the buttons that start tasks.
    """

    visit: gr.State
    said: gr.HTML
    gift: gr.Textbox
    tabs: gr.Tabs
    working: gr.HTML
    model: gr.Dropdown
    method: gr.Dropdown
    cancel: gr.Button
    picture: PictureParts
    change: ChangeParts
    discover: DiscoverParts
    result: ResultParts


def style() -> str:
    """The page's own style sheet."""
    return resources.files("latentedit.app").joinpath("page.css").read_text("utf-8")


def theme() -> gr.themes.Base:
    """Gradio's own, in the fonts of the visitor's machine: nothing is fetched for them."""
    return gr.themes.Default(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"))


def lay_out(models: Sequence[str], examples: str) -> tuple[gr.Blocks, Parts]:
    """The page without its events.

    Args:
        models: names, the first one chosen.
        examples: HTML of pictures to begin with.
    """
    with gr.Blocks(title="latentedit", delete_cache=CACHE_SECONDS, analytics_enabled=False) as blocks:
        visit = gr.State(time_to_live=STATE_SECONDS, delete_callback=_close)
        gr.HTML("<h1>latentedit</h1><p>Say what should change in a picture, then choose how much.</p>")
        said = gr.HTML(js_on_load=_CHOOSE, elem_id="le-said")
        gift = gr.Textbox(visible="hidden", elem_id="le-gift")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                picture = _picture(examples)
                with gr.Tabs() as tabs:
                    with gr.Tab("Change", id="change"):
                        change = _change()
                    with gr.Tab("Discover", id="discover"):
                        discover = _discover()
                with gr.Accordion("Model and method", open=False):
                    model = gr.Dropdown(list(models), value=models[0], label="Model")
                    method = gr.Dropdown([("default for the model", ""), *EDITORS.names()], value="", label="Method")
                working = gr.HTML(elem_id="le-working")
                cancel = gr.Button("Cancel what runs", size="sm", elem_id="le-cancel")
            with gr.Column(scale=3, min_width=320):
                result = _result()
    return blocks, Parts(
        visit=visit,
        said=said,
        gift=gift,
        tabs=tabs,
        working=working,
        model=model,
        method=method,
        cancel=cancel,
        picture=picture,
        change=change,
        discover=discover,
        result=result,
    )


def _close(visit: object) -> None:
    """The state of a page is forgotten, and the visit with it."""
    if isinstance(visit, Visit):
        visit.close()


def _picture(examples: str) -> PictureParts:
    limit = f"A picture: up to 20 MB and {MAX_PIXELS // 1_000_000} megapixels"
    return PictureParts(
        upload=gr.File(label=limit, file_types=["image"], height=140, elem_id="le-upload"),
        examples=gr.HTML(examples, js_on_load=_CHOOSE, elem_id="le-examples", visible=bool(examples)),
        preview=gr.HTML(elem_id="le-preview"),
        caption=gr.Textbox(
            label="What it shows",
            info="Read from the picture. Correct it where it is wrong: edits start from these words.",
            lines=2,
            max_length=MAX_LETTERS,
            elem_id="le-caption",
        ),
    )


def _change() -> ChangeParts:
    info = "OLD => NEW in the words above. Leave OLD empty to add, NEW to remove; or the name of a direction."
    texts, strengths = [_text("What should change", info, "=> glasses")], [_strength()]
    with gr.Accordion("More changes at once", open=False):
        for number in range(2, MAX_CHANGES + 1):
            texts.append(_text(f"Change {number}", None, "a smile => a sad mouth"))
            strengths.append(_strength())
    direction = gr.UploadButton(
        "Add a direction's file", file_types=[".safetensors"], size="sm", elem_id="le-direction"
    )
    edit = gr.Button("Edit", variant="primary", elem_id="le-edit")
    return ChangeParts(texts=texts, strengths=strengths, direction=direction, edit=edit)


def _text(label: str, info: str | None, placeholder: str) -> gr.Textbox:
    return gr.Textbox(label=label, info=info, placeholder=placeholder, max_length=MAX_LETTERS)


def _strength() -> gr.Slider:
    return gr.Slider(-1, 2, value=1, step=0.05, label="Strength", info="0 is the picture, 1 the whole change")


def _discover() -> DiscoverParts:
    gr.HTML(
        "<p>Directions in which this picture can change most, found without words: it takes many "
        "evaluations of the network. A click on one takes it as a change.</p>"
    )
    rank = gr.Slider(1, 10, value=4, step=1, label="How many")
    level = gr.Slider(0.2, 0.95, value=0.85, step=0.05, label="Noise level", info="High: large changes; low: details")
    look = gr.Button("Discover", variant="primary", elem_id="le-discover")
    found = gr.HTML(js_on_load=_CHOOSE, elem_id="le-discovered", min_height=120)
    return DiscoverParts(rank=rank, level=level, look=look, found=found)


def _button(text: str, name: str) -> gr.Button:
    return gr.Button(text, size="sm", elem_id=name, min_width=100)


def _result() -> ResultParts:
    viewer = gr.HTML(EMPTY, elem_id="le-result", min_height=240)
    strength = gr.Number(0, visible="hidden", elem_id="le-strength")  # the viewer's own, see _LISTEN
    with gr.Row():
        undo = _button("Undo", "le-undo")
        save_picture = _button("Save picture", "le-save-picture")
        save_direction = _button("Save direction", "le-save-direction")
        save_record = _button("Save record", "le-save-record")
    return ResultParts(
        viewer=viewer,
        strength=strength,
        undo=undo,
        save_picture=save_picture,
        save_direction=save_direction,
        save_record=save_record,
        facts=gr.HTML(elem_id="le-facts"),
        history=gr.HTML(js_on_load=_CHOOSE, elem_id="le-history"),
    )
