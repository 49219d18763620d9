"""Names of all that a file holds beside its pixels, and a comparison with those of another file."""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction

from latentedit.photo import xmp
from latentedit.photo.photoshop import IPTC_AS_XMP

Parts = dict[str, str]  # name of a part, such as "EXIF Make" -> its value, or the hash of it
Found = Iterator[tuple[str, bytes | str]]  # names and contents of parts, as they are read
LARGE_XMP = "XMP that is too large to be read"
_QUIET = (
    "thumbnail",
    "preview image",
    "smaller copies",
    "time of the last change",
    "further frames",
    "orientation",
    "undo data",
    LARGE_XMP,  # an image with it has a note of its own
)
_WHY = {
    "content credentials": "their signature would not hold for the result",
    "thumbnail": "it shows the original; programs make a new one",
    "preview image": "it shows the original; programs make a new one",
    "smaller copies": "they show the original; programs make new ones",
    "motion clip": "it shows the original",
    "depth map": "it describes the original",
    "layers": "they show the original",
    "compressed": "what it says is not read",
    "time of the last change": "it is another now",
    "undo data": "it belongs to the original",
    LARGE_XMP: f"it has more than {xmp.MOST_NODES:,} elements and attributes, or {xmp.MOST_BYTES / 1e6:.0f} MB",
    "further frames": "the first was taken",
    "unread": "it is damaged or too large",
    "chroma subsampling": "it becomes 4:4:4",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MetadataReport:
    """The parts of a file that another one carries, translates or lacks: names, in the file's order."""

    carried: tuple[str, ...] = ()
    translated: tuple[str, ...] = ()  # there in another form, or without what no longer holds
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)  # name -> reason

    @property
    def line(self) -> str:
        """A line on what a reader would miss; empty if it is nothing."""
        return ", ".join(grouped(name for name in self.left_out if not name.startswith(_QUIET)))


def depth(bits: int) -> Found:
    """More than 8 bits, which few formats hold."""
    yield from [(f"{bits} bits a channel", "")] if bits > 8 else []


def aspect(across: float, down: float) -> tuple[int, int] | None:
    """A ratio in integers of 16 bits; None if it is 1, or cannot be."""
    if not (0 < across < 1 << 32 and 0 < down < 1 << 32):
        return None
    ratio = Fraction(float(across) / float(down)).limit_denominator(65_535)
    return None if ratio == 1 or not 0 < ratio < 65_536 else ratio.as_integer_ratio()


def stated_aspect(across: float, down: float) -> Found:
    """The aspect ratio of pixels as a part of a file, if it is not 1."""
    ratio = aspect(across, down)
    yield from [] if ratio is None else [("pixel aspect ratio", "{}:{}".format(*ratio))]


def compared(before: Parts, after: Parts, format: str) -> MetadataReport:  # noqa: A002 (the field's word)
    """A report on the parts in a file of another inventory, of a format such as "JPEG"."""
    carried, translated, left_out = list[str](), list[str](), dict[str, str]()
    for name, value in before.items():
        if name.startswith("chroma") and format != "JPEG":  # other formats have a sampling of their own
            continue
        if name in after and (after[name] == value or not value):
            carried.append(name)
        elif (name in after and not name.endswith(" a channel")) or _as_xmp(name) in after:
            translated.append(name)
        else:
            why = next((text for start, text in _WHY.items() if name.startswith(start)), "")
            left_out[name] = why or f"{format} has no place for it, or it no longer holds"
    return MetadataReport(carried=(*grouped(carried),), translated=(*grouped(translated),), left_out=left_out)


def _as_xmp(name: str) -> str:
    """The name of the XMP property that an IPTC dataset became."""
    found = re.match(r"IPTC 2:(\d+)", name)
    return f"XMP {IPTC_AS_XMP.get(int(found[1]), '')}" if found else ""


def grouped(names: Iterable[str]) -> list[str]:
    """Names with the parts of EXIF, XMP and IPTC under one name each: "EXIF (Make, Model)"."""
    groups: dict[str, list[str]] = {}
    for name in names:
        head, _, tail = name.partition(" ")
        is_group = head in ("EXIF", "XMP", "IPTC") and bool(tail)
        groups.setdefault(head if is_group else name, []).extend([tail] * is_group)
    return [
        f"{name} ({', '.join(inner[:3])}{f' and {len(inner) - 3} more' * (len(inner) > 3)})" if inner else name
        for name, inner in groups.items()
    ]
