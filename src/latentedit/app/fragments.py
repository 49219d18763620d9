"""HTML of the page. All text of visitors, captions and files is escaped."""

import base64
import io
from collections.abc import Sequence
from html import escape

import torch
from PIL import Image

from latentedit.app.visitor import HistoryEntry, PageEdit
from latentedit.editing.discovery import SCALES, Discovery
from latentedit.editing.result import EditResult
from latentedit.latents.captions.base import to_images
from latentedit_keep.base.color import shown
from latentedit_keep.base.images import PixelImage
from latentedit_keep.checking import CheckResult

_THUMBNAIL_PX = 96
_PREVIEW_PX = 640

_SANDBOX = "allow-scripts"  # gives the viewer's frame a separate origin, without access to the page and its cookies


def data_url(image: Image.Image, *, longest_px: int) -> str:
    """An image as a data URL, so that the server stores no file."""
    small, file = shown(image).copy(), io.BytesIO()
    small.info.clear()
    small.thumbnail((longest_px, longest_px))
    small.save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def message(text: str, *, kind: str = "error", button: str = "") -> str:
    """One line for the visitor; a screen reader reads the kind "error" at once."""
    role = "alert" if kind == "error" else "status"
    after = f' <button type="button" data-index="0">{escape(button)}</button>' if button else ""
    return f'<p class="le-message le-{kind}" role="{role}">{_plain(text)}{after}</p>'


def _plain(text: str) -> str:
    """A message of the library, without backquotes around its parameters."""
    return escape(text.replace("`", ""))


def frame(page: str) -> str:
    """A page such as the viewer, in a frame without access to the page around it."""
    return f'<iframe class="le-viewer" title="edit" sandbox="{_SANDBOX}" srcdoc="{escape(page)}"></iframe>'


def current_figure(entry: HistoryEntry) -> str:
    """The current image with its notes."""
    return _figure(entry.image.image, entry.caption or "current image", entry.notes)


def photograph(image: PixelImage) -> str:
    """An image of a pair with its notes."""
    return _figure(image.image, image.name, image.info.get("notes", ()))


def _figure(image: Image.Image, alt: str, notes: Sequence[str]) -> str:
    url, (width, height) = data_url(image, longest_px=_PREVIEW_PX), image.size
    about = f"<figcaption>{width} x {height} px</figcaption>"
    figure = f'<figure class="le-preview"><img src="{url}" alt="{escape(alt)}">{about}</figure>'
    return figure + f'<ul class="le-notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>'


def thumbnails(images: Sequence[Image.Image], labels: Sequence[str], *, chosen: int | None = None) -> str:
    """Images as buttons; a click sends the index, see `layout`."""
    buttons = [
        f'<button type="button" data-index="{index}" aria-pressed="{str(index == chosen).lower()}" '
        f'title="{escape(label)}"><img src="{data_url(image, longest_px=_THUMBNAIL_PX)}" alt="">'
        f"<span>{escape(label)}</span></button>"
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    return f'<div class="le-images">{"".join(buttons)}</div>' if buttons else ""


def history(entries: Sequence[HistoryEntry], current: HistoryEntry | None) -> str:
    """All images of the session, oldest first."""
    chosen = next((index for index, entry in enumerate(entries) if entry is current), None)
    return thumbnails([entry.image.image for entry in entries], [entry.title for entry in entries], chosen=chosen)


def facts(edit: PageEdit) -> str:
    """Verdict and cost of the full change, and the cross-talk of several directions."""
    last = edit.results[-1]
    strengths = ", ".join(f"{strength:.2f}" for strength in last.strengths)
    spent = f"{edit.evaluations} evaluations, {edit.seconds:.1f} s ({len(edit.results)} strengths, with verdicts)"
    rows = [("verdict", last.verdict.text), ("strength", strengths), ("cost", spent)]
    notes = dict.fromkeys(note for result in edit.results for note in result.notes)
    rows += [("note", note) for note in notes]
    return _table(rows) + _cross_talk(last, list(edit.directions))


def checked(result: CheckResult) -> str:
    """What changed, what else changed, and what is uncertain."""
    report = result.report
    rows = [("what changed", report.verdict)]
    rows += [("what else changed", text) for text in report.also or ("nothing that could be measured",)]
    return _table([*rows, *(("note", doubt) for doubt in report.doubts)])


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th scope='row'>{escape(name)}</th><td>{_plain(text)}</td></tr>" for name, text in rows)
    return f'<table class="le-facts">{cells}</table>'


def discovered(discovery: Discovery) -> str:
    """One button for each direction: the image at -2 and 2 steps along it, and the name."""
    scales = [SCALES.index(-2.0), SCALES.index(2.0)]
    pairs = torch.stack([torch.cat(tuple(item.probe.images[scales]), dim=-1) for item in discovery.directions])
    return thumbnails(to_images(pairs), [item.probe.meaning.name for item in discovery.directions])


def _cross_talk(result: EditResult, names: Sequence[str]) -> str:
    if result.cross_talk is None:
        return ""
    heads = "".join(f"<th scope='col'>{escape(name)}</th>" for name in names)
    rows = [
        f"<tr><th scope='row'>{escape(name)}</th>{''.join(f'<td>{value:+.3f}</td>' for value in row)}</tr>"
        for name, row in zip(names, result.cross_talk.tolist(), strict=True)
    ]
    caption = "Cross-talk: share of the column's change that the row's change includes"
    return f'<table class="le-cross-talk"><caption>{caption}</caption><tr><td></td>{heads}</tr>{"".join(rows)}</table>'
