"""How image files are put together: segments of JPEG, chunks of PNG and WebP, tags of TIFF, boxes of HEIC.

`parsed` takes a file apart once, for all that read it.
"""

import contextlib
import enum
import functools
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from latentedit_keep.photo import xmp

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # the marker after entropy-coded data
_ALONE = (*range(0xD0, 0xD9), 0x01)  # markers without a length
PHOTOSHOP = b"Photoshop 3.0\0"  # begins its segments
TEXTS = (b"tEXt", b"zTXt", b"iTXt")  # chunks of PNG
XMP_KEY = "XML:com.adobe.xmp"  # of a text in a PNG
COMMENT = "Comment"  # likewise
RAW_PROFILE = "Raw profile type "  # begins the keywords of ImageMagick's texts in a PNG
RAW_PROFILES = {"exif": "exif", "APP1": "xmp", "xmp": "xmp", "iptc": "resources", "8bim": "resources"}
_MOST_KEY_BYTES = 80  # of a text in a PNG
_MOST_TEXT_BYTES = 64_000_000
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4}  # of TIFF's types
_MOST_TAGS = 65_535
_MPF_ENTRIES = 0xB002  # tag
_MOST_IMAGES = 64  # in an index of MPF


class Marker(enum.IntEnum):
    """Kinds of a JPEG's segments."""

    SOI = 0xD8
    EOI = 0xD9
    SOS = 0xDA
    DQT = 0xDB
    APP0 = 0xE0  # JFIF
    APP1 = 0xE1  # EXIF, XMP
    APP2 = 0xE2  # color profile, MPF, gain maps
    APP11 = 0xEB  # content credentials
    APP13 = 0xED  # Photoshop's resources
    APP15 = 0xEF
    COM = 0xFE


class Piece(NamedTuple):
    """A segment, chunk or box: where it and its data begin, and where both end."""

    kind: bytes  # four letters; of a segment its marker, one byte
    start: int
    begin: int
    end: int

    def of(self, content: bytes) -> bytes:
        """The data."""
        return content[self.begin : self.end]


def segments(content: bytes, start: int = 0) -> Iterator[Piece]:
    """The segments of the JPEG that starts there, from SOI to EOI; the data of a scan belongs to its SOS."""
    at, most = start, len(content)
    while at + 2 <= most and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        begin = at + 2 if marker in _ALONE or marker == Marker.EOI else at + 4
        end = begin if begin == at + 2 else at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if end < begin or end > most:
            return
        if marker == Marker.SOS:
            found = _PIXELS_END.search(content, end)
            end = most if found is None else found.start()
        yield Piece(bytes([marker]), at, begin, end)
        if marker == Marker.EOI:
            return
        at = end


def segment(marker: int, data: bytes) -> bytes:
    """A segment of at most 65,533 bytes of data."""
    return bytes([0xFF, marker]) + (len(data) + 2).to_bytes(2, "big") + data


def chunks(content: bytes) -> Iterator[Piece]:
    """All chunks of a PNG, or of a RIFF file such as WebP; nothing for other files."""
    is_png, is_riff = content.startswith(PNG_SIGNATURE), content.startswith(b"RIFF")
    at, most = (8 if is_png else 12), len(content)
    while (is_png or is_riff) and at + 8 <= most:
        first, second = content[at : at + 4], content[at + 4 : at + 8]
        kind, size = (second, int.from_bytes(first, "big")) if is_png else (first, int.from_bytes(second, "little"))
        if at + 8 + size > most:
            return
        yield Piece(kind, at, at + 8, at + 8 + size)
        if kind == b"IEND":
            return
        at += 8 + size + (4 if is_png else size % 2)


def boxes(content: bytes, begin: int = 0, end: int | None = None) -> Iterator[Piece]:
    """The boxes of ISO 14496-12 between two places; one that reaches further ends the list, as what is no kind does."""
    at, most = begin, len(content) if end is None else end
    while at + 8 <= most:
        size, kind, head = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(content[at + 8 : at + 16], "big"), 16
        size = most - at if size == 0 else size
        if size < head or at + size > most or not (any(kind) and kind.isascii()):
            return
        yield Piece(kind, at, at + head, at + size)
        at += size


class Parsed:
    """The content of an image file with its segments, chunks or boxes; none for formats without these."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.is_jpeg = content.startswith(b"\xff\xd8")
        self.is_png = content.startswith(PNG_SIGNATURE)

    @functools.cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """Those of the first image of a JPEG, all chunks of a PNG or WebP, or the outermost boxes."""
        if self.is_jpeg:
            return tuple(segments(self.content))
        if self.is_png or self.content.startswith(b"RIFF"):
            return tuple(chunks(self.content))
        return tuple(boxes(self.content))

    def data(self, *kinds: bytes | int, start: bytes = b"") -> list[bytes]:
        """The data of the pieces of some kinds, segments by their markers, that begin with some bytes."""
        wanted = [bytes([kind]) if isinstance(kind, int) else kind for kind in kinds]
        found = (one for one in self.pieces if one.kind in wanted)
        return [one.of(self.content) for one in found if self.content.startswith(start, one.begin)]

    @functools.cached_property
    def packets(self) -> tuple[bytes, list[bytes]]:
        """The packet of XMP in a JPEG, empty if there is none, and the segments with its extension."""
        main = next(iter(self.data(Marker.APP1, start=xmp.HEAD)), b"")
        return main.removeprefix(xmp.HEAD), self.data(Marker.APP1, start=xmp.EXTENSION)

    @functools.cached_property
    def packet(self) -> bytes:
        """The XMP of a JPEG, in one packet."""
        return xmp.merged(*self.packets)

    @functools.cached_property
    def resources(self) -> bytes:
        """Photoshop's resources in a JPEG."""
        return b"".join(one.removeprefix(PHOTOSHOP) for one in self.data(Marker.APP13, start=PHOTOSHOP))

    @functools.cached_property
    def texts(self) -> tuple[tuple[str, Piece], ...]:
        """The keywords of a PNG's texts, and their chunks."""
        pieces = [one for one in self.pieces if one.kind in TEXTS] if self.is_png else []
        heads = (self.content[one.begin : min(one.end, one.begin + _MOST_KEY_BYTES)] for one in pieces)
        return tuple((head.partition(b"\0")[0].decode("latin-1"), one) for head, one in zip(heads, pieces, strict=True))

    def texts_of(self, key: str, most: int = _MOST_TEXT_BYTES) -> Iterator[bytes]:
        """The texts of a keyword that can be read, in UTF-8."""
        for name, one in self.texts:
            if name == key:
                with contextlib.suppress(zlib.error):
                    yield text_of(one.kind, one.of(self.content), most)


def parsed(content: bytes | Parsed) -> Parsed:
    """A file's content, taken apart; the same object if it is already."""
    return content if isinstance(content, Parsed) else Parsed(content)


def text_of(kind: bytes, data: bytes, most: int = _MOST_TEXT_BYTES) -> bytes:
    """The text of a PNG's chunk, in UTF-8; a compressed one is cut off behind so many bytes."""
    rest = data.partition(b"\0")[2]
    if kind == b"iTXt":
        *_, text = rest[2:].split(b"\0", 2)
        return _inflated(text, most) if rest[:1] == b"\1" else text
    return (_inflated(rest[1:], most) if kind == b"zTXt" else rest).decode("latin-1").encode()


def raw_profile(text: bytes) -> bytes:
    """The bytes that ImageMagick wrote as hexadecimal digits into a text; empty if they are damaged."""
    words = text.split(None, 2)  # the kind, the number of bytes, the digits
    with contextlib.suppress(ValueError):
        return bytes.fromhex(words[2].decode("ascii", "replace")) if len(words) == 3 else b""
    return b""


def _inflated(data: bytes, most: int) -> bytes:
    return zlib.decompressobj().decompress(data, most)


def raw_tag(content: bytes, tag: int) -> bytes:
    """The bytes of a tag in the first directory of a TIFF, as they are in the file; empty if it is missing."""
    order: Any = "big" if content.startswith(b"MM") else "little"
    is_big = content[2:4] in (b"+\0", b"\0+")
    size, head, entry = (8, 8, 20) if is_big else (4, 2, 12)  # bytes of an offset, of the number of entries, of one

    def number(at: int, length: int) -> int:
        return int.from_bytes(content[at : at + length], order)

    first = number(8 if is_big else 4, size)
    count = min(number(first, head), _MOST_TAGS)
    for at in range(first + head, min(first + head + entry * count, len(content)), entry):
        if number(at, 2) == tag:
            length = number(at + 4, size) * _TYPE_BYTES.get(number(at + 2, 2), 0)
            place = at + entry - size if length <= size else number(at + entry - size, size)
            return content[place : place + length]
    return b""


def mpf_images(index: bytes) -> list[tuple[int, int]]:
    """Type of each image that an index of MPF, a small TIFF, lists, and its place from the beginning of the index."""
    entries, order = raw_tag(index, _MPF_ENTRIES), "<" if index.startswith(b"II") else ">"
    usable = entries[: min(len(entries) // 16, _MOST_IMAGES) * 16]
    return [(kind, place) for kind, _, place, _ in struct.iter_unpack(f"{order}4I", usable)]
