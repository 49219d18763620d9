"""What a viewer shows: a picture, the same at other strengths, and what is to be said of each."""

import base64
import dataclasses
import difflib
import json
import math
import re
import secrets
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from latentedit.api.viewer.page import viewer_iframe, viewer_page
from latentedit.api.viewer.pictures import layers_of
from latentedit.core.errors import ConfigError
from latentedit.latents.record import RunRecord
from latentedit_keep.api import KeepResult
from latentedit_keep.colour import shown
from latentedit_keep.files import plain, write_text
from latentedit_keep.pictures import pack_chunks

_NO_NAME = re.compile(r"[^\w.-]+")
_PHRASES = re.compile(r"[^,]+,?\s*")
_WORDS = re.compile(r"\S+\s*")
_LONG = 5  # words of a phrase of which the words are compared
_MARKS = " ,.;:"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """The picture at one strength.

    Args:
        strength: 0 is the source.
        image: of the source's size, any mode.
        verdict: a few words, such as "partly done (62 %)"; empty where nobody judged.
        reason: one clause for the verdict.
        lines: what changed, each a line of text.
        record: how it was made. A picture that is saved at this strength carries it, as a file of `EditResult.save`
            does.
        measures: what the JSON beside a picture says of this strength; for the record's download.
        payload: what the file carries for `undo`, beside the record.
    """

    strength: float
    image: Image.Image
    verdict: str = ""
    reason: str = ""
    lines: tuple[str, ...] = ()
    record: RunRecord | None = None
    measures: Mapping[str, Any] | None = None
    payload: bytes | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """A picture and what became of it, as a self-contained HTML page.

    Strength 0 is always the source; between the strengths of the frames the page blends the nearest two, and says so.

    Args:
        source: the picture as it came, any mode.
        frames: one for each strength that was made, in any order.
        title: one line.
        caption: what the source shows; empty where it has none.
        target_caption: what was asked for; likewise.
        name: of the files that are saved from the page, without ending.
        others: name to picture, what the edit can be compared with beside the source, such as "right answer".
        quality: of WebP, from 0 to 100, for pages that show many small pictures; without it no pixel is lost.
        start: the strength that is shown at first; the whole change, or the made one nearest to it, if not given.
        saves: whether it saves pictures and records; not where a page around it does.

    Raises:
        ConfigError: no frames, or a strength that is no finite number.

    Example:
        View(source=photo, frames=[Frame(strength=1.0, image=edited)], title="a hat").save("hat.html")
    """

    source: Image.Image
    frames: Sequence[Frame]
    title: str = "picture"
    caption: str = ""
    target_caption: str = ""
    name: str = "picture"
    others: Mapping[str, Image.Image] = dataclasses.field(default_factory=dict)
    quality: int | None = None
    start: float | None = None
    saves: bool = True

    def __post_init__(self) -> None:
        if not self.frames:
            raise ConfigError("a view needs the picture at one strength at least; got no frames")
        for frame in self.frames:
            if not math.isfinite(frame.strength):
                raise ConfigError(f"the strength of a frame must be a finite number; got {frame.strength}")

    def __repr__(self) -> str:
        return f"<View {self.title[:80]!r}, {len(self.frames)} strengths>"

    @property
    def html(self) -> str:
        """The page.

        Raises:
            ShapeError: pictures of different sizes.
        """
        return viewer_page(self.data())

    def save(self, path: str | Path) -> None:
        """Write the page beside its place, then rename it.

        Raises:
            OutputError: the place cannot be written to.
            ShapeError: pictures of different sizes.
        """
        write_text(path, self.html)

    @property
    def iframe(self) -> str:
        """The page in a frame of its own, which can neither read nor change the page around it.

        Raises:
            ShapeError: pictures of different sizes.
        """
        return viewer_iframe(self.html, self.title)

    def _repr_html_(self) -> str:
        """For notebooks."""
        return self.iframe

    def data(self) -> dict[str, Any]:
        """What `page.viewer_element` takes: plain values, with every picture.

        Raises:
            ShapeError: pictures of different sizes.
        """
        frames = self._by_strength()
        pictures = [shown(one) for one in (self.source, *(frame.image for frame in frames), *self.others.values())]
        converted = pictures[0] is not self.source
        found = layers_of(pictures, quality=self.quality)
        source, *layers = found.layers
        whole = found.size == self.source.size and self.quality is None and not converted
        profile = None if converted else self.source.info.get("icc_profile")
        words = _marked(self.caption, self.target_caption) if self.target_caption else ([[self.caption, False]], [])
        return {
            "title": self.title,
            "name": _NO_NAME.sub("_", self.name).strip("._") or "picture",
            "size": found.size,
            "alpha": found.alpha,
            "notes": [*found.notes, *_colour_notes(profile, converted=converted)],
            "captions": words if self.caption or self.target_caption else [],
            "source": source,
            "others": [{"name": name, **layer} for name, layer in zip(self.others, layers[len(frames) :], strict=True)],
            "profile": _in_base64(_chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile, 9)) if profile else b""),
            "start": self._first([frame.strength for frame in frames]),
            "saves": self.saves,
            "between": _between(next((frame.record for frame in frames if frame.record is not None), None)),
            "frames": [
                _told(frame, layer, whole=whole) for frame, layer in zip(frames, layers[: len(frames)], strict=True)
            ],
        }

    def _by_strength(self) -> list[Frame]:
        """One frame a strength, rising, the source among them."""
        known = {float(frame.strength): frame for frame in self.frames}
        known[0.0] = dataclasses.replace(known.get(0.0, Frame(strength=0.0, image=self.source)), image=self.source)
        return [known[strength] for strength in sorted(known)]

    def _first(self, strengths: Sequence[float]) -> float:
        """Where the page opens: never at the source where there is an edit, and at one away from the change last."""
        if self.start is not None:
            return self.start
        return min(strengths, key=lambda one: (one == 0, one < 0, abs(abs(one) - 1)))


def kept_view(result: KeepResult) -> View:
    """Original, editor's picture and result of `keep`."""
    source = result.original.image
    edited = result.edited.image.convert(source.mode).resize(source.size, Image.Resampling.LANCZOS)
    said = (*result.lines, *result.doubts)
    return View(
        source=source,
        frames=[Frame(strength=1.0, image=result.image, verdict=result.verdict, lines=said)],
        title=result.original.name or "picture",
        name=Path(result.original.name or "picture").stem,
        others={"editor's picture": edited, "mask": result.mask.convert(source.mode)},
    )


def _told(frame: Frame, layer: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    """One frame for the script; what is not shown as it is carries no record, since that is of another picture."""
    record = frame.record
    told = None if record is None else {"record": record, "results": [frame.measures] if frame.measures else []}
    return {
        **layer,
        "strength": frame.strength,
        "verdict": frame.verdict,
        "reason": frame.reason,
        "lines": frame.lines,
        "record": "" if told is None else json.dumps(plain(told), ensure_ascii=False, indent=1),
        "chunks": _in_base64(_record_chunks(frame)) if whole else "",
    }


def _between(record: RunRecord | None) -> list[str]:
    """The JSON of a blend's record in three parts, between which go what was blended, and the strength."""
    if record is None:
        return []
    mark = secrets.token_hex(16)
    told = plain({"blend": mark, "record": record.model_copy(update={"output": "picture"}), "results": []})
    told["record"]["strengths"] = [mark]
    return json.dumps(told, ensure_ascii=False, indent=1).split(f'"{mark}"')


def _record_chunks(frame: Frame) -> bytes:
    """Record and payload as the chunks of a PNG in which `save_image` puts them."""
    if frame.record is None:
        return b""
    info = pack_chunks(frame.record.to_json(), frame.payload)
    return b"".join(_chunk(kind, content) for kind, content, *_ in info.chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG: length, kind, content and check sum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _colour_notes(profile: bytes | None, *, converted: bool) -> Iterator[str]:
    if converted:
        yield "shown and saved in sRGB; the picture has another colour space"
    if profile:
        yield "shown without its colour profile, which a saved picture keeps"


def _in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _marked(source: str, target: str) -> tuple[list[list[str | bool]], list[list[str | bool]]]:
    """Both captions in pieces, each with whether the other one lacks it: phrases between commas, words in long ones."""
    pieces: list[tuple[str, str, bool]] = []
    for old, new, changed in _aligned(_PHRASES.findall(source), _PHRASES.findall(target)):
        long = changed and min(len(old.split()), len(new.split())) >= _LONG
        pieces += _aligned(_WORDS.findall(old), _WORDS.findall(new)) if long else [(old, new, changed)]
    before = [[text, changed] for text, _, changed in pieces if text]
    return before, [[text, changed] for _, text, changed in pieces if text]


def _aligned(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, str, bool]]:
    """What two sequences of texts have in common and what not, in order."""
    bare = [[text.strip(_MARKS).lower() for text in texts] for texts in (old, new)]
    steps = difflib.SequenceMatcher(a=bare[0], b=bare[1], autojunk=False).get_opcodes()
    return [("".join(old[a:b]), "".join(new[c:d]), kind != "equal") for kind, a, b, c, d in steps]
