"""EXIF of an upright image, changed where it lies: makers' notes hold offsets that count from its beginning."""

import contextlib
import re
import struct

from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.TiffImagePlugin import TiffImageFile

from latentedit.photo.warp import Size

# Tags of EXIF whose bytes have the type "undefined".
_UNDEFINED = frozenset({34856, 36864, 37121, 37500, 37510, 40960, 41484, 41728, 41729, 41730, 41995, 42080})
# Tags of a TIFF that are carried apart, or describe what the result has not.
PASSING = frozenset({330, 512, 513, 514, 530, 531, 532, 33723, 34377, 37724, 52545})
# Tags of a TIFF that describe the storage of the pixels or that are carried separately.
LAYOUT = frozenset({*range(254, 267), 273, *range(277, 285), *range(288, 293), 296, *range(317, 348), 700, 34675})
_DESCRIPTION = 270
_OF_IMAGEJ = (50838, 50839)


class _Exif:
    """EXIF or a TIFF, changed where it lies: makers' notes hold offsets that count from its beginning.

    Reading beyond the end raises a `struct.error`.
    """

    def __init__(self, raw: bytes) -> None:
        self.head = b"Exif\0\0" if raw.startswith(b"Exif\0\0") else b""
        self.data = bytearray(raw.removeprefix(self.head))
        self.order = "<" if self.data.startswith(b"II") else ">"

    def __bytes__(self) -> bytes:
        return self.head + bytes(self.data)

    def read(self, form: str, at: int) -> int:
        """A number: "H" has two bytes, "I" four."""
        return struct.unpack_from(self.order + form, self.data, at)[0]

    def write(self, form: str, at: int, value: int) -> None:
        struct.pack_into(self.order + form, self.data, at, value)

    def entries(self, at: int) -> tuple[dict[int, int], int]:
        """Tag -> place of its entry in the directory that begins there, and the place behind the entries."""
        end = at + 2 + 12 * self.read("H", at)
        return {self.read("H", place): place for place in range(at + 2, end, 12)}, end

    def integers(self, entries: dict[int, int]) -> dict[int, tuple[str, int, int]]:
        """Tag -> form, place and value of the entries that are numbers."""
        found = dict[int, tuple[str, int, int]]()
        for tag, place in entries.items():
            if form := {3: "H", 4: "I"}.get(self.read("H", place + 2)):
                found[tag] = form, place + 8, self.read(form, place + 8)
        return found


def carried_exif(image: Image.Image, raw: bytes | None, exif: Image.Exif, size: Size, count: int) -> bytes:
    """EXIF of the upright image, in place if possible; empty if there is none or it cannot be written."""
    is_tiff = isinstance(image, TiffImageFile)
    if raw and not is_tiff and (in_place := upright_exif(bytes(raw), size)):
        return in_place
    out = LAYOUT | _passing_tags(image, count) if is_tiff else frozenset[int]()
    with contextlib.suppress(Exception):  # a value may not have its tag's type
        made = Image.Exif()
        made.load(exif.tobytes())
        for tag in (*out, Base.Orientation):
            made.pop(tag, None)
        inner = made.get_ifd(IFD.Exif) if IFD.Exif in made else {}
        sides = (made, Base.ImageWidth, Base.ImageLength), (inner, Base.ExifImageWidth, Base.ExifImageHeight)
        for tags, across, down in sides:
            if across in tags or down in tags:
                tags[across], tags[down] = size
        return with_types(made.tobytes()) if len(made) else b""
    return b""


def _passing_tags(image: TiffImageFile, count: int) -> frozenset[int]:
    """Tags of a TIFF that describe what the result has not: other pages, layers, credentials; or are carried apart."""
    described = str(image.tag_v2.get(_DESCRIPTION, ""))
    stack = re.match(r"ImageJ=.*?\nimages=(\d+)", described, re.DOTALL)
    of_pages = described.startswith(("<?xml", "<OME", '{"shape"', "ImageJ=")) and count > 1
    is_gone = of_pages or (stack is not None and stack[1] != "1")
    return PASSING | ({_DESCRIPTION, *_OF_IMAGEJ} if is_gone else frozenset())


def upright_exif(raw: bytes, size: Size) -> bytes:
    """EXIF whose orientation is 1, with these sizes and without its thumbnail; empty if it is damaged or says no more.

    All else keeps its place.
    """
    exif, sizes = _Exif(raw), {0x0112: 1, 0x0100: size[0], 0x0101: size[1], 0xA002: size[0], 0xA003: size[1]}
    if not exif.data.startswith((b"II*\0", b"MM\0*")):
        return b""

    def with_sizes(at: int) -> tuple[dict[int, int], int]:
        """The integers of a directory, after writing the sizes, and the place behind its entries."""
        entries, behind = exif.entries(at)
        integers = exif.integers(entries)
        for tag in integers.keys() & sizes:
            form, place, _ = integers[tag]
            exif.write(form, place, min(sizes[tag], 65535) if form == "H" else sizes[tag])
        return {tag: value for tag, (*_, value) in integers.items()}, behind

    with contextlib.suppress(struct.error):
        tags, behind = with_sizes(exif.read("I", 4))
        if IFD.Exif in tags:
            with_sizes(tags[IFD.Exif])
        second, end = exif.read("I", behind), len(exif.data)
        if 0 < second < end:
            tags, _ = with_sizes(second)
            place, length = tags.get(0x0201, 0), tags.get(0x0202, 0)
            if 8 < place < end:
                length = min(length, end - place)
                exif.data[place : place + length] = b"" if place + length == end else bytes(length)
        exif.write("I", behind, 0)
        seen = Image.Exif()
        seen.load(bytes(exif.data))
        return b"Exif\0\0" + bytes(exif.data) if seen.keys() - {Base.Orientation} else b""
    return b""


def with_types(raw: bytes) -> bytes:
    """EXIF or a TIFF by Pillow, which writes bytes as numbers, with the type "undefined" where EXIF wants that."""
    exif = _Exif(raw)
    with contextlib.suppress(struct.error):
        first, _ = exif.entries(exif.read("I", 4))
        if IFD.Exif in first:
            entries, _ = exif.entries(exif.read("I", first[IFD.Exif] + 8))
            for tag in entries.keys() & _UNDEFINED:
                if exif.read("H", entries[tag] + 2) == 1:
                    exif.write("H", entries[tag] + 2, 7)
    return bytes(exif)


def without_orientation(raw: bytes) -> bytes:
    """EXIF that says nothing of an orientation; all else but the entries of its first directory keeps its place."""
    exif = _Exif(raw)
    with contextlib.suppress(struct.error):
        first = exif.read("I", 4)
        entries, behind = exif.entries(first)
        place, end = entries.get(Base.Orientation), behind + 4  # behind the entries is the offset of the next directory
        if place is not None and end <= len(exif.data):
            exif.data[place:end] = exif.data[place + 12 : end] + bytes(12)
            exif.write("H", first, len(entries) - 1)
    return bytes(exif)
