"""Metadata that a result carries: read from a file, without what no longer holds, and packed for another one."""

import contextlib
import html
import io
import re
import struct
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngImageFile, putchunk
from PIL.TiffImagePlugin import TiffImageFile

from latentedit_keep.photo import color, gainmap, inventory, xmp
from latentedit_keep.photo.containers import COM, boxes, chunks, raw_tag, segment, segments
from latentedit_keep.photo.warp import Size

XMP_KEY = "XML:com.adobe.xmp"  # of a text in a PNG
COMMENT = "Comment"  # likewise
MOST_XMP_BYTES = 65_533 - len(xmp.HEAD)  # of a JPEG's segment, whose length has 16 bits
_MOST_BYTES = 65_533
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Read elsewhere, written anew, or of the pixels; all other chunks are copied if their last letter says that one may.
_OWN = (b"eXIf", b"iCCP", b"cICP", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"leDt", b"iDOT", b"tIME", b"fdAT", b"fcTL")
_LIKE_PIXELS = (b"bKGD", b"sBIT")  # hold if color type and depth stay
_COLORS = (b"mDCV", b"cLLI", b"mDCv", b"cLLi", b"sTER")  # hold, though not safe to copy for those who do not know them
_RAW_PROFILE = "Raw profile type "
_HEX = 72  # digits in a line
_HEADER = slice(24, 26)  # depth and color type of a PNG
_MARKERS = {"COM": COM, **{f"APP{number}": 0xE0 + number for number in range(16)}}
_KEPT = ("parts", "chunks", "resources", "comment")  # that Pillow images from `PixelImage.image` have
# Tags of a TIFF that are carried apart, or describe what the result has not.
_PASSING = frozenset({330, 512, 513, 514, 530, 531, 532, 33723, 34377, 37724, 52545})
_LISTS = {5: "Alt", 25: "Bag", 80: "Seq", 116: "Alt", 120: "Alt"}  # kinds of the properties that are lists
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # which XML cannot hold
_PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    ' xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/">{}</rdf:Description></rdf:RDF></x:xmpmeta>'
)
# Tags of EXIF whose bytes have the type "undefined".
_UNDEFINED = frozenset({34856, 36864, 37121, 37500, 37510, 40960, 41484, 41728, 41729, 41730, 41995, 42080})


def described(content: bytes, image: Image.Image, size: Size) -> dict[str, Any]:
    """What `packed_png` and `packed_jpeg` carry, by Pillow's names and ours, for an upright image of that size.

    "xmp" and "exif" are packets; "resources" Photoshop's, with IPTC; "comment" is bytes; "chunks" are a PNG's depth and
    color type, with chunks to copy; "own gain map" is a `GainMap`, which holds where nothing changes; "parts" is the
    inventory of the file.
    """
    info: Any = image.info
    listed: Any = [] if content else getattr(image, "applist", [])  # the segments of a JPEG that Pillow has opened
    if listed:
        content = b"\xff\xd8" + b"".join(segment(_MARKERS[name], data) for name, data in listed) + b"\xff\xd9"
    found: dict[str, Any] = {name: info[name] for name in _KEPT if name in info} if not content else {}
    found |= {"parts": inventory.inventory(content)} if content else {}
    if listed and image.format == "MPO":  # what lies behind is not at hand
        found["parts"]["further image"] = ""
    profiles, comment = raw_profiles(content, image), info.get("comment")
    packet = _packet(info.get("xmp") or info.get(XMP_KEY) or profiles.get("xmp"))
    resources, exif = profiles.get("resources", b""), info.get("exif") or profiles.get("exif")
    if content.startswith(b"\xff\xd8"):
        pieces = [(one.kind[0], one.of(content)) for one in segments(content) if one.kind[0] in (0xE1, 0xED, COM)]
        packet = xmp.merged(*xmp.packets(data for kind, data in pieces if kind == 0xE1))
        parts = (data for kind, data in pieces if kind == 0xED and data.startswith(inventory.PHOTOSHOP))
        resources = b"".join(data.removeprefix(inventory.PHOTOSHOP) for data in parts)
        comment = next((data for kind, data in pieces if kind == COM), None)
        found["own gain map"] = gainmap.read(content)
    elif isinstance(image, TiffImageFile):
        packet = raw_tag(content, 700) or packet
        resources = inventory.tiff_resources(content)
    else:
        copied = list[tuple[bytes, bytes]]()
        for one in chunks(content) if content.startswith(b"\x89PNG") else ():
            data = one.of(content)
            key = data[:80].partition(b"\0")[0].decode("latin-1") if one.kind in _TEXTS else ""
            if key.removeprefix(_RAW_PROFILE) in inventory.RAW_PROFILES:
                continue
            if key == COMMENT:
                comment = inventory.text_of(one.kind, data)
            elif one.kind in (*_LIKE_PIXELS, *_COLORS) or (
                key not in (XMP_KEY, "latentedit") and one.kind not in _OWN and one.kind[3:4].islower()
            ):
                copied.append((one.kind, data))
        for key, text in getattr(image, "text", {}).items() if not content else ():
            if key not in (XMP_KEY, COMMENT, "latentedit") and not key.startswith(_RAW_PROFILE):
                copied.append((b"iTXt", f"{key}\0\0\0\0\0{text}".encode()))
        found |= {"chunks": (content[_HEADER], tuple(copied))} if copied else {}
    if content[4:8] == b"JXL ":
        packet = packet or next((one.of(content) for one in boxes(content) if one.kind == b"xml "), b"")
    found |= {"resources": inventory.lasting(resources)} if resources else {}
    found["xmp"] = xmp.without_claims(packet, size)
    found["comment"] = comment.rstrip(b"\0") if isinstance(comment, bytes) else comment
    if not isinstance(image, TiffImageFile) and exif:
        found["exif"] = upright_exif(bytes(exif), size)
    return {key: value for key, value in found.items() if value}


def raw_profiles(content: bytes, image: Image.Image) -> dict[str, bytes]:
    """What ImageMagick wrote as texts of a PNG: "exif", "xmp" and "resources" as packets."""
    if not isinstance(image, PngImageFile):
        return {}
    found = dict[str, bytes]()
    pieces = [(one.kind, one.of(content)) for one in chunks(content) if one.kind in _TEXTS]
    texts = [(data[:80].partition(b"\0")[0].decode("latin-1"), kind, data) for kind, data in pieces]
    if not content:
        texts = [(key, b"tEXt", b"\0" + text.encode("latin-1", "replace")) for key, text in image.text.items()]
    for key, kind, data in texts:
        name = key.removeprefix(_RAW_PROFILE)
        if name != key and name in inventory.RAW_PROFILES:
            packet = inventory.raw_profile(inventory.text_of(kind, data))
            name = "exif" if packet.startswith(b"Exif\0") else inventory.RAW_PROFILES[name]
            found.setdefault(name, packet.removeprefix(xmp.HEAD))
    return found


def passing_tags(image: TiffImageFile) -> frozenset[int]:
    """Tags of a TIFF that describe what the result has not: other pages, layers, credentials; or are carried apart."""
    described = str(image.tag_v2.get(270, ""))
    stack = re.match(r"ImageJ=.*?\nimages=(\d+)", described, re.DOTALL)
    of_pages = described.startswith(("<?xml", "<OME", '{"shape"', "ImageJ=")) and inventory.frames(image) > 1
    is_gone = of_pages or (stack is not None and stack[1] != "1")
    return _PASSING | ({270, 50838, 50839} if is_gone else frozenset())


def _packet(packet: Any) -> bytes:
    return packet.encode() if isinstance(packet, str) else bytes(packet or b"")


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
            exif.write(form, place, min(sizes[tag], 65535 if form == "H" else 2**32 - 1))
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
        place, end = entries.get(Base.Orientation), behind + 4  # with the offset of the next directory
        if place is not None and end <= len(exif.data):
            exif.data[place:end] = exif.data[place + 12 : end] + bytes(12)
            exif.write("H", first, len(entries) - 1)
    return bytes(exif)


def packed_jpeg(info: color.Info) -> tuple[dict[str, Any], bytes]:
    """Options of Pillow's JPEG encoder with the metadata, and further segments."""
    packet, extended = xmp.split(info.get("xmp", b""), MOST_XMP_BYTES)
    most = _MOST_BYTES - len(inventory.PHOTOSHOP)
    resources = info.get("resources", b"")
    parts = [resources[at : at + most] for at in range(0, len(resources), most)]
    more = b"".join(segment(0xE1, one) for one in extended)
    more += b"".join(segment(0xED, inventory.PHOTOSHOP + one) for one in parts)
    return {"xmp": packet, "comment": info.get("comment", b"")[:_MOST_BYTES]}, more


def packet_of(info: color.Info) -> bytes:
    """The XMP with what IPTC says, for formats that have no place for it."""
    listed: dict[int, list[str]] = {}
    for record, number, value in inventory.datasets(inventory.iptc_of(info.get("resources", b""))):
        if record == 2 and number in inventory.IPTC_AS_XMP:
            try:
                text = value.decode()
            except UnicodeDecodeError:
                text = value.decode("latin-1")
            if number == 55:
                text = re.sub(r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3", text)
            listed.setdefault(number, []).append(html.escape(_CONTROL.sub("", text)))
    packet = info.get("xmp", b"")
    if not listed:
        return packet
    lines = list[str]()
    for number, texts in listed.items():
        name, kind = inventory.IPTC_AS_XMP[number], _LISTS.get(number)
        language = ' xml:lang="x-default"' if kind == "Alt" else ""
        items = "".join(f"<rdf:li{language}>{text}</rdf:li>" for text in texts)
        lines.append(f"<{name}>{f'<rdf:{kind}>{items}</rdf:{kind}>' if kind else texts[0]}</{name}>")
    own = _PACKET.format("".join(lines)).encode()
    return xmp.united(packet, own) if packet else own


def packed_tiff(info: color.Info) -> dict[int, bytes]:
    """Tags of a TIFF."""
    resources = info.get("resources", b"")
    tags = {700: info.get("xmp", b""), 34377: resources, 33723: inventory.iptc_of(resources)}
    return {tag: value for tag, value in tags.items() if value}


def packed_png(info: color.Info, header: bytes) -> bytes:
    """Chunks of a PNG of that header with all but the colors, the resolution and EXIF."""
    file, (before, copied) = io.BytesIO(), info.get("chunks") or (b"", ())
    for kind, data in copied:
        if kind not in _LIKE_PIXELS or before == header[_HEADER]:
            putchunk(file, kind, data)
    if packet := packet_of(info):
        putchunk(file, b"iTXt", XMP_KEY.encode() + b"\0\0\0\0\0" + packet)
    if resources := info.get("resources"):
        digits = resources.hex()
        lines = [digits[at : at + _HEX] for at in range(0, len(digits), _HEX)]
        putchunk(
            file, b"tEXt", "\n".join(["Raw profile type iptc\0", "iptc", f"{len(resources):8}", *lines, ""]).encode()
        )
    if comment := info.get("comment"):
        putchunk(file, b"iTXt", COMMENT.encode() + b"\0\0\0\0\0" + comment.decode("utf-8", "replace").encode())
    return file.getvalue()
