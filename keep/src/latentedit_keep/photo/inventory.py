"""What an image file holds beside the colors of its pixels, and what became of it in another file."""

import contextlib
import dataclasses
import hashlib
import io
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

from latentedit_keep.photo import xmp
from latentedit_keep.photo.containers import (
    PHOTOSHOP,
    PNG_SIGNATURE,
    RAW_PROFILE,
    TEXTS,
    Marker,
    Parsed,
    Piece,
    boxes,
    mpf_images,
    parsed,
    raw_tag,
    segments,
    text_of,
)

Parts = dict[str, str]  # name of a part, such as "EXIF Make" -> its value, or the hash of it
_EXIF = b"Exif\0"
_PROFILE = b"ICC_PROFILE\0"
_CREDENTIALS = b"jumdc2pa"
XMP_KEY = "XML:com.adobe.xmp"  # of a text in a PNG
COMMENT = "Comment"  # likewise
# Beginnings of segments that are read, or belong to the pixels: of gain maps, credentials, encoders' qualities.
_SEGMENTS_READ = {
    Marker.APP1: (xmp.HEAD, xmp.EXTENSION),
    Marker.APP2: (b"urn:iso:std:iso:ts:21496", b"Adobe"),
    Marker.APP11: (b"JP",),
    0xEC: (b"Ducky",),
    Marker.APP13: (PHOTOSHOP,),
    0xEE: (b"urn:iso:std:iso:ts:21496", b"Adobe"),
}
RAW_PROFILES = {"exif": "exif", "APP1": "xmp", "xmp": "xmp", "iptc": "resources", "8bim": "resources"}
LARGE_XMP = "XMP that is too large to be read"
# Photoshop's resources that show the image, repeat what lies elsewhere, or are read as parts of their own.
_COPIES = {1033: "thumbnail (Photoshop)", 1036: "thumbnail (Photoshop)", 1039: "", 1058: "", 1059: "", 1060: ""}
IPTC = 1028  # number of the resource
_STORAGE = frozenset({*range(254, 267), 273, *range(277, 285), *range(288, 293), 296, *range(317, 348), 512, 513, 514,
                      530, 531, 532, 700, 33723, 34377, 34665, 34675, 34853, 40965, 52545})  # fmt: skip
_TURNED = frozenset({0x0112, 0x0100, 0x0101, 0xA002, 0xA003})  # tags that the pixels now tell: orientation and sizes
_SHOWING = {37724: "layers (Photoshop)", 50838: "ImageJ's data", 50839: "ImageJ's data"}  # of the pages as they were
_PNG_STORAGE = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"fcTL", b"fdAT", b"iDOT", b"hIST", b"leDt")
_PNG_COLORS = (b"cICP", b"iCCP", b"gAMA", b"cHRM", b"sRGB")
_PNG_NAMES = {
    b"tIME": "time of the last change", b"acTL": "further frames", b"caBX": "content credentials",
    b"bKGD": "background color",
}  # fmt: skip
_WEBP_STORAGE = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANMF")
_WEBP_NAMES = {b"ICCP": "color profile", b"ANIM": "further frames", b"C2PA": "content credentials"}
_MPF_TYPES = {0x010001: "preview image", 0x010002: "preview image", 0x020001: "panorama", 0x020002: "stereo image"}
# Items and properties of HEIC and AVIF, and boxes of these and of JPEG XL and MP4.
_AUXILIARIES = {
    b"hdrgainmap": "HDR gain map", b"disparity": "depth map", b"auxid:2": "depth map", b"aux:depth": "depth map",
    b"portraiteffectsmatte": "portrait matte", b"semantic": "segmentation matte", b"stylesdeltamap": "style map",
}  # fmt: skip
_BOX_NAMES = {
    b"mpvd": "motion clip", b"moov": "further frames", b"jhgm": "HDR gain map", b"jumb": "content credentials",
}  # fmt: skip
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
}
# Datasets of IPTC's second record -> the XMP properties that mean the same, by the IPTC Photo Metadata Standard.
IPTC_AS_XMP = {
    5: "dc:title", 25: "dc:subject", 40: "photoshop:Instructions", 55: "photoshop:DateCreated",
    80: "dc:creator", 85: "photoshop:AuthorsPosition", 90: "photoshop:City", 92: "Iptc4xmpCore:Location",
    95: "photoshop:State", 100: "Iptc4xmpCore:CountryCode", 101: "photoshop:Country",
    103: "photoshop:TransmissionReference", 105: "photoshop:Headline", 110: "photoshop:Credit",
    115: "photoshop:Source", 116: "dc:rights", 120: "dc:description", 122: "photoshop:CaptionWriter",
}  # fmt: skip
_MODES = {
    "1": "one bit a pixel", "P": "palette", **dict.fromkeys(("L", "I", "I;16", "I;16B"), "one channel of gray"),
}  # fmt: skip
_CODESTREAM = b"\xff\x0a"  # begins that of a JPEG XL
_PICTURES = (b"hvc1", b"av01", b"grid", b"iovl", b"jpeg", b"avc1", b"vvc1", b"j2k1", b"unci", b"iden")
_MOST_IMAGES = 64
_LONGEST_NAME = 60


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of the parts of a file in another one: names, in the file's order."""

    carried: tuple[str, ...] = ()
    translated: tuple[str, ...] = ()  # there in another form, or without what no longer holds
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)  # name -> reason

    @property
    def line(self) -> str:
        """What a reader would miss, in words; empty if it is nothing."""
        return ", ".join(grouped(name for name in self.left_out if not name.startswith(_QUIET)))


def inventory(content: bytes | Parsed) -> Parts:
    """The parts of a file that are not its pixels. Whatever cannot be read is named as such."""
    file, found, values = parsed(content), Parts(), dict[str, set[str]]()
    for kind, read in _READERS.items():
        if re.match(kind, file.content, re.DOTALL):
            try:
                for name, value in read(file):
                    _put(found, values, name, value)
            except Exception:  # noqa: BLE001 (damaged in any way; decoders have their own word on it)
                found["metadata that cannot be read"] = ""
    return found


def compared(before: Parts, after: Parts, format: str) -> Fate:  # noqa: A002 (the field's word)
    """What became of the parts in a file of another inventory, of a format such as "JPEG"."""
    carried, translated, left_out = list[str](), list[str](), dict[str, str]()
    for name, value in before.items():
        if name in after and (after[name] == value or not value):
            carried.append(name)
        elif (name in after and not name.endswith(" a channel")) or _as_xmp(name) in after:
            translated.append(name)
        else:
            why = next((text for start, text in _WHY.items() if name.startswith(start)), "")
            left_out[name] = why or f"{format} has no place for it, or it no longer holds"
    return Fate(carried=(*grouped(carried),), translated=(*grouped(translated),), left_out=left_out)


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


def _put(found: Parts, values: dict[str, set[str]], name: str, value: bytes | str) -> None:
    """Add a part; further ones of one name, with other values, get a number."""
    if name == "resolution" and name in found:  # programs prefer that of the format to that of EXIF
        return
    value = hashlib.sha256(value).hexdigest()[:12] if isinstance(value, bytes) else value
    name = "".join(one for one in name[:_LONGEST_NAME] if one.isprintable())
    known = values.setdefault(name, set())
    if value not in known:
        known.add(value)
        found[name if len(known) == 1 else f"{name} {len(known)}"] = value


_Found = Iterator[tuple[str, bytes | str]]


def _depth(bits: int) -> _Found:
    """More than 8 bits, which few formats hold."""
    yield from [(f"{bits} bits a channel", "")] if bits > 8 else []


def _of_jpeg(file: Parsed) -> _Found:
    content, profile, types = file.content, b"", dict[int, str]()
    end = len(content)
    for one in file.pieces:
        data, marker = one.of(content) if one.kind[0] not in (Marker.SOI, Marker.SOS) else b"", one.kind[0]
        if marker == Marker.EOI:
            end = one.end
        elif marker == Marker.COM:
            yield "comment", data.rstrip(b"\0")
        elif marker in (0xC0, 0xC1, 0xC2) and len(data) > 5 and data[5] == 1:
            yield "one channel of gray", ""
        elif marker == Marker.APP0 and data.startswith(b"JFXX"):
            yield "thumbnail (JFXX)", data
        elif marker == Marker.APP0 and data.startswith(b"JFIF") and len(data) >= 12 and data[7] in (1, 2):
            yield "resolution", _per_inch(data[8:10], data[10:12], 1 if data[7] == 1 else 2.54)
        elif marker == Marker.APP1 and data.startswith(_EXIF):
            yield from _of_exif(data[6:])
        elif marker == Marker.APP2 and data.startswith(_PROFILE):
            profile += data[len(_PROFILE) + 2 :]
        elif marker == Marker.APP2 and data.startswith(b"MPF\0"):
            listed = mpf_images(data[4:])
            types = {one.begin + 4 + place: _MPF_TYPES.get(kind & 0xFFFFFF, "") for kind, place in listed}
        elif marker == Marker.APP11 and b"c2pa" in data[:400]:
            yield "content credentials", ""
        elif Marker.APP1 <= marker <= Marker.APP15 and not data.startswith(_SEGMENTS_READ.get(marker, ())):
            name = re.match(rb"[\w .:/-]*", data[:40])
            yield f"APP{marker - Marker.APP0} {name[0].decode() if name else ''}".strip(), data
    if profile:
        yield "color profile", profile
    yield from _of_resources(file.resources)
    yield from _of_xmp(file.packet)
    yield from _behind(content, end, types)


def _behind(content: bytes, end: int, types: dict[int, str]) -> _Found:
    """What lies behind the end of a JPEG: further images, clips, or anything else."""
    for place in sorted(types):  # of cameras with gaps between the images
        if place > end and content.startswith(b"\xff\xd8\xff", place) and not content[end:place].strip(b"\0\xff"):
            end = place
            break
    for _ in range(_MOST_IMAGES):
        if content.startswith(b"\xff\xd8\xff", end):
            pieces = list(segments(content, end))
            head = b"".join(one.of(content)[:4000] for one in pieces if Marker.APP1 <= one.kind[0] <= Marker.APP15)
            yield (types.get(end) or _image_name(head)), content[end : pieces[-1].end]
            end = pieces[-1].end
        elif content[end + 4 : end + 8] == b"ftyp":
            *_, last = boxes(content, end)
            yield "motion clip", content[end : last.end]
            end = last.end
        elif content[end : end + 64].strip(b"\0\xff") or content[end:].strip(b"\0\xff") == b"":
            break
        else:
            end += len(content[end:]) - len(content[end:].lstrip(b"\0"))
    rest = content[end:].strip(b"\0\xff")
    if b"ftyp" in rest[:4096]:  # within a maker's own trailer
        yield "motion clip", rest
    elif rest:
        yield f"{len(rest)} bytes behind the end", rest


def _image_name(head: bytes) -> str:
    if b"hdrgm:" in head or b"urn:iso:std:iso:ts:21496" in head or b"hdrgainmap" in head:
        return "HDR gain map"
    return "depth map" if b"epth" in head or b"isparity" in head else "further image"


def _of_png(file: Parsed) -> _Found:
    end, colors, keys = len(file.content), b"", {one.start: key for key, one in file.texts}
    for one in file.pieces:
        data = one.of(file.content)
        end = one.end + 4 if one.kind == b"IEND" else end
        if one.kind == b"IHDR":
            yield from _depth(data[8])
            if data[9] == 3 or data[8] == 1:
                yield "palette" if data[9] == 3 else "one bit a pixel", ""
            elif data[9] in (0, 4):
                yield "one channel of gray", ""
        elif one.kind in _PNG_COLORS:
            colors += data
        elif one.kind in TEXTS:
            yield from _of_text(keys[one.start], text_of(one.kind, data))
        elif one.kind == b"eXIf":
            yield from _of_exif(data.removeprefix(b"Exif\0\0"))
        elif one.kind == b"pHYs":
            if data[8:9] == b"\1":
                yield "resolution", _per_inch(data[:4], data[4:8], 0.0254)
        elif one.kind in _PNG_NAMES:
            yield _PNG_NAMES[one.kind], b"" if one.kind == b"caBX" else data
        elif one.kind == b"leDt":
            yield "undo data", data
        elif one.kind not in _PNG_STORAGE:
            yield f"chunk {one.kind.decode('latin-1')}", data
    if colors:
        yield "color profile", colors
    if rest := file.content[end:].strip(b"\0"):
        yield f"{len(rest)} bytes behind the end", rest


def _of_text(key: str, text: bytes) -> _Found:
    profile = key.removeprefix(RAW_PROFILE)
    if key == XMP_KEY:
        yield from _of_xmp(text)
    elif key == COMMENT:
        yield "comment", text
    elif profile != key and re.fullmatch(r"\w+", profile) and (content := raw_profile(text)):
        if profile in ("exif", "APP1") and content.startswith(_EXIF):
            yield from _of_exif(content[6:])
        elif profile in ("xmp", "APP1"):
            yield from _of_xmp(content.removeprefix(xmp.HEAD))
        elif profile in ("iptc", "8bim"):
            yield from _of_resources(content)
        else:
            yield f"text {key}", text
    elif key != "latentedit":
        yield f"text {key}", text


def raw_profile(text: bytes) -> bytes:
    """The bytes that ImageMagick wrote as hexadecimal digits into a text; empty if they are damaged."""
    words = text.split(None, 2)  # the kind, the number of bytes, the digits
    with contextlib.suppress(ValueError):
        return bytes.fromhex(words[2].decode("ascii", "replace")) if len(words) == 3 else b""
    return b""


def _of_webp(file: Parsed) -> _Found:
    content = file.content
    for one in file.pieces:
        data = one.of(content)
        if one.kind == b"EXIF":
            yield from _of_exif(data.removeprefix(b"Exif\0\0"))
        elif one.kind == b"XMP ":
            yield from _of_xmp(data)
        elif one.kind in _WEBP_NAMES:
            yield _WEBP_NAMES[one.kind], b"" if one.kind == b"C2PA" else data
        elif one.kind not in _WEBP_STORAGE:
            yield f"chunk {one.kind.decode('latin-1').strip()}", data
    if rest := content[8 + int.from_bytes(content[4:8], "little") :].strip(b"\0"):
        yield f"{len(rest)} bytes behind the end", rest


def _of_tiff(file: Parsed) -> _Found:
    content = file.content
    with Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
        if not isinstance(image, TiffImageFile):
            return
        tags: Any = image.tag_v2
        bits = max(tags.get(258, (1,)))
        yield from _depth(bits)
        if bits == 1 or image.mode in ("P", "PA"):
            yield "one bit a pixel" if bits == 1 else "palette", ""
        elif tags.get(277, 1) in (1, 2) and tags.get(262) in (0, 1):
            yield "one channel of gray", ""
        if 330 in tags:
            yield "smaller copies", ""
        if frames(image) > 1:
            yield "further frames", ""
        if (
            52545 in tags or _CREDENTIALS in content
        ):  # with several pages, c2pa-rs puts them in a directory of their own
            yield "content credentials", ""
        if profile := raw_tag(content, 34675):
            yield "color profile", profile
        yield from _of_resources(tiff_resources(content))
        yield from _of_xmp(raw_tag(content, 700))
        yield from _of_ifds(image.getexif())


def frames(image: Image.Image) -> int:
    """How many frames can be shown; copies in an MPO and directories of a TIFF without pixels do not count."""
    with contextlib.suppress(Exception):
        return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    count = 0
    with contextlib.suppress(Exception):
        while True:
            image.seek(count)
            count += 1
    image.seek(0)
    return max(1, count)


def tiff_resources(content: bytes) -> bytes:
    """Photoshop's resources of a TIFF; its IPTC as one, if there are no others."""
    resources, iptc = raw_tag(content, 34377), raw_tag(content, 33723).rstrip(b"\0")
    return resources if not iptc or iptc_of(resources) else resources + resource(IPTC, iptc)


def _of_boxes(file: Parsed) -> _Found:
    """HEIC, AVIF and JPEG XL: items and boxes by their kinds."""
    content = file.content
    codestream = content if content.startswith(_CODESTREAM) else b""
    for one in () if codestream else file.pieces:
        if one.kind == b"meta":
            yield from _of_meta(content, one)
        elif one.kind in _BOX_NAMES:
            is_mark = one.kind == b"jumb"
            yield _BOX_NAMES[one.kind], b"" if is_mark else one.of(content)
        elif one.kind == b"uuid" and b"c2pa" in one.of(content)[:400]:
            yield "content credentials", ""
        elif one.kind == b"xml ":
            yield from _of_xmp(one.of(content))
        elif one.kind == b"brob":
            name = {b"Exif": "EXIF", b"xml ": "XMP"}.get(content[one.begin : one.begin + 4], "box")
            yield f"compressed {name}", one.of(content)
        elif one.kind in (b"jxlc", b"jxlp"):
            codestream += one.of(content)[0 if one.kind == b"jxlc" else 4 :]
    yield from _of_codestream(codestream)
    with contextlib.suppress(Exception), Image.open(io.BytesIO(content)) as image:
        info: Any = image.info
        yield from _of_exif(bytes(info.get("exif") or b"").removeprefix(b"Exif\0\0"))
        if packet := info.get("xmp"):
            yield from _of_xmp(packet if isinstance(packet, bytes) else str(packet).encode())
        if profile := info.get("icc_profile"):
            yield "color profile", bytes(profile)
        elif (named := info.get("nclx_profile")) and named.get("color_primaries") not in (None, 1, 2):
            yield "color profile", repr(sorted(named.items()))
        if image.mode in ("L", "LA"):
            yield "one channel of gray", ""


def _of_codestream(data: bytes) -> _Found:
    """Depth and frames in the header of a JPEG XL."""
    if not data.startswith(_CODESTREAM):
        return
    bits, at = int.from_bytes(data[2:64], "little"), 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return bits >> (at - count) & (1 << count) - 1

    def skip_size() -> None:
        if read(1):
            read(5)
            read(0 if read(3) else 5)
        else:
            read((9, 13, 18, 30)[read(2)])
            if not read(3):
                read((9, 13, 18, 30)[read(2)])

    depth = 8
    skip_size()
    if not read(1):  # not as usual
        if read(1):
            read(3)
            if read(1):
                skip_size()
            if read(1):  # a preview, whose size is written in another way
                return
            if read(1):
                yield "further frames", ""
                for lengths in ((0, 0, 10, 30), (0, 0, 8, 10), (0, 3, 16, 32)):
                    read(lengths[read(2)])
                read(1)
        usual = (32, 16, 24, 0) if read(1) else (8, 10, 12, 0)
        depth = usual[read(2)] or 1 + read(6)
    yield from _depth(depth)


def _of_meta(content: bytes, meta: Piece) -> _Found:
    images, hidden = set[int](), set[int]()
    for one in boxes(content, meta.begin + 4, meta.end):
        data = one.of(content)
        if one.kind == b"iprp":
            if b"pixi" in data:
                at = data.index(b"pixi") + 9
                yield from _depth(*data[at : at + 1] or (8,))
            for found in re.finditer(rb"auxC....((?:urn|https?)[ -~]{4,120})", data, re.DOTALL):
                is_alpha = b"auxid:1" in found[1] or b"alpha" in found[1]
                name = next((name for key, name in _AUXILIARIES.items() if key in found[1]), "further image")
                yield from () if is_alpha else [(name, b"")]
        elif one.kind == b"iinf":
            kinds = re.findall(rb"infe[\1\2\3]...(?:..|....)\0\0([a-z0-9 ]{4})", data, re.DOTALL)
            if b"tmap" in kinds:
                yield "HDR gain map", b""
            for entry in boxes(content, one.begin + (6 if data[:1] == b"\0" else 8), one.end):
                is_long = content[entry.begin] > 2
                number, body = _number_at(content, entry.begin + 4, is_long=is_long)
                is_shown = not content[entry.begin + 3] & 1
                images |= {number} if is_shown and content[body + 2 : body + 6] in _PICTURES else set()
            if b"c2pa" in data:
                yield "content credentials", b""
        elif one.kind == b"pitm":
            hidden.add(int.from_bytes(data[4:], "big"))
        elif one.kind == b"iref":
            for entry in boxes(content, one.begin + 4, one.end):
                is_long = data[0] > 0
                first, at = _number_at(content, entry.begin, is_long=is_long)
                others = {
                    _number_at(content, place, is_long=is_long)[0]
                    for place in range(at + 2, entry.end, 4 if is_long else 2)
                }
                hidden |= {first} if entry.kind in (b"thmb", b"auxl") else others if entry.kind == b"dimg" else set()
                if entry.kind == b"thmb":
                    yield "thumbnail (HEIF)", b""
    if images - hidden:
        yield "further image", b""


def _number_at(content: bytes, place: int, *, is_long: bool) -> tuple[int, int]:
    """The number of an item, in two bytes or four, and the place behind it."""
    end = place + (4 if is_long else 2)
    return int.from_bytes(content[place:end], "big"), end


def _of_gif(file: Parsed) -> _Found:
    with Image.open(io.BytesIO(file.content), formats=("GIF",)) as image:
        info: Any = image.info
        yield "palette", ""
        if getattr(image, "n_frames", 1) > 1:
            yield "further frames", ""
        if info.get("comment"):
            yield "comment", bytes(info["comment"])
        if info.get("xmp"):
            yield from _of_xmp(bytes(info["xmp"]))


def _of_bmp(file: Parsed) -> _Found:
    content = file.content
    across, down = content[38:42], content[42:46]
    if int.from_bytes(content[14:18], "little") >= 40 and any(across) and any(down):
        yield "resolution", _per_inch(across[::-1], down[::-1], 0.0254)
    with Image.open(io.BytesIO(content), formats=("BMP",)) as image:
        yield from [(_MODES[image.mode], "")] if image.mode in _MODES else []


def _of_netpbm(file: Parsed) -> _Found:
    content = file.content
    with Image.open(io.BytesIO(content), formats=("PPM",)) as image:
        yield from [(_MODES[image.mode], "")] if image.mode in _MODES else []
    if found := re.match(
        rb"P[2356](?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d{1,5})\s", content[:4096]
    ):
        yield from _depth(int(found[1]).bit_length())


def _of_exif(data: bytes) -> _Found:
    exif = Image.Exif()
    exif.load(data)
    yield from _of_ifds(exif)
    if exif.get_ifd(ExifTags.IFD.IFD1):
        yield "thumbnail (EXIF)", ""


def _of_ifds(exif: Image.Exif) -> _Found:
    across, down = (_number(exif.get(tag)) for tag in (282, 283))
    if across > 0 and down > 0 and exif.get(296, 2) in (2, 3):
        inch = 2.54 if exif.get(296) == 3 else 1.0
        yield "resolution", f"{across * inch:.0f} x {down * inch:.0f}"
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo) if ExifTags.IFD.GPSInfo in exif else {}
    for tags, names in (
        (dict(exif), ExifTags.TAGS),
        (exif.get_ifd(ExifTags.IFD.Exif) if ExifTags.IFD.Exif in exif else {}, ExifTags.TAGS),
        (gps, ExifTags.GPSTAGS),
    ):
        for tag, value in tags.items():
            if tag in _TURNED and names is ExifTags.TAGS:
                continue
            if tag in _SHOWING and names is ExifTags.TAGS:
                yield _SHOWING[tag], value if isinstance(value, bytes) else str(value)
                continue
            if tag not in _STORAGE or names is ExifTags.GPSTAGS:
                yield f"EXIF {names.get(tag, tag)}", value if isinstance(value, bytes) else str(value)


def _number(value: Any) -> float:
    with contextlib.suppress(TypeError, ValueError, ZeroDivisionError, OverflowError):
        return float(value) if math.isfinite(float(value)) else 0.0
    return 0.0


def _of_xmp(packet: bytes) -> _Found:
    found = xmp.properties(packet)
    if packet.strip(b"\0 ") and not found:
        yield LARGE_XMP if xmp.is_large(packet) else "XMP", packet
    for name, value in found.items():
        if "epth" in name.partition(":")[0]:
            yield "depth map", ""
        else:
            yield f"XMP {name}", value.encode()


def _of_resources(data: bytes) -> _Found:
    for number, content in resources_of(data):
        if number == IPTC:
            yield from ((f"IPTC {record}:{number}", value) for record, number, value in datasets(content))
        elif _COPIES.get(number, "resource"):
            yield _COPIES.get(number, f"Photoshop resource {number}"), content


def resources_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and contents of Photoshop's resources, in a segment APP13 without its head."""
    at = 0
    if data.startswith(b"\x1c"):  # IPTC alone
        yield IPTC, data
    while data[at : at + 4] in (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR") and at + 12 <= len(data):
        number, name = int.from_bytes(data[at + 4 : at + 6], "big"), data[at + 6]
        begin = at + 6 + (1 + name + 1) // 2 * 2
        size = int.from_bytes(data[begin : begin + 4], "big")
        content = data[begin + 4 : begin + 4 + size]
        if len(content) < size:
            return
        yield number, content
        at = begin + 4 + (size + 1) // 2 * 2


def resource(number: int, content: bytes) -> bytes:
    """A resource of Photoshop without a name."""
    head = b"8BIM" + number.to_bytes(2, "big") + b"\0\0" + len(content).to_bytes(4, "big")
    return head + content + b"\0" * (len(content) % 2)


def lasting(resources: bytes) -> bytes:
    """Photoshop's resources without thumbnails and without what is read elsewhere."""
    return b"".join(resource(*one) for one in resources_of(resources) if one[0] not in _COPIES)


def iptc_of(resources: bytes) -> bytes:
    """The datasets of IPTC among Photoshop's resources; empty if there are none."""
    return next((content for number, content in resources_of(resources) if number == IPTC), b"")


def datasets(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Record, number and content of IPTC's datasets."""
    at = 0
    while data[at : at + 1] == b"\x1c" and at + 5 <= len(data):
        size, begin = int.from_bytes(data[at + 3 : at + 5], "big"), at + 5
        if size & 0x8000:  # the length of the length
            begin, size = at + 5 + (size & 0x7FFF), int.from_bytes(data[at + 5 : at + 5 + (size & 0x7FFF)], "big")
        if begin + size > len(data):
            return
        yield data[at + 1], data[at + 2], data[begin : begin + size]
        at = begin + size


def _per_inch(across: bytes, down: bytes, inch: float) -> str:
    """Pixels an inch, rounded: formats count in different units."""
    return " x ".join(f"{int.from_bytes(one, 'big') * inch:.0f}" for one in (across, down))


_READERS = {
    rb"\xff\xd8\xff": _of_jpeg, re.escape(PNG_SIGNATURE): _of_png, rb"RIFF....WEBP": _of_webp, rb"GIF8": _of_gif,
    rb"BM": _of_bmp, rb"P[1-6]": _of_netpbm,
    rb"(?:II|MM)(?:\0[*+]|[*+]\0)": _of_tiff, rb"....(?:ftyp|JXL )|\xff\x0a": _of_boxes,
}  # fmt: skip
