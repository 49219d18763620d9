"""The inventory of an image file: all that it holds beside the colors of its pixels."""

import contextlib
import hashlib
import io
import math
import re
import struct
from typing import Any

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

from latentedit.photo import jpegxl, xmp
from latentedit.photo.containers import (
    COMMENT,
    PHOTOSHOP,
    PNG_SIGNATURE,
    RAW_PROFILE,
    READ_TEXTS,
    RECORD,
    TEXTS,
    XMP_KEY,
    File,
    Marker,
    boxes,
    mpf_images,
    raw_profile,
    raw_tag,
    segments,
)
from latentedit.photo.decoding import frames
from latentedit.photo.exif import LAYOUT, PASSING
from latentedit.photo.heif import parts_of_meta
from latentedit.photo.parts import LARGE_XMP, Found, Parts, depth, stated_aspect
from latentedit.photo.photoshop import COPIES, IPTC, datasets, resources_of, with_iptc

_EXIF = b"Exif\0"
_PROFILE = b"ICC_PROFILE\0"
_CREDENTIALS = b"jumdc2pa"
# Beginnings of segments that are read, or belong to the pixels: of gain maps, credentials, encoders' qualities.
_SEGMENTS_READ = {
    Marker.APP1: (xmp.HEAD, xmp.EXTENSION),
    Marker.APP2: (b"urn:iso:std:iso:ts:21496", b"Adobe"),
    Marker.APP11: (b"JP",),
    0xEC: (b"Ducky",),
    Marker.APP13: (PHOTOSHOP,),
    0xEE: (b"urn:iso:std:iso:ts:21496", b"Adobe"),
}
_STORAGE = LAYOUT | PASSING | {34665, 34853, 40965}  # and where other directories begin
_TURNED = frozenset({0x0112, 0x0100, 0x0101, 0xA002, 0xA003})  # tags that the pixels now tell: orientation and sizes
_SHOWING = {
    37724: "layers (Photoshop)",
    50838: "ImageJ's data",
    50839: "ImageJ's data",
}  # tags that describe the pages as they were
_PNG_STORAGE = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"fcTL", b"fdAT", b"iDOT", b"hIST", b"leDt")
_PNG_COLORS = (b"cICP", b"iCCP", b"gAMA", b"cHRM", b"sRGB")
_PNG_NAMES = {
    b"tIME": "time of the last change", b"acTL": "further frames", b"caBX": "content credentials",
    b"bKGD": "background color",
}  # fmt: skip
_WEBP_STORAGE = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANMF")
_WEBP_NAMES = {b"ICCP": "color profile", b"ANIM": "further frames", b"C2PA": "content credentials"}
_MPF_TYPES = {0x010001: "preview image", 0x010002: "preview image", 0x020001: "panorama", 0x020002: "stereo image"}
# Boxes of HEIC, AVIF, JPEG XL and MP4.
_BOX_NAMES = {
    b"mpvd": "motion clip", b"moov": "further frames", b"jhgm": "HDR gain map", b"jumb": "content credentials",
}  # fmt: skip
_MODES = {
    "1": "one bit a pixel", "P": "palette", **dict.fromkeys(("L", "I", "I;16", "I;16B"), "one channel of gray"),
}  # fmt: skip
_GAP = re.compile(rb"[\0\xff]*?(?=\xff\xd8\xff|....ftyp)", re.DOTALL)  # before an image or a clip behind a JPEG
_MOST_IMAGES = 64
_LONGEST_NAME = 60


def inventory(file: File) -> Parts:
    """The parts of a file that are not its pixels. Whatever cannot be read is named as such."""
    found, values = Parts(), dict[str, set[str]]()
    for kind, read in _READERS.items():
        if re.match(kind, file.content, re.DOTALL):
            try:
                for name, value in read(file):
                    _put(found, values, name, value)
            except Exception:  # noqa: BLE001 (damaged in any way; decoders have their own word on it)
                found["metadata that cannot be read"] = ""
    return found


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


def _of_jpeg(file: File) -> Found:
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
        elif marker == Marker.APP0 and data.startswith(b"JFIF") and len(data) >= 12 and data[7] == 0:
            yield from stated_aspect(*struct.unpack_from(">2H", data, 8))
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
    yield from _of_xmp(file.xmp)
    yield from _behind(content, end, types)


def _behind(content: bytes, end: int, types: dict[int, str]) -> Found:
    """Parts behind the end of a JPEG: further images, clips, or anything else."""
    for _ in range(_MOST_IMAGES):
        if (gap := _GAP.match(content, end)) is None:
            break
        end = gap.end()
        if content.startswith(b"\xff\xd8\xff", end):
            pieces = list(segments(content, end))
            head = b"".join(one.of(content)[:4000] for one in pieces if Marker.APP1 <= one.kind[0] <= Marker.APP15)
            yield (types.get(end) or _image_name(head)), content[end : pieces[-1].end]
            end = pieces[-1].end
        else:
            *_, last = boxes(content, end)
            yield "motion clip", content[end : last.end]
            end = last.end
    rest = content[end:].strip(b"\0\xff")
    if b"ftyp" in rest[:4096]:  # within a maker's own trailer
        yield "motion clip", rest
    elif rest:
        yield f"{len(rest)} bytes behind the end", rest


def _image_name(head: bytes) -> str:
    if b"hdrgm:" in head or b"urn:iso:std:iso:ts:21496" in head or b"hdrgainmap" in head:
        return "HDR gain map"
    return "depth map" if b"epth" in head or b"isparity" in head else "further image"


def _of_png(file: File) -> Found:
    end, colors, texts = len(file.content), b"", iter(file.texts)
    for one in file.pieces:
        data = one.of(file.content)
        end = one.end + 4 if one.kind == b"IEND" else end
        if one.kind == b"IHDR":
            yield from depth(data[8])
            if data[9] == 3 or data[8] == 1:
                yield "palette" if data[9] == 3 else "one bit a pixel", ""
            elif data[9] in (0, 4):
                yield "one channel of gray", ""
        elif one.kind in _PNG_COLORS:
            colors += (file.profile or data) if one.kind == b"iCCP" else data
        elif one.kind in TEXTS:
            key, text = next(texts)
            unread = f"{'unread ' * (key in READ_TEXTS)}text {key}"
            yield from [(unread, data)] if text is None else _of_text(key, text)
        elif one.kind == b"eXIf":
            yield from _of_exif(data.removeprefix(b"Exif\0\0"))
        elif one.kind == b"pHYs":
            if data[8:9] == b"\1":
                yield "resolution", _per_inch(data[:4], data[4:8], 0.0254)
            elif data[8:9] == b"\0":
                yield from stated_aspect(*struct.unpack_from(">2I", data))
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


def _of_text(key: str, text: bytes) -> Found:
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
    elif key != RECORD:
        yield f"text {key}", text


def _of_webp(file: File) -> Found:
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


def _of_tiff(file: File) -> Found:
    content = file.content
    with Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
        if not isinstance(image, TiffImageFile):
            return
        tags: Any = image.tag_v2
        bits = max(tags.get(258, (1,)))
        yield from depth(bits)
        if bits == 1 or image.mode in ("P", "PA"):
            yield "one bit a pixel" if bits == 1 else "palette", ""
        elif tags.get(277, 1) in (1, 2) and tags.get(262) in (0, 1):
            yield "one channel of gray", ""
        if 330 in tags:
            yield "smaller copies", ""
        if frames(image) > 1:
            yield "further frames", ""
        # c2pa-rs puts the credentials of several pages in a directory of their own.
        if 52545 in tags or _CREDENTIALS in content:
            yield "content credentials", ""
        if profile := raw_tag(content, 34675):
            yield "color profile", profile
        yield from _of_resources(with_iptc(file.resources, file.iptc))
        yield from _of_xmp(file.xmp)
        yield from _of_ifds(image.getexif())


def _of_boxes(file: File) -> Found:
    """HEIC, AVIF and JPEG XL: items and boxes by their kinds."""
    content = file.content
    codestream = content if content.startswith(jpegxl.CODESTREAM) else b""
    for one in () if codestream else file.pieces:
        if one.kind == b"meta":
            yield from parts_of_meta(content, one)
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
    if header := jpegxl.header(codestream):
        yield from depth(header.bits)
        yield from [("further frames", "")] if header.is_animated else []
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


def _of_gif(file: File) -> Found:
    with Image.open(io.BytesIO(file.content), formats=("GIF",)) as image:
        info: Any = image.info
        yield "palette", ""
        if number := file.content[12]:
            yield from stated_aspect(64, number + 15)
        if getattr(image, "n_frames", 1) > 1:
            yield "further frames", ""
        if info.get("comment"):
            yield "comment", bytes(info["comment"])
        if info.get("xmp"):
            yield from _of_xmp(bytes(info["xmp"]))


def _of_bmp(file: File) -> Found:
    content = file.content
    across, down = content[38:42], content[42:46]
    if int.from_bytes(content[14:18], "little") >= 40 and any(across) and any(down):
        yield "resolution", _per_inch(across[::-1], down[::-1], 0.0254)
    with Image.open(io.BytesIO(content), formats=("BMP",)) as image:
        yield from [(_MODES[image.mode], "")] if image.mode in _MODES else []


def _of_netpbm(file: File) -> Found:
    content = file.content
    with Image.open(io.BytesIO(content), formats=("PPM",)) as image:
        yield from [(_MODES[image.mode], "")] if image.mode in _MODES else []
    if found := re.match(
        rb"P[2356](?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d{1,5})\s", content[:4096]
    ):
        yield from depth(int(found[1]).bit_length())


def _of_exif(data: bytes) -> Found:
    exif = Image.Exif()
    exif.load(data)
    yield from _of_ifds(exif)
    if exif.get_ifd(ExifTags.IFD.IFD1):
        yield "thumbnail (EXIF)", ""


def _of_ifds(exif: Image.Exif) -> Found:
    across, down = (_number(exif.get(tag)) for tag in (282, 283))
    if across > 0 and down > 0 and exif.get(296, 2) in (2, 3):
        inch = 2.54 if exif.get(296) == 3 else 1.0
        yield "resolution", f"{across * inch:.0f} x {down * inch:.0f}"
    if exif.get(296) == 1:
        yield from stated_aspect(across, down)
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


def _of_xmp(packet: bytes) -> Found:
    found = xmp.properties(packet)
    if packet.strip(b"\0 ") and not found:
        yield LARGE_XMP if xmp.is_large(packet) else "XMP", packet
    for name, value in found.items():
        if "epth" in name.partition(":")[0]:
            yield "depth map", ""
        else:
            yield f"XMP {name}", value.encode()


def _of_resources(data: bytes) -> Found:
    for number, content in resources_of(data):
        if number == IPTC:
            yield from ((f"IPTC {record}:{number}", value) for record, number, value in datasets(content))
        elif COPIES.get(number, "resource"):
            yield COPIES.get(number, f"Photoshop resource {number}"), content


def _per_inch(across: bytes, down: bytes, inch: float) -> str:
    """Pixels an inch, rounded: formats count in different units."""
    return " x ".join(f"{int.from_bytes(one, 'big') * inch:.0f}" for one in (across, down))


_READERS = {
    rb"\xff\xd8\xff": _of_jpeg, re.escape(PNG_SIGNATURE): _of_png, rb"RIFF....WEBP": _of_webp, rb"GIF8": _of_gif,
    rb"BM": _of_bmp, rb"P[1-6]": _of_netpbm,
    rb"(?:II|MM)(?:\0[*+]|[*+]\0)": _of_tiff, rb"....(?:ftyp|JXL )|\xff\x0a": _of_boxes,
}  # fmt: skip
