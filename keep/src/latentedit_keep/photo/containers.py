"""How image files are put together: segments of JPEG, chunks of PNG and WebP, tags of TIFF, boxes of HEIC."""

import re
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # the marker after entropy-coded data
_ALONE = (*range(0xD0, 0xD9), 0x01)  # markers without a length
SOI, EOI, SOS, COM = 0xD8, 0xD9, 0xDA, 0xFE
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4}  # of TIFF's types
_MOST_TAGS = 65_535
_MPF_ENTRIES, _MOST_IMAGES = 0xB002, 64


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
        begin = at + 2 if marker in _ALONE or marker == EOI else at + 4
        end = begin if begin == at + 2 else at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if end < begin or end > most:
            return
        if marker == SOS:
            found = _PIXELS_END.search(content, end)
            end = most if found is None else found.start()
        yield Piece(bytes([marker]), at, begin, end)
        if marker == EOI:
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
    """The boxes of ISO 14496-12 between two places; a box that reaches further ends the list."""
    at, most = begin, len(content) if end is None else end
    while at + 8 <= most:
        size, kind, head = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(content[at + 8 : at + 16], "big"), 16
        size = most - at if size == 0 else size
        if size < head or at + size > most:
            return
        yield Piece(kind, at, at + head, at + size)
        at += size


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
