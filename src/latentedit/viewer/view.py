"""Views: an image, the same image at several strengths, and the verdict on each."""

import dataclasses
import difflib
import html
import json
import math
import re
import secrets
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit.core.errors import ConfigError
from latentedit.core.files import plain, write_text
from latentedit.photo.color import shown
from latentedit.photo.decoding import to_eight_bit
from latentedit.photo.saving import pack_chunks
from latentedit.photo.warp import cv2
from latentedit.viewer.page import in_base64, layers_of, viewer_page

_CONVERTED = "Shown and saved in sRGB; the image has another color space."
_PROFILED = "Shown without the image's color profile; saved images include it."
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")
_PHRASES = re.compile(r"[^,]+,?\s*")
_WORDS = re.compile(r"\S+\s*")
_FRAME_HEIGHT_PX = 680  # fits a square image, slider and buttons at the 1,000 px width of a notebook
_REDUCED_PX = 256  # side of the images in which the largest difference is found
_PART = 0.25  # share of the largest difference above which a pixel belongs to it or another
_LONG = 5  # changed phrases of at least so many words are compared word by word
_PUNCTUATION = " ,.;:"


class Record(Protocol):
    """A record, which reproduces a file; `plain` converts it to plain values."""

    def to_json(self) -> str: ...  # one line of text for the file


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewerFrame:
    """The image at one strength.

    Args:
        strength: 0 is the source.
        image: of the source's size, any mode.
        verdict: a few words, such as "partly done (62 %)"; empty if there is no verdict.
        reason: one clause that explains the verdict.
        lines: what changed, one line of text each.
        record: provenance; included in images saved from the page at this strength, as by `EditResult.save`.
        measures: measurements at this strength, as in the JSON file of an edit; part of the record that the page saves.
        payload: data for `undo`, included in saved images.
    """

    strength: float
    image: Image.Image
    verdict: str = ""
    reason: str = ""
    lines: tuple[str, ...] = ()
    record: Record | None = None
    measures: Mapping[str, Any] | None = None
    payload: bytes | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """An image and its edits as a self-contained HTML page.

    Strength 0 is always the source. Between two frames the page shows a blend of both, marked as such.

    Args:
        source: the original image, any mode.
        frames: one for each strength, in any order.
        title: one line.
        caption: source caption; may be empty.
        target_caption: may be empty.
        name: stem of the files that are saved from the page.
        others: images to compare the edit with, besides the source, by name, such as "ground truth".
        quality: WebP quality from 0 to 100, for pages with many small images; lossless if not given.
        start: initial strength; by default 1, or the nearest one available.
        saves: whether the page has buttons that save images and records.
        label: of the side to the right of the wipe.
        steps: the slider takes the strengths of the frames alone, without blends between them.
        marks: numbers to show in the image, with a box of each: left, top, right and bottom in the source's pixels.

    Raises:
        ConfigError: no frames, or a strength that is not finite.

    Example:
        View(source=photo, frames=[Frame(strength=1.0, image=edited)], title="a hat").save("hat.html")
    """

    source: Image.Image
    frames: Sequence[ViewerFrame]
    title: str = "image"
    caption: str = ""
    target_caption: str = ""
    name: str = "image"
    others: Mapping[str, Image.Image] = dataclasses.field(default_factory=dict)
    quality: int | None = None
    start: float | None = None
    saves: bool = True
    label: str = "edited"
    steps: bool = False
    marks: Sequence[tuple[int, Sequence[float]]] = ()

    def __post_init__(self) -> None:
        if not self.frames:
            raise ConfigError("a view needs at least one frame; got none. Give the edited image and its strength")
        for frame in self.frames:
            if not math.isfinite(frame.strength):
                raise ConfigError(f"strengths must be finite numbers; got {frame.strength}. Leave that frame out")

    def __repr__(self) -> str:
        return f"<View {self.title[:80]!r}, {len(self.frames)} strengths>"

    @property
    def html(self) -> str:
        """The page; images of different sizes raise a `ShapeError`."""
        return viewer_page(self.data())

    def save(self, path: str | Path) -> None:
        """Write the page.

        Raises:
            OutputError: the file cannot be written.
            ShapeError: images of different sizes.
        """
        write_text(path, self.html)

    @property
    def iframe(self) -> str:
        """The page in a sandboxed frame, which can neither read nor change the page around it."""
        return (
            f'<iframe title="{html.escape(self.title)}" srcdoc="{html.escape(self.html)}" sandbox="allow-scripts '
            f'allow-downloads" style="display:block;width:100%;height:{_FRAME_HEIGHT_PX}px;border:0"></iframe>'
        )

    def _repr_html_(self) -> str:
        return self.iframe

    def data(self) -> dict[str, Any]:
        """The argument of `page.viewer_element`: plain values, including every image."""
        by_strength = {float(frame.strength): frame for frame in self.frames}
        source = by_strength.get(0.0, ViewerFrame(strength=0.0, image=self.source))
        by_strength[0.0] = dataclasses.replace(source, image=self.source)
        frames, start = [by_strength[strength] for strength in sorted(by_strength)], self.start
        if start is None:  # an edit rather than the source, and a positive strength rather than a negative
            start = min((frame.strength for frame in frames), key=lambda s: (s == 0, s < 0, abs(abs(s) - 1)))
        images = [shown(image) for image in (self.source, *(frame.image for frame in frames), *self.others.values())]
        converted = images[0] is not self.source
        (source, *layers), made = layers_of(images, quality=self.quality)
        exact = made["size"] == self.source.size and self.quality is None and not converted
        profile = None if converted else self.source.info.get("icc_profile")
        width, height = self.source.size
        notes = [note if self.saves else note.replace("Shown and saved", "Shown") for note in made["notes"]]
        words = _marked(self.caption, self.target_caption) if self.target_caption else ([[self.caption, False]], [])
        return {
            "title": self.title,
            "name": _NOT_IN_NAMES.sub("_", self.name).strip("._") or "image",
            **made,
            "notes": [*notes, *([_CONVERTED] if converted else [_PROFILED] if profile else [])],
            "captions": words if self.caption or self.target_caption else [],
            "source": source,
            "others": [{"name": name, **layer} for name, layer in zip(self.others, layers[len(frames) :], strict=True)],
            "profile": in_base64(b"icc\0\0" + zlib.compress(profile, 9)) if profile else "",
            "start": start,
            "saves": self.saves,
            "label": self.label,
            "steps": self.steps,
            "cut": _largest_difference(*images[: len(frames) + 1]),
            # above the middle of each box, as shares of the sides
            "marks": [[at, (left + right) / 2 / width, top / height] for at, (left, top, right, _) in self.marks],
            "between": _blend_record(next((frame.record for frame in frames if frame.record is not None), None)),
            "frames": [_frame_data(*pair, exact=exact) for pair in zip(frames, layers[: len(frames)], strict=True)],
        }


def _largest_difference(source: Image.Image, *frames: Image.Image) -> float:
    """Where the wipe starts: the center of the largest difference, as a share of the width; the middle without one."""
    before = _reduced(source)
    differences = [np.abs(_reduced(frame) - before).max(axis=2) for frame in frames]
    largest = max(differences, key=np.max)
    _, labels, stats, centers = cv2.connectedComponentsWithStats((largest > _PART * largest.max()).astype(np.uint8))
    if len(stats) < 2:
        return 0.5
    weights = np.bincount(labels.ravel(), largest.ravel(), minlength=len(stats))
    return float((centers[1 + weights[1:].argmax(), 0] + 0.5) / largest.shape[1])


def _reduced(image: Image.Image) -> NDArray[np.float32]:
    """The image with at most `_REDUCED_PX` on each side."""
    size = [min(side, _REDUCED_PX) for side in image.size]
    return np.asarray(to_eight_bit(image).convert("RGBA").resize(size, Image.Resampling.BOX), np.float32)


def _frame_data(frame: ViewerFrame, layer: Mapping[str, Any], *, exact: bool) -> dict[str, Any]:
    """One frame for the script; the record goes into a saved image only if its pixels are exactly those of the edit."""
    content = {"record": frame.record, "results": [frame.measures] if frame.measures else []}
    saved = pack_chunks(frame.record.to_json(), frame.payload).chunks if exact and frame.record is not None else ()
    return {
        **layer,
        **{name: getattr(frame, name) for name in ("strength", "verdict", "reason", "lines")},
        "record": "" if frame.record is None else json.dumps(plain(content), ensure_ascii=False, indent=1),
        "chunks": [(kind.decode(), in_base64(content)) for kind, content, *_ in saved],
    }


def _blend_record(record: Record | None) -> list[str]:
    """The JSON record of a blend in three parts; the page inserts a description and the strength between them."""
    if record is None:
        return []
    mark = secrets.token_hex(16)
    content = plain({"blend": mark, "record": record, "results": []})
    content["record"] |= {"output": "image", "strengths": [mark]}
    return json.dumps(content, ensure_ascii=False, indent=1).split(f'"{mark}"')


def _marked(source: str, target: str) -> tuple[list[list[str | bool]], list[list[str | bool]]]:
    """Both captions in pieces, each marked if it changed: phrases between commas, words within long phrases."""
    pieces: list[tuple[str, str, bool]] = []
    for old, new, changed in _aligned(_PHRASES.findall(source), _PHRASES.findall(target)):
        long = changed and min(len(old.split()), len(new.split())) >= _LONG
        pieces += _aligned(_WORDS.findall(old), _WORDS.findall(new)) if long else [(old, new, changed)]
    before = [[text, changed] for text, _, changed in pieces if text]
    return before, [[text, changed] for _, text, changed in pieces if text]


def _aligned(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, str, bool]]:
    """Old text, new text, and whether they differ, in the order of two aligned sequences."""
    bare = [[text.strip(_PUNCTUATION).lower() for text in texts] for texts in (old, new)]
    steps = difflib.SequenceMatcher(a=bare[0], b=bare[1], autojunk=False).get_opcodes()
    return [("".join(old[a:b]), "".join(new[c:d]), kind != "equal") for kind, a, b, c, d in steps]
