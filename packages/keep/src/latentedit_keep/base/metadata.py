"""Metadata that a result carries: read from a file, without what no longer holds, and packed for another one."""

import contextlib
import html
import io
import re
import struct
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import putchunk
from PIL.TiffImagePlugin import TiffImageFile

from latentedit_keep.base import color, gainmap, inventory, xmp
from latentedit_keep.base.containers import COM, boxes, chunks, segment, segments
from latentedit_keep.base.warp import Size

XMP_KEY = "XML:com.adobe.xmp"  # of a text in a PNG
COMMENT = "Comment"  # likewise
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
MOST_XMP_BYTES = 65_533 - len(_XMP)  # of a JPEG's segment, whose length has 16 bits
_MOST_BYTES = 65_533
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Read elsewhere, written anew, or of the pixels; all other chunks are copied if their last letter says that one may.
_OWN = (b"eXIf", b"iCCP", b"cICP", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"leDt", b"iDOT", b"tIME", b"fdAT", b"fcTL")
_LIKE_PIXELS = (b"bKGD", b"sBIT")  # hold if color type and depth stay
_COLORS = (b"mDCV", b"cLLI", b"mDCv", b"cLLi", b"sTER")  # hold, though not safe to copy for those who do not know them
_RAW_PROFILES = ("exif", "APP1", "xmp", "iptc", "8bim")
_HEX = 72  # digits in a line
_HEADER = slice(24, 26)  # depth and color type of a PNG
_MARKERS = {"COM": COM, **{f"APP{number}": 0xE0 + number for number in range(16)}}
_KEPT = ("parts", "chunks", "resources", "comment")  # that Pillow images from `PixelImage.image` have


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
    packet, comment, resources = _packet(info.get("xmp") or info.get(XMP_KEY)), info.get("comment"), b""
    if content.startswith(b"\xff\xd8"):
        pieces = [(one.kind[0], one.of(content)) for one in segments(content) if one.kind[0] in (0xE1, 0xED, COM)]
        main = next((data for kind, data in pieces if kind == 0xE1 and data.startswith(_XMP)), _XMP)
        extended = [data for kind, data in pieces if kind == 0xE1 and data.startswith(xmp.EXTENSION)]
        packet = xmp.merged(main.removeprefix(_XMP), extended)
        parts = (data for kind, data in pieces if kind == 0xED and data.startswith(inventory.PHOTOSHOP))
        resources = b"".join(data.removeprefix(inventory.PHOTOSHOP) for data in parts)
        comment = next((data for kind, data in pieces if kind == COM), None)
        found["own gain map"] = gainmap.read(content)
    elif isinstance(image, TiffImageFile):
        packet = inventory.raw_tag(content, 700) or packet
        resources = inventory.tiff_resources(content)
    else:
        copied = list[tuple[bytes, bytes]]()
        for one in chunks(content) if content.startswith(b"\x89PNG") else ():
            data = one.of(content)
            key = data[:80].partition(b"\0")[0].decode("latin-1") if one.kind in _TEXTS else ""
            kind = key.removeprefix("Raw profile type ")
            if kind != key and kind in _RAW_PROFILES:
                resources = resources or (
                    inventory.raw_profile(inventory.text_of(one.kind, data)) if "i" in kind else b""
                )
            elif key == COMMENT:
                comment = inventory.text_of(one.kind, data)
            elif one.kind in (*_LIKE_PIXELS, *_COLORS) or (
                key not in (XMP_KEY, "latentedit") and one.kind not in _OWN and one.kind[3:4].islower()
            ):
                copied.append((one.kind, data))
        for key, text in getattr(image, "text", {}).items() if not content else ():
            if key not in (XMP_KEY, COMMENT, "latentedit") and not key.startswith("Raw profile type "):
                copied.append((b"iTXt", f"{key}\0\0\0\0\0{text}".encode()))
        found |= {"chunks": (content[_HEADER], tuple(copied))} if copied else {}
    if content[4:8] == b"JXL ":
        packet = packet or next((one.of(content) for one in boxes(content) if one.kind == b"xml "), b"")
    found |= {"resources": inventory.lasting(resources)} if resources else {}
    found["xmp"] = xmp.without_claims(packet, size)
    found["comment"] = comment.rstrip(b"\0") if isinstance(comment, bytes) else comment
    if not isinstance(image, TiffImageFile) and "exif" in info:
        found["exif"] = upright_exif(bytes(info.get("exif") or b""), size)
    return {key: value for key, value in found.items() if value}


def passing_tags(image: TiffImageFile) -> frozenset[int]:
    """Tags of a TIFF that describe what the result has not: other pages, layers, credentials; or are carried apart."""
    described = str(image.tag_v2.get(270, ""))
    stack = re.match(r"ImageJ=.*?\nimages=(\d+)", described, re.DOTALL)
    of_pages = described.startswith(("<?xml", "<OME", '{"shape"', "ImageJ=")) and getattr(image, "n_frames", 1) > 1
    is_gone = of_pages or (stack is not None and stack[1] != "1")
    return _PASSING | ({270, 50838, 50839} if is_gone else frozenset())


_PASSING = frozenset({330, 512, 513, 514, 530, 531, 532, 33723, 34377, 37724, 52545})
_LISTS = {5: "Alt", 25: "Bag", 80: "Seq", 116: "Alt", 120: "Alt"}  # kinds of the properties that are lists
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # which XML cannot hold
_PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    ' xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/">{}</rdf:Description></rdf:RDF></x:xmpmeta>'
)


def _packet(packet: Any) -> bytes:
    return packet.encode() if isinstance(packet, str) else bytes(packet or b"")


def upright_exif(raw: bytes, size: Size) -> bytes:
    """EXIF whose orientation is 1, with these sizes and without its thumbnail; empty if it is damaged or says no more.

    All else keeps its place: makers' notes hold offsets that count from EXIF's beginning.
    """
    data = bytearray(raw.removeprefix(b"Exif\0\0"))
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))
    with contextlib.suppress(struct.error, IndexError, KeyError):
        if order is None:
            return b""
        sizes = {0x0112: 1, 0x0100: size[0], 0x0101: size[1], 0xA002: size[0], 0xA003: size[1]}

        def entries(at: int) -> tuple[dict[int, tuple[int, int]], int]:
            """Tag -> place of the value and value of the integers in a directory, and the place behind it."""
            (count,), found = struct.unpack_from(f"{order}H", data, at), dict[int, tuple[int, int]]()
            for place in range(at + 2, at + 2 + 12 * count, 12):
                tag, kind = struct.unpack_from(f"{order}2H", data, place)
                letter = {3: "H", 4: "I"}.get(kind)
                if tag in sizes and letter is not None:
                    struct.pack_into(
                        f"{order}{letter}", data, place + 8, min(sizes[tag], 65535 if kind == 3 else 2**32 - 1)
                    )
                if letter is not None:
                    found[tag] = place + 8, struct.unpack_from(f"{order}{letter}", data, place + 8)[0]
            return found, at + 2 + 12 * count

        (first,) = struct.unpack_from(f"{order}I", data, 4)
        tags, behind = entries(first)
        if IFD.Exif in tags:
            entries(tags[IFD.Exif][1])
        (second,) = struct.unpack_from(f"{order}I", data, behind)
        if 0 < second < len(data):
            tags, _ = entries(second)
            place, length = tags.get(0x0201, (0, 0))[1], tags.get(0x0202, (0, 0))[1]
            if 8 < place < len(data):
                length = min(length, len(data) - place)
                data[place : place + length] = b"" if place + length == len(data) else bytes(length)
        struct.pack_into(f"{order}I", data, behind, 0)
        exif = Image.Exif()
        exif.load(bytes(data))
        return b"Exif\0\0" + bytes(data) if exif.keys() - {Base.Orientation} else b""
    return b""


_UNDEFINED = frozenset({34856, 36864, 37121, 37500, 37510, 40960, 41484, 41728, 41729, 41730, 41995, 42080})


def with_types(raw: bytes) -> bytes:
    """EXIF or a TIFF by Pillow, which writes bytes as numbers, with the type "undefined" where EXIF wants that."""
    head = b"Exif\0\0" if raw.startswith(b"Exif\0\0") else b""
    data = bytearray(raw.removeprefix(head))
    order = "<" if data.startswith(b"II") else ">"
    with contextlib.suppress(struct.error):
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        for wanted in (IFD.Exif, None):
            (count,) = struct.unpack_from(f"{order}H", data, at)
            places = range(at + 2, at + 2 + 12 * count, 12)
            entries = {struct.unpack_from(f"{order}H", data, place)[0]: place for place in places}
            if wanted in entries:
                (at,) = struct.unpack_from(f"{order}I", data, entries[wanted] + 8)
            elif wanted is not None:
                return raw
            for tag in () if wanted else entries.keys() & _UNDEFINED:
                if struct.unpack_from(f"{order}H", data, entries[tag] + 2)[0] == 1:
                    struct.pack_into(f"{order}H", data, entries[tag] + 2, 7)
    return head + bytes(data)


def without_orientation(raw: bytes) -> bytes:
    """EXIF that says nothing of an orientation; all else but the entries of its first directory keeps its place."""
    head = b"Exif\0\0" if raw.startswith(b"Exif\0\0") else b""
    data = bytearray(raw.removeprefix(head))
    order = "<" if data.startswith(b"II") else ">"
    with contextlib.suppress(struct.error):
        (first,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, first)
        end = first + 2 + 12 * count + 4
        for place in range(first + 2, min(end - 4, len(data)), 12):
            if struct.unpack_from(f"{order}H", data, place)[0] == Base.Orientation and end <= len(data):
                data[place:end] = data[place + 12 : end] + bytes(12)
                struct.pack_into(f"{order}H", data, first, count - 1)
                break
    return head + bytes(data)


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
