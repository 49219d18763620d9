"""The metadata of an image file, read without what no longer holds of the upright image alone."""

import contextlib
import dataclasses
import re
from typing import Any, NamedTuple

from PIL import Image, JpegImagePlugin
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from latentedit_keep.photo import color, gainmap, xmp
from latentedit_keep.photo.carried import Carried, Form, JpegCoding
from latentedit_keep.photo.color import Colors
from latentedit_keep.photo.containers import (
    COMMENT,
    RAW_PROFILE,
    RAW_PROFILES,
    XMP_KEY,
    Marker,
    Parsed,
    raw_profile,
    raw_tag,
    segment,
    text_of,
)
from latentedit_keep.photo.exif import upright_exif, with_types
from latentedit_keep.photo.heif import nclx
from latentedit_keep.photo.inventory import frames, inventory
from latentedit_keep.photo.parts import LARGE_XMP
from latentedit_keep.photo.photoshop import lasting, tiff_resources
from latentedit_keep.photo.provenance import declared
from latentedit_keep.photo.warp import Size

PRINT = ("CMYK", "LAB")  # modes of Pillow
PNG_HEADER = slice(24, 26)  # depth and color type
LIKE_PIXELS = (b"bKGD", b"sBIT")  # chunks of PNG that hold if color type and depth stay
# Read elsewhere, written anew, or of the pixels; all other chunks are copied if their last letter says that one may.
_OWN = (b"eXIf", b"iCCP", b"cICP", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"leDt", b"iDOT", b"tIME", b"fdAT", b"fcTL")
_COLORS = (b"mDCV", b"cLLI", b"mDCv", b"cLLi", b"sTER")  # hold, though not safe to copy for those who do not know them
_RECORD = "latentedit"  # key of the text with a record
_MARKERS = {"COM": Marker.COM, **{f"APP{number}": Marker.APP0 + number for number in range(16)}}
# What a file had before it became RGB, by Pillow's modes.
_FORMS: dict[str, Form] = {"1": "bilevel", "P": "palette", "PA": "palette"}
_GRAY = ("L", "LA", "La", "F")
_PALETTE_COLORS = 256
_MOST_DPI = 65_535  # 16 bits in JFIF
# Tags of a TIFF that are carried apart, or describe what the result has not.
_PASSING = frozenset({330, 512, 513, 514, 530, 531, 532, 33723, 34377, 37724, 52545})
# Tags of a TIFF that describe the storage of the pixels or that are carried separately.
_LAYOUT = frozenset({*range(254, 267), 273, *range(277, 285), *range(288, 293), 296, *range(317, 348), 700, 34675})
_DESCRIPTION = 270
_OF_IMAGEJ = (50838, 50839)


class _Packets(NamedTuple):
    """The packets of a file as they are in it, and its comment."""

    xmp: bytes = b""
    resources: bytes = b""
    comment: bytes = b""


def read_carried(
    file: Parsed, image: Image.Image, *, exif: Image.Exif, orientation: int, size: Size, name: str
) -> Carried:
    """What a result carries of an image, whose EXIF and orientation are known, and whose upright size is given.

    The file is empty for an image of Pillow, which may hold what was read from its file before. Errors name the image.
    """
    known, is_file = Carried.of(image.info), bool(file.content)
    file = file if is_file else _as_opened(image)
    packets, (colors, gray_profile, notes) = _packets(file, image, known), _colors(file, image, name)
    chunks = _copied(file) if file.content else known.chunks or _copied_texts(image)
    parts = dict(inventory(file) if file.content else known.parts)
    if not is_file and file.content and image.format == "MPO":  # what lies behind is not at hand
        parts["further image"] = ""
    if LARGE_XMP in parts:
        notes += (f"the XMP of {name} is too large to be read: neither kept nor looked into",)
    form, palette = _form(image)
    return Carried(
        colors=colors, gray_profile=gray_profile, dpi=_dpi(image, sideways=orientation in range(5, 9)),
        exif=_upright_exif(file, image, exif, size), xmp=xmp.without_claims(packets.xmp, size),
        resources=lasting(packets.resources), comment=packets.comment.rstrip(b"\0"),
        png_header=(file.content[PNG_HEADER] if file.content else known.png_header) if chunks else b"", chunks=chunks,
        jpeg=_jpeg_coding(image) or known.jpeg, gain_map=gainmap.read(file) if file.is_jpeg else None,
        form=form, palette=palette, parts=parts, declares=declared(file) if is_file else known.declares, notes=notes,
    )  # fmt: skip


def _as_opened(image: Image.Image) -> Parsed:
    """The segments of a JPEG that Pillow has opened, as a file without pixels; nothing of other images."""
    listed: Any = getattr(image, "applist", [])
    pieces = b"".join(segment(_MARKERS[name], data) for name, data in listed)
    return Parsed(b"\xff\xd8" + pieces + b"\xff\xd9" if listed else b"")


def _packets(file: Parsed, image: Image.Image, known: Carried) -> _Packets:
    if file.is_jpeg:
        return _Packets(file.packet, file.resources, next(iter(file.data(Marker.COM)), b""))
    profiles = raw_profiles(file, image)
    packet = known.xmp or image.info.get(XMP_KEY, "").encode() or profiles.get("xmp", b"")
    resources, comment = known.resources or profiles.get("resources", b""), known.comment
    if isinstance(image, TiffImageFile):
        return _Packets(raw_tag(file.content, 700) or packet, tiff_resources(file.content), comment)
    for text in file.texts_of(COMMENT):
        comment = text
    if file.content[4:8] == b"JXL ":
        packet = packet or next(iter(file.data(b"xml ")), b"")
    return _Packets(packet, resources, comment)


def _copied(file: Parsed) -> tuple[tuple[bytes, bytes], ...]:
    """The chunks of a PNG that a result holds as they are."""
    keys, found = {one.start: key for key, one in file.texts}, list[tuple[bytes, bytes]]()
    for one in file.pieces if file.is_png else ():
        key = keys.get(one.start, "")
        if key in (COMMENT, XMP_KEY, _RECORD) or key.removeprefix(RAW_PROFILE) in RAW_PROFILES:
            continue
        if one.kind in (*LIKE_PIXELS, *_COLORS) or (one.kind not in _OWN and one.kind[3:4].islower()):
            found.append((one.kind, one.of(file.content)))
    return tuple(found)


def _copied_texts(image: Image.Image) -> tuple[tuple[bytes, bytes], ...]:
    """The texts of a PNG that Pillow has opened, as chunks."""
    texts, ours = getattr(image, "text", {}), (XMP_KEY, COMMENT, _RECORD)
    kept = {key: text for key, text in texts.items() if key not in ours and not key.startswith(RAW_PROFILE)}
    return tuple((b"iTXt", f"{key}\0\0\0\0\0{text}".encode()) for key, text in kept.items())


def raw_profiles(file: Parsed, image: Image.Image) -> dict[str, bytes]:
    """What ImageMagick wrote as texts of a PNG: "exif", "xmp" and "resources" as packets."""
    if not isinstance(image, PngImageFile):
        return {}
    found = dict[str, bytes]()
    texts = [(key, text_of(one.kind, one.of(file.content))) for key, one in file.texts if key.startswith(RAW_PROFILE)]
    if not file.content:
        texts = [(key, text.encode("latin-1", "replace")) for key, text in image.text.items()]
    for key, text in texts:
        name = key.removeprefix(RAW_PROFILE)
        if name != key and name in RAW_PROFILES:
            packet = raw_profile(text)
            name = "exif" if packet.startswith(b"Exif\0") else RAW_PROFILES[name]
            found.setdefault(name, packet.removeprefix(xmp.HEAD))
    return found


def _upright_exif(file: Parsed, image: Image.Image, exif: Image.Exif, size: Size) -> bytes:
    """EXIF of the upright image, in place if possible; empty if there is none or it cannot be written."""
    raw = image.info.get("exif") or raw_profiles(file, image).get("exif")
    if raw and not isinstance(image, TiffImageFile):
        in_place = upright_exif(bytes(raw), size)
        if in_place:
            return in_place
    out = _LAYOUT | _passing_tags(image) if isinstance(image, TiffImageFile) else frozenset[int]()
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


def _passing_tags(image: TiffImageFile) -> frozenset[int]:
    """Tags of a TIFF that describe what the result has not: other pages, layers, credentials; or are carried apart."""
    described = str(image.tag_v2.get(_DESCRIPTION, ""))
    stack = re.match(r"ImageJ=.*?\nimages=(\d+)", described, re.DOTALL)
    of_pages = described.startswith(("<?xml", "<OME", '{"shape"', "ImageJ=")) and frames(image) > 1
    is_gone = of_pages or (stack is not None and stack[1] != "1")
    return _PASSING | ({_DESCRIPTION, *_OF_IMAGEJ} if is_gone else frozenset())


def _colors(file: Parsed, image: Image.Image, name: str) -> tuple[Colors, bytes, tuple[str, ...]]:
    """The colors with an RGB profile or none, the gray profile that it was made from, and problems."""
    colors, notes = Colors.of(image.info), list[str]()
    profile, gray_profile = colors.icc_profile, b""
    for cicp in file.data(b"cICP") if file.is_png else ():
        colors = dataclasses.replace(colors, cicp=cicp) if len(cicp) == 4 else colors
    if image.format in ("HEIF", "AVIF") and not profile:
        colors = dataclasses.replace(colors, cicp=nclx(image, file) or colors.cicp)
    is_gray, made = profile[16:20] == b"GRAY", profile
    if image.mode in PRINT:
        made = b""
        notes.append(f"{name} has colors for print ({image.mode}); they were converted to sRGB")
    elif colors.is_damaged or is_gray:
        if is_gray or image.mode[0] in "1LI":
            gray_profile, made = profile, color.of_gray(profile) or b""
        if not is_gray or not made:
            notes.append(f"the color profile of {name} is damaged; its colors were taken for sRGB")
    if colors.shows_more:
        text = "of high dynamic range, or unknown (cICP); they were taken for sRGB"
        notes.append(f"the colors of {name} are {text}")
    return dataclasses.replace(colors, icc_profile=made), gray_profile, tuple(notes)


def _dpi(image: Image.Image, *, sideways: bool) -> tuple[float, float] | None:
    """Pixels to the inch across and down the upright image; None if they cannot be."""
    dpi = tuple(float(one) for one in image.info.get("dpi", ()))
    if len(dpi) != 2 or not all(0 < one <= _MOST_DPI for one in dpi):
        return None
    return (dpi[1], dpi[0]) if sideways else (dpi[0], dpi[1])


def _jpeg_coding(image: Image.Image) -> JpegCoding | None:
    if not (isinstance(image, JpegImagePlugin.JpegImageFile) and image.mode in ("RGB", "L")):
        return None
    tables: Any = image.quantization  # pyright: ignore[reportAttributeAccessIssue]
    return JpegCoding(qtables=tables, subsampling=max(0, JpegImagePlugin.get_sampling(image)))


def _form(image: Image.Image) -> tuple[Form | None, tuple[tuple[int, ...], ...]]:
    """What an image was that has not three colors, and the palette with its alpha."""
    is_gray = image.mode.startswith("I") or image.mode in _GRAY
    form: Form | None = "gray" if is_gray else _FORMS.get(image.mode)
    if image.mode != "P" or image.palette is None:
        return form, ()
    clear, listed = image.info.get("transparency"), bytes(image.getpalette("RGBA") or b"")
    colors = [listed[at : at + 4] for at in range(0, len(listed), 4)][:_PALETTE_COLORS]
    for at in range(len(colors)):
        is_clear = isinstance(clear, int) and at == clear
        alpha = clear[at] if isinstance(clear, bytes) and at < len(clear) else 0 if is_clear else 255
        colors[at] = colors[at][:3] + bytes([alpha])
    return form, tuple(tuple(color) for color in colors)
