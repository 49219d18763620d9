"""How image files are put together: segments of JPEG, chunks of PNG and WebP, tags of TIFF, boxes of HEIC.

`taken_apart` does it once, for all that read the file.
"""

import contextlib
import dataclasses
import enum
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from latentedit.photo import xmp

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # the marker after entropy-coded data
_ALONE = (*range(0xD0, 0xD9), 0x01)  # markers without a length
PHOTOSHOP = b"Photoshop 3.0\0"  # begins its segments
TEXTS = (b"tEXt", b"zTXt", b"iTXt")  # chunks of PNG
XMP_KEY = "XML:com.adobe.xmp"  # key of XMP among the texts of a PNG
COMMENT = "Comment"  # likewise
RECORD = "latentedit"  # likewise
AI_LABEL = "AIGC"  # likewise; China's
RAW_PROFILE = "Raw profile type "  # begins the keywords of ImageMagick's texts in a PNG
RAW_PROFILES = {"exif": "exif", "APP1": "xmp", "xmp": "xmp", "iptc": "resources", "8bim": "resources"}
READ_TEXTS = frozenset({XMP_KEY, COMMENT, RECORD, *(RAW_PROFILE + kind for kind in RAW_PROFILES)})  # not copied
_MOST_KEY_BYTES = 80  # most bytes of a key of a text in a PNG
_MOST_INFLATED_BYTES = 1 << 24  # limit of a text that is read, and of a color profile; a JPEG has no larger ones
_MOST_TEXTS = 4  # texts of this size that are read in one file
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4}  # bytes of a value of each of TIFF's types
_MOST_TAGS = 65_535
_MPF_ENTRIES = 0xB002  # tag
_MOST_IMAGES = 64  # in an index of MPF
_MOST_BEHIND = 32  # images that adjoin, or that XMP lists
_NUMBER = re.compile("[0-9]{1,12}")  # in XMP
_IMAGE = b"\xff\xd8\xff"  # begins a JPEG
MPF = b"MPF\0"  # begins its segment
ISO = b"urn:iso:std:iso:ts:21496:-1\0"  # likewise; of a gain map
TIFF = re.compile(rb"(?:II|MM)(?:\0[*+]|[*+]\0)")


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


class Behind(NamedTuple):
    """A further image in a JPEG: where it begins and ends, and what its XMP and its segment for gain maps say."""

    start: int
    end: int
    stated: Mapping[str, str]
    iso: bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An image file, taken apart once for all that read it; what its format does not have is empty."""

    content: bytes = b""
    is_jpeg: bool = False
    is_png: bool = False
    is_opened: bool = False  # whether this is only what Pillow knows of it
    pieces: tuple[Piece, ...] = ()  # segments of a JPEG's first image, all chunks of a PNG or WebP, outermost boxes
    behind: tuple[Behind, ...] = ()  # images that a JPEG lists behind its end, and all else there
    texts: tuple[tuple[str, bytes | None], ...] = ()  # texts of a PNG: keyword, text in UTF-8; None if it was not read
    profile: bytes | None = b""  # color profile of a PNG; None if it was not read
    profiles: Mapping[str, bytes] = dataclasses.field(default_factory=dict[str, bytes])  # see `raw_profiles`
    packets: tuple[bytes, ...] = ()  # all of XMP in a JPEG or PNG, each with its extension
    xmp: bytes = b""  # the packet of a JPEG, TIFF or JPEG XL
    resources: bytes = b""  # Photoshop's, in a JPEG or TIFF
    iptc: bytes = b""  # in a TIFF, beside these
    comment: bytes = b""  # in a JPEG or PNG
    cicp: bytes = b""  # four numbers by which a PNG or AVIF names its colors


def taken_apart(content: bytes) -> File:
    """The file with this content, which may be damaged or of any format."""
    if content.startswith(PNG_SIGNATURE):
        return _png(content, tuple(one for one in chunks(content) if not is_damaged_text(content, one)))
    if content.startswith(b"RIFF"):
        return File(content=content, pieces=tuple(chunks(content)))
    if content.startswith(b"\xff\xd8"):
        return _jpeg(content, tuple(segments(content)))
    if TIFF.match(content):
        packet, resources, iptc = (raw_tag(content, tag) for tag in (700, 34377, 33723))
        return File(content=content, xmp=packet, resources=resources, iptc=iptc.rstrip(b"\0"))
    pieces = tuple(boxes(content))
    packets = (one.of(content) for one in pieces if one.kind == b"xml " and content[4:8] == b"JXL ")
    return File(content=content, pieces=pieces, xmp=next(packets, b""), cicp=_nclx(content, pieces))


def _jpeg(content: bytes, pieces: tuple[Piece, ...]) -> File:
    main, extended = xmp_of(content, pieces)
    resources = (one.removeprefix(PHOTOSHOP) for one in data_of(content, pieces, Marker.APP13, PHOTOSHOP))
    directory, packets = xmp.directory(next(iter(main), b"")), tuple(xmp.merged(one, extended) for one in main)
    return File(
        content=content,
        is_jpeg=True,
        pieces=pieces,
        behind=tuple(_behind(content, pieces, directory)),
        packets=packets,
        xmp=packets[0] if packets else b"",
        resources=b"".join(resources),
        comment=next(iter(data_of(content, pieces, Marker.COM)), b""),
    )


def xmp_of(content: bytes, pieces: Sequence[Piece]) -> tuple[list[bytes], list[bytes]]:
    """The packets of XMP in a JPEG's segments, without their heads, and the segments that extend them."""
    main = data_of(content, pieces, Marker.APP1, xmp.HEAD)
    return [one.removeprefix(xmp.HEAD) for one in main], data_of(content, pieces, Marker.APP1, xmp.EXTENSION)


def data_of(content: bytes, pieces: Iterable[Piece], marker: Marker, start: bytes = b"") -> list[bytes]:
    """The data of a JPEG's segments of a kind that begin so."""
    return [one.of(content) for one in pieces if one.kind[0] == marker and content.startswith(start, one.begin)]


def _behind(content: bytes, pieces: tuple[Piece, ...], directory: list[dict[str, str]]) -> Iterator[Behind]:
    """Images behind the first: right behind one another, by the index of MPF, by the lengths in the XMP's directory."""
    if pieces[-1].kind[0] != Marker.EOI:
        return
    at = end = pieces[-1].end
    places = list[int]()
    while content.startswith(_IMAGE, at) and len(places) < _MOST_BEHIND:
        places.append(at)
        *_, last = segments(content, at)
        at = last.end if last.kind[0] == Marker.EOI else len(content)
    for one in pieces:
        if one.kind[0] == Marker.APP2 and content.startswith(MPF, one.begin):
            base = one.begin + len(MPF)
            places += [base + place for _, place in mpf_images(content[base : one.end]) if place]
    at = end
    for entry in directory[1 : _MOST_BEHIND + 1]:
        length, padding = (entry.get(key, "0") for key in ("Length", "Padding"))
        if _NUMBER.fullmatch(length) and _NUMBER.fullmatch(padding):
            places.append(at + int(padding))
            at += int(padding) + int(length)
    for place in dict.fromkeys(places):
        if place >= end and content.startswith(_IMAGE, place):
            image = tuple(segments(content, place))
            heads = (Marker.APP1, xmp.HEAD), (Marker.APP2, ISO)
            packet, iso = (next(iter(data_of(content, image, *head)), b"") for head in heads)
            if image[-1].kind[0] == Marker.EOI:
                stated = xmp.properties(packet.removeprefix(xmp.HEAD))
                yield Behind(place, image[-1].end, stated, iso.removeprefix(ISO))


def _png(content: bytes, pieces: tuple[Piece, ...]) -> File:
    texts = tuple(_texts(content, pieces))
    stated = [(key, text) for key, text in texts if text is not None]
    of_xmp = [text for key, text in stated if key == XMP_KEY]
    raw = [raw_profile(text) for name in ("xmp", "APP1") for key, text in stated if key == RAW_PROFILE + name]
    numbers = [one.of(content) for one in pieces if one.kind == b"cICP" and one.end - one.begin == 4]
    stored = [one.of(content).partition(b"\0")[2][1:] for one in pieces if one.kind == b"iCCP"]
    return File(
        content=content,
        is_png=True,
        pieces=pieces,
        texts=texts,
        profile=_inflated(stored[-1]) if stored else b"",
        profiles=raw_profiles(stated),
        packets=(*of_xmp, *(one.removeprefix(xmp.HEAD) for one in raw)),
        xmp=of_xmp[-1] if of_xmp else b"",
        comment=next((text for key, text in reversed(stated) if key == COMMENT), b""),
        cicp=numbers[-1] if numbers else b"",
    )


def is_damaged_text(content: bytes, one: Piece) -> bool:
    """Whether a chunk of a PNG is a text with a wrong checksum, as some editors write them."""
    checksum = content[one.end : one.end + 4]
    return one.kind in TEXTS and checksum != zlib.crc32(content[one.start + 4 : one.end]).to_bytes(4, "big")


def without_texts(content: bytes) -> bytes:
    """A PNG without its texts and its color profile, for decoders, which refuse images with large ones."""
    parts, start = list[bytes](), 0
    for one in chunks(content) if content.startswith(PNG_SIGNATURE) else ():
        if one.kind in (*TEXTS, b"iCCP"):
            parts.append(content[start : one.start])
            start = one.end + 4
    return b"".join([*parts, content[start:]])


def _texts(content: bytes, pieces: Iterable[Piece]) -> Iterator[tuple[str, bytes | None]]:
    left = _MOST_TEXTS * _MOST_INFLATED_BYTES
    for one in pieces:
        if one.kind in TEXTS:
            key, _, rest = one.of(content).partition(b"\0")
            name, text = key[:_MOST_KEY_BYTES].decode("latin-1"), None
            if left > 0 and (name in READ_TEXTS or name == AI_LABEL):
                text = _text(one.kind, rest)
                left -= _MOST_INFLATED_BYTES if text is None else len(text)
            yield name, text


def _text(kind: bytes, rest: bytes) -> bytes | None:
    """The text behind a keyword, in UTF-8."""
    if kind == b"iTXt":
        *_, text = rest[2:].split(b"\0", 2)
        return _inflated(text) if rest[:1] == b"\1" else text
    text = _inflated(rest[1:]) if kind == b"zTXt" else rest
    return None if text is None else text.decode("latin-1").encode()


def _inflated(data: bytes) -> bytes | None:
    """Inflated data; None if it is damaged, or too large to be read."""
    with contextlib.suppress(zlib.error):
        found = zlib.decompressobj().decompress(data, _MOST_INFLATED_BYTES)
        return found if len(found) < _MOST_INFLATED_BYTES else None
    return None


def raw_profiles(texts: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """The first text of each kind in a PNG that ImageMagick wrote: "exif", "xmp" and "resources" as packets."""
    found = dict[str, bytes]()
    for key, text in texts:
        name = key.removeprefix(RAW_PROFILE)
        if name != key and name in RAW_PROFILES:
            packet = raw_profile(text)
            name = "exif" if packet.startswith(b"Exif\0") else RAW_PROFILES[name]
            found.setdefault(name, packet.removeprefix(xmp.HEAD))
    return found


def raw_profile(text: bytes) -> bytes:
    """The bytes that ImageMagick wrote as hexadecimal digits into a text; empty if they are damaged."""
    words = text.split(None, 2)  # the kind, the number of bytes, the digits
    with contextlib.suppress(ValueError):
        return bytes.fromhex(words[2].decode("ascii", "replace")) if len(words) == 3 else b""
    return b""


def _nclx(content: bytes, pieces: Iterable[Piece]) -> bytes:
    """The four numbers of cICP in a HEIC or AVIF; empty if it does not state them."""
    for meta in (one for one in pieces if one.kind == b"meta"):
        for iprp in (one for one in boxes(content, meta.begin + 4, meta.end) if one.kind == b"iprp"):
            for ipco in (one for one in boxes(content, iprp.begin, iprp.end) if one.kind == b"ipco"):
                for one in boxes(content, ipco.begin, ipco.end):
                    body = one.of(content)
                    if one.kind == b"colr" and body[:4] == b"nclx" and len(body) >= 11:
                        return bytes([body[5], body[7], 0, 1])
    return b""


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
