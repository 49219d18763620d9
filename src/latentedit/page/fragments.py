"""HTML of the page. All texts of users, captions and files are escaped."""

import base64
import dataclasses
import functools
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from latentedit.keeping.api import KeepResult
from latentedit.photo.color import shown
from latentedit.photo.images import PixelImage
from latentedit.pixels.analysis import SeparateChange
from latentedit.viewer.view import View, ViewerFrame

if TYPE_CHECKING:
    from latentedit.editing.result import EditResult
    from latentedit.page.edit_visit import HistoryEntry, PageEdit

_THUMBNAIL_PX = 96
_WIPE_PX = 1200
_PREVIEW_PX = 640
_EXACT_PIXELS = 1_000_000  # largest edit that is sent without loss
QUALITY = 90  # WebP quality of a pair and its result; what is saved is exact

EXAMPLE = "Example"
_EDIT = ("portrait", "portrait-glasses")
_DROP = "Drop a photograph and its edited image to see your own."
_SANDBOX = "allow-scripts"  # gives the viewer's frame a separate origin, without access to the page and its cookies
_IMAGES = "image/*,.heic,.heif,.avif"  # files that a browser offers; the server refuses those that it cannot read


def data_url(image: Image.Image, *, longest_px: int, kind: str = "png") -> str:
    """An image as a data URL, so that no file is stored."""
    small, file = shown(image).copy(), io.BytesIO()
    small.info.clear()
    small.thumbnail((longest_px, longest_px))
    small.save(file, format=kind, quality=QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def message(text: str, *, kind: str = "error", button: str = "") -> str:
    """One line for the user; a screen reader reads the kind "error" at once."""
    role = "alert" if kind == "error" else "status"
    after = f' <button type="button" data-index="0">{escape(button)}</button>' if button else ""
    return f'<p class="le-message le-{kind}" role="{role}">{_plain(text)}{after}</p>'


def empty(text: str) -> str:
    """A text in place of a viewer."""
    return f'<p class="le-empty">{escape(text)}</p>'


def _plain(text: str) -> str:
    """A message of the library, without backquotes around its parameters."""
    return escape(text.replace("`", ""))


def wipe(original: PixelImage, edited: PixelImage, *, is_example: bool = False) -> str:
    """The viewer with two images, reduced and not aligned."""
    first, second = shown(original.image).convert("RGB"), shown(edited.image).convert("RGB")
    first.thumbnail((_WIPE_PX, _WIPE_PX))
    frames = [ViewerFrame(strength=1.0, image=second.resize(first.size))]
    return _compared(View(source=first, frames=frames, title=original.name or "image"), is_example=is_example)


def example(text: str) -> str:
    """A line above an image that is not the user's."""
    return f'<p class="le-example"><b>{EXAMPLE}.</b> {escape(text)}</p>'


def kept(result: KeepResult, strength: float, *, is_example: bool = False) -> str:
    """The viewer with the original and the result of `keep`."""
    return _compared(dataclasses.replace(result.view(), start=strength), is_example=is_example)


def _compared(view: View, *, is_example: bool) -> str:
    title = f"{EXAMPLE}: {view.title}" if is_example else view.title
    return example(_DROP) * is_example + frame(dataclasses.replace(view, title=title, quality=QUALITY))


def brush(result: KeepResult, chosen: Sequence[int], *, is_example: bool = False) -> str:
    """The result with its changes marked, if there are several, and the brush that restores the original."""
    changes = result.analysis.unmasked.changes
    if not (changes or result.changed_share):
        return empty("No change was kept.")
    (width, height), several = result.original.size, len(changes) > 1
    marks = [_mark(one, result.original.size, on=one.number in chosen) for one in changes if several]
    urls = [data_url(one.image, longest_px=_WIPE_PX, kind="webp") for one in (result.original, result.kept)]
    images = "".join(f'<img hidden alt="" src="{url}">' for url in urls)
    share = min(1.0, _WIPE_PX / max(width, height))
    size = f'width="{round(share * width)}" height="{round(share * height)}"'
    label = "Restore brush: arrow keys move it, the space bar paints. What is painted is the original again."
    return (
        f"{example(_DROP) * is_example}"
        f'<latentedit-brush data-width="{width}" data-height="{height}">'
        f"<p>Paint over what should be the original again.{' Each number marks a change.' if several else ''}</p>"
        f'<div class="le-canvas" style="--ratio: {width / height}">'
        f'<canvas {size} tabindex="0" role="application" aria-label="{label}"></canvas>{"".join(marks)}</div>{images}'
        '<div class="le-brush"><label>Brush size <input type="range" min="1" max="20" value="6"></label>'
        '<button type="button" class="undo">Undo stroke</button>'
        '<button type="button" class="clear">Clear strokes</button></div></latentedit-brush>'
    )


def _mark(change: SeparateChange, size: tuple[int, int], *, on: bool) -> str:
    """A box with its number: above it, where there is no room below it, and within a box of full height."""
    (left, top, right, bottom), (width, height) = change.box, size
    places = {"left": left / width, "top": top / height, "width": (right - left) / width,
              "height": (bottom - top) / height}  # fmt: skip
    style = "; ".join(f"{name}: {100 * share:.3f}%" for name, share in places.items())
    room = "le-above" if top > 0.1 * height else "le-below" if bottom < 0.9 * height else "le-within"
    off = "" if on else " le-off"
    return f'<span class="le-mark {room}{off}" style="{style}" aria-hidden="true"><b>{change.number}</b></span>'


def frame(view: View) -> str:
    """The viewer in a frame without access to the page around it, which saves exact images itself."""
    page = dataclasses.replace(view, saves=False).html
    return f'<iframe class="le-viewer" title="edit" sandbox="{_SANDBOX}" srcdoc="{escape(page)}"></iframe>'


def zone(label: str, what: str, image: PixelImage | None = None) -> str:
    """Where a file is dropped or chosen, with the image that is there; see `layout.UPLOAD`."""
    about, there = what, ""
    if image is not None:
        (width, height), url = image.size, data_url(image.image, longest_px=2 * _THUMBNAIL_PX, kind="webp")
        about, there = f"{image.name}, {width} x {height} px", f'<img src="{url}" alt="">'
    rest = f"<small>{escape(about)}</small>{'<small>Replace it</small>' * (image is not None)}"
    notes = bullets(() if image is None else image.carried.notes)
    return f'<label class="le-zone">{_file(_IMAGES)}{there}<span><b>{escape(label)}</b>{rest}</span></label>{notes}'


def chooser(label: str, accept: str = _IMAGES) -> str:
    """A link that chooses a file; see `layout.UPLOAD`."""
    return f'<label class="le-link">{_file(accept)}{escape(label)}</label>'


def _file(accept: str) -> str:
    return f'<input type="file" accept="{accept}">'


def links(before: str, labels: Sequence[str]) -> str:
    """Words that act; a click sends the index, see `layout.CHOOSE`."""
    buttons = (
        f'<button type="button" class="le-link" data-index="{index}" aria-label="{escape(f"{before} {label}")}">'
        f"{escape(label)}</button>"
        for index, label in enumerate(labels)
    )
    return f"<span>{escape(before)}</span> {' '.join(buttons)}"


def thumbnails(images: Sequence[Image.Image], labels: Sequence[str], *, chosen: int | None = None) -> str:
    """Images as buttons; a click sends the index, see `layout`."""
    buttons = [
        f'<button type="button" data-index="{index}" aria-pressed="{str(index == chosen).lower()}" '
        f'title="{escape(label)}"><img src="{data_url(image, longest_px=_THUMBNAIL_PX)}" alt="">'
        f"<span>{escape(label)}</span></button>"
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    return f'<div class="le-images">{"".join(buttons)}</div>' if buttons else ""


def bullets(lines: Sequence[str]) -> str:
    """A list of notes."""
    return f'<ul class="le-notes">{"".join(f"<li>{_plain(line)}</li>" for line in lines)}</ul>'


@functools.cache
def edit_example() -> str:
    """A finished edit, by the model portraits: `latentedit edit portrait.png --change "=> glasses"`."""
    before, after = (Image.open(Path(__file__).with_name("example") / f"{name}.png") for name in _EDIT)
    frames = [ViewerFrame(strength=1.0, image=after, verdict="done")]
    made = View(source=before, frames=frames, title="Example: => glasses, by the model portraits", steps=True)
    return example("Choose an image, write a change and press Edit: your own edit replaces this one.") + frame(made)


def edited(view: View, strength: float) -> str:
    """The viewer with an edit; large images are compressed, as the page saves the exact ones."""
    width, height = view.frames[0].image.size
    quality = QUALITY if width * height > _EXACT_PIXELS else None
    return frame(dataclasses.replace(view, start=strength, quality=quality))


def figure(image: Image.Image, alt: str, notes: Sequence[str], *, name: str = "") -> str:
    """An image with its name, size and notes."""
    url, (width, height) = data_url(image, longest_px=_PREVIEW_PX), image.size
    about = f"<figcaption>{escape(name)}{'<br>' * bool(name)}{width} x {height} px</figcaption>"
    return f'<figure class="le-preview"><img src="{url}" alt="{escape(alt)}">{about}</figure>{bullets(notes)}'


def phrases(texts: Sequence[str]) -> str:
    """The phrases of a caption as buttons; a click begins a change of it, see `edit_tab`."""
    buttons: list[str] = []
    for text in texts:
        if text.strip():
            phrase = escape(text)
            button = f'<button type="button" data-phrase="{phrase}">{phrase}</button>'
            buttons.append(button)
    if not buttons:
        return ""
    return f'<div class="le-phrases">Replace: {" ".join(buttons)}</div>'


def history(entries: "Sequence[HistoryEntry]", current: "HistoryEntry | None") -> str:
    """All images of the session, oldest first."""
    chosen = next((index for index, entry in enumerate(entries) if entry is current), None)
    return thumbnails([entry.image.image for entry in entries], [entry.title for entry in entries], chosen=chosen)


def facts(edit: "PageEdit") -> str:
    """Notes and cost, and the cross-talk of several directions; the viewer has the verdict."""
    notes = dict.fromkeys(note for result in edit.results for note in result.notes)
    spent = f"{edit.evaluations} evaluations, {edit.seconds:.1f} s ({len(edit.results)} strengths, with verdicts)"
    return bullets([*notes, spent]) + _cross_talk(edit.results[-1], list(edit.directions))


def _cross_talk(result: "EditResult", names: Sequence[str]) -> str:
    if result.cross_talk is None:
        return ""
    heads = "".join(f"<th scope='col'>{escape(name)}</th>" for name in names)
    rows = [
        f"<tr><th scope='row'>{escape(name)}</th>{''.join(f'<td>{value:+.3f}</td>' for value in row)}</tr>"
        for name, row in zip(names, result.cross_talk.tolist(), strict=True)
    ]
    caption = "Cross-talk: share of the column's change that the row's change includes"
    return f'<table class="le-cross-talk"><caption>{caption}</caption><tr><td></td>{heads}</tr>{"".join(rows)}</table>'
