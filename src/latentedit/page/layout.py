"""Common parts of all tabs of the page: scripts, styles, buttons."""

from importlib import resources
from typing import Any

import gradio as gr

# A click on one of several buttons sends its index.
CHOOSE = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-index]");
  if (button) trigger("click", {index: Number(button.dataset.index)});
});
"""

# A file that is dropped or chosen is uploaded; its place at the server is sent, or none.
UPLOAD = """
const send = async ([file]) => {
  if (!file) return;
  element.classList.add("le-sending");
  const path = await upload(file).then((sent) => sent.path, () => "");
  element.classList.remove("le-sending");
  trigger("upload", {path});
};
element.addEventListener("change", (event) => { send(event.target.files); event.target.value = ""; });
element.addEventListener("dragover", (event) => event.preventDefault());
element.addEventListener("drop", (event) => { event.preventDefault(); send(event.dataTransfer.files); });
"""

# Strokes have changed; the text box with them does not tell, as it is hidden.
PAINT = 'element.addEventListener("paint", () => trigger("input"));'

# Downloads are sent to the browser as text, so that the server stores no file.
DOWNLOAD = """
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

# At the start of a task; at its end the server enables what can act then, and hides what cancels.
DISABLE, SHOW = (f"() => ({{__type__: 'update', {what}}})" for what in ("interactive: false", "visible: true"))

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


def _resource(name: str) -> str:
    return resources.files("latentedit.page").joinpath(name).read_text("utf-8")


HEAD = f'<meta name="color-scheme" content="light dark">{_LISTEN}<script>{_resource("brush.js")}</script>'


def style() -> str:
    """The page's own style sheet."""
    return _resource("page.css")


def theme() -> gr.themes.Base:
    """Gradio's default theme with system fonts, so that no font is downloaded, and legible hints."""
    text, code = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
    return gr.themes.Default(primary_hue="blue", font=text, font_mono=code).set(
        block_info_text_color="*neutral_500", layout_gap="*spacing_md"
    )


def button(text: str, name: str, **looks: Any) -> gr.Button:
    """A button that is disabled until it can do something."""
    looks = {"size": "sm", "interactive": False, **looks}
    return gr.Button(text, elem_id=name, min_width=100, **looks)


def cancel_button(name: str) -> gr.Button:
    """A button that is there only while something runs."""
    return button("Cancel", name, visible=False, interactive=True)
