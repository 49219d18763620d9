"""HTML of the page. All text of visitors and files is escaped."""

import base64
import dataclasses
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from latentedit.keeping.api import KeepResult
from latentedit.photo.color import shown
from latentedit.photo.images import PixelImage
from latentedit.pixels.analysis import SeparateChange
from latentedit.viewer.view import View, ViewerFrame

_THUMBNAIL_PX = 96
_WIPE_PX = 1200
QUALITY = 90  # WebP quality of a pair and its result; what is saved is exact

EXAMPLE = "Example"
_DROP = "Drop a photograph and its edited image to see your own."
_SANDBOX = "allow-scripts"  # gives the viewer's frame a separate origin, without access to the page and its cookies
_IMAGES = "image/*,.heic,.heif,.avif"  # files that a browser offers; the server refuses those that it cannot read


def data_url(image: Image.Image, *, longest_px: int, kind: str = "png") -> str:
    """An image as a data URL, so that the server stores no file."""
    small, file = shown(image).copy(), io.BytesIO()
    small.info.clear()
    small.thumbnail((longest_px, longest_px))
    small.save(file, format=kind, quality=QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def message(text: str, *, kind: str = "error", button: str = "") -> str:
    """One line for the visitor; a screen reader reads the kind "error" at once."""
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
    """A line above what the visitor did not make."""
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
