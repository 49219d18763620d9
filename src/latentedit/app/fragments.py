"""HTML of the tab *Edit*. All text of visitors, captions and files is escaped."""

import dataclasses
import functools
from collections.abc import Sequence
from html import escape
from pathlib import Path

import torch
from PIL import Image

from latentedit.app.visitor import HistoryEntry, PageEdit
from latentedit.editing.discovery import SCALES, Discovery
from latentedit.editing.result import EditResult, view
from latentedit.encoding.captions.base import to_images
from latentedit.encoding.captions.change import Caption
from latentedit.page.fragments import QUALITY, bullets, data_url, example, frame, thumbnails
from latentedit.viewer.view import View, ViewerFrame

_PREVIEW_PX = 640
_EXACT_PIXELS = 1_000_000  # largest edit that is sent without loss
_EDIT = ("portrait", "portrait-glasses")


@functools.cache
def edit_example() -> str:
    """A finished edit, by the model portraits: `latentedit edit portrait.png --change "=> glasses"`."""
    before, after = (Image.open(Path(__file__).with_name("example") / f"{name}.png") for name in _EDIT)
    frames = [ViewerFrame(strength=1.0, image=after, verdict="done")]
    made = View(source=before, frames=frames, title="Example: => glasses, by the model portraits", steps=True)
    return example("Choose an image, write a change and press Edit: your own edit replaces this one.") + frame(made)


def edited(results: Sequence[EditResult], strength: float) -> str:
    """The viewer with an edit at several strengths; large images are compressed, as the page saves the exact ones."""
    width, height = results[0].image.size
    quality = QUALITY if width * height > _EXACT_PIXELS else None
    return frame(dataclasses.replace(view(results), start=strength, quality=quality))


def figure(image: Image.Image, alt: str, notes: Sequence[str], *, name: str = "") -> str:
    """An image with its name, size and notes."""
    url, (width, height) = data_url(image, longest_px=_PREVIEW_PX), image.size
    about = f"<figcaption>{escape(name)}{'<br>' * bool(name)}{width} x {height} px</figcaption>"
    return f'<figure class="le-preview"><img src="{url}" alt="{escape(alt)}">{about}</figure>{bullets(notes)}'


def phrases(caption: str) -> str:
    """The phrases of a caption as buttons; a click begins a change of it, see `tab`."""
    found = [escape(phrase.text) for phrase in Caption.of(caption).phrases if phrase.text.strip()]
    buttons = (f'<button type="button" data-phrase="{text}">{text}</button>' for text in found)
    return f'<div class="le-phrases">Replace: {" ".join(buttons)}</div>' if found else ""


def history(entries: Sequence[HistoryEntry], current: HistoryEntry | None) -> str:
    """All images of the session, oldest first."""
    chosen = next((index for index, entry in enumerate(entries) if entry is current), None)
    return thumbnails([entry.image.image for entry in entries], [entry.title for entry in entries], chosen=chosen)


def facts(edit: PageEdit) -> str:
    """Notes and cost, and the cross-talk of several directions; the viewer has the verdict."""
    notes = dict.fromkeys(note for result in edit.results for note in result.notes)
    spent = f"{edit.evaluations} evaluations, {edit.seconds:.1f} s ({len(edit.results)} strengths, with verdicts)"
    return bullets([*notes, spent]) + _cross_talk(edit.results[-1], list(edit.directions))


def discovered(discovery: Discovery) -> str:
    """One button for each direction: the image at -2 and 2 steps along it, and the name."""
    scales = [SCALES.index(-2.0), SCALES.index(2.0)]
    images = [item.probe.images for item in discovery.directions]
    pairs = torch.stack([torch.cat(tuple(made[scales]), dim=-1) for made in images if made is not None])
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
