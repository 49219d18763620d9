"""The metadata of an image file, read without what no longer holds of the upright image alone."""

import dataclasses
from typing import Any

from PIL import Image, JpegImagePlugin
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from latentedit.photo import color, gainmap, xmp
from latentedit.photo.carried import Carried, Form, JpegCoding
from latentedit.photo.containers import (
    COMMENT,
    RAW_PROFILE,
    READ_TEXTS,
    RECORD,
    TEXTS,
    XMP_KEY,
    File,
    Marker,
    raw_profiles,
    segment,
    taken_apart,
)
from latentedit.photo.exif import carried_exif
from latentedit.photo.inventory import inventory
from latentedit.photo.parts import LARGE_XMP, aspect
from latentedit.photo.photoshop import lasting, with_iptc
from latentedit.photo.provenance import declared
from latentedit.photo.warp import Size

PNG_HEADER = slice(24, 26)  # depth and color type
LIKE_PIXELS = (b"bKGD", b"sBIT")  # chunks of PNG that hold if color type and depth stay
# Read elsewhere, written anew, or of the pixels; all other chunks are copied if their last letter says that one may.
_OWN = (b"eXIf", b"iCCP", b"cICP", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"leDt", b"iDOT", b"tIME", b"fdAT", b"fcTL")
_COLORS = (b"mDCV", b"cLLI", b"mDCv", b"cLLi", b"sTER")  # hold, though not safe to copy for those who do not know them
_MARKERS = {"COM": Marker.COM, **{f"APP{number}": Marker.APP0 + number for number in range(16)}}
# Forms of images before they became RGB, by Pillow's modes.
_FORMS: dict[str, Form] = {"1": "bilevel", "P": "palette", "PA": "palette"}
_GRAY = ("L", "LA", "La", "F")
_PALETTE_COLORS = 256
_SAMPLINGS = {(1, 1): 0, (2, 1): 1, (2, 2): 2}  # pixels to a sample of chroma: Pillow's number of it
_MOST_DPI = 65_535  # 16 bits in JFIF


def as_opened(image: Image.Image) -> File:
    """The file of an image as Pillow knows it: segments of a JPEG without its pixels, texts of a PNG."""
    if isinstance(image, PngImageFile):
        texts = ((key, text.encode("latin-1", "replace")) for key, text in image.text.items())
        return File(is_opened=True, profiles=raw_profiles(texts))
    listed: Any = getattr(image, "applist", [])
    pieces = b"".join(segment(_MARKERS[name], data) for name, data in listed)
    file = taken_apart(b"\xff\xd8" + pieces + b"\xff\xd9" if listed else b"")
    return dataclasses.replace(file, is_opened=True)


def read_carried(
    file: File, image: Image.Image, *, exif: Image.Exif, orientation: int, size: Size, name: str, count: int = 1
) -> Carried:
    """The metadata that a result carries of an image whose pixels were read; EXIF is Pillow's, and the size upright."""
    known, is_tiff = Carried.of(image.info), isinstance(image, TiffImageFile)
    chunks = _copied(file) if file.content else known.chunks or _copied_texts(image)
    form, palette = _form(image)
    sideways = orientation in range(5, 9)
    jpeg, sampling = _jpeg_coding(image, sideways=sideways)
    packet = file.xmp if file.is_jpeg else file.xmp or known.xmp or file.profiles.get("xmp", b"")
    resources = file.resources or known.resources or file.profiles.get("resources", b"")
    comment = file.comment if file.is_jpeg else file.comment or known.comment
    colors, gray_profile, notes = color.stated(image, file.cicp, name)
    if count > 1:
        notes = (f"{name} has {count} {'pages' if is_tiff else 'frames'}; the first was taken", *notes)
    parts = dict(inventory(file) if file.content else known.parts) | dict.fromkeys(sampling, "")
    if file.is_opened and file.content and image.format == "MPO":  # the bytes behind the end are not at hand
        parts["further image"] = ""
    if file.profile is None:
        notes += (f"the color profile of {name} is damaged or too large; its colors were taken for sRGB",)
    if LARGE_XMP in parts:
        notes += (f"the XMP of {name} is too large to be read: neither kept nor looked into",)
    return Carried(
        colors=colors,
        gray_profile=gray_profile,
        dpi=_dpi(image, sideways=sideways),
        aspect=_aspect(image.info, sideways=sideways),
        exif=carried_exif(image, image.info.get("exif") or file.profiles.get("exif"), exif, size, count),
        xmp=xmp.without_claims(packet, size),
        resources=lasting(with_iptc(resources, file.iptc)),
        comment=comment.rstrip(b"\0"),
        png_header=(file.content[PNG_HEADER] if file.content else known.png_header) if chunks else b"",
        chunks=chunks,
        jpeg=jpeg or known.jpeg,
        gain_map=gainmap.read(file),
        form=form,
        palette=palette,
        parts=parts,
        declares=known.declares if file.is_opened else declared(file),
        notes=(*known.notes, *notes),
    )


def _copied(file: File) -> tuple[tuple[bytes, bytes], ...]:
    """The chunks of a PNG that a result holds as they are."""
    texts, found = iter(file.texts), list[tuple[bytes, bytes]]()
    for one in file.pieces if file.is_png else ():
        key = next(texts)[0] if one.kind in TEXTS else ""
        if key in READ_TEXTS:
            continue
        if one.kind in (*LIKE_PIXELS, *_COLORS) or (one.kind not in _OWN and one.kind[3:4].islower()):
            found.append((one.kind, one.of(file.content)))
    return tuple(found)


def _copied_texts(image: Image.Image) -> tuple[tuple[bytes, bytes], ...]:
    """The texts of a PNG that Pillow has opened, as chunks."""
    texts, ours = getattr(image, "text", {}), (XMP_KEY, COMMENT, RECORD)
    kept = {key: text for key, text in texts.items() if key not in ours and not key.startswith(RAW_PROFILE)}
    return tuple((b"iTXt", f"{key}\0\0\0\0\0{text}".encode()) for key, text in kept.items())


def _dpi(image: Image.Image, *, sideways: bool) -> tuple[float, float] | None:
    """Pixels to the inch across and down the upright image; None if they cannot be."""
    dpi = tuple(float(one) for one in image.info.get("dpi", ()))
    if len(dpi) != 2 or not all(0 < one <= _MOST_DPI for one in dpi):
        return None
    return (dpi[1], dpi[0]) if sideways else (dpi[0], dpi[1])


def _aspect(info: dict[Any, Any], *, sideways: bool) -> tuple[int, int] | None:
    """Pixels across and down the upright image to the same length, in a PNG, a JPEG or a TIFF that names no unit."""
    of_jpeg = info.get("jfif_density") if info.get("jfif_unit") == 0 else None
    of_tiff = None if "dpi" in info else info.get("resolution")
    ratio = aspect(*(info.get("aspect") or of_jpeg or of_tiff or (1, 1)))
    return (ratio[1], ratio[0]) if ratio and sideways else ratio


def _jpeg_coding(image: Image.Image, *, sideways: bool) -> tuple[JpegCoding | None, list[str]]:
    """How a JPEG like this one is written upright, and the part that this leaves out."""
    if not (isinstance(image, JpegImagePlugin.JpegImageFile) and image.mode in ("RGB", "L")):
        return None, []
    tables: Any = image.quantization
    factors: Any = image.layer
    (_, *luma, _), *_, (_, *chroma, _) = [*factors, factors[-1]]
    across, down = (one / other for one, other in zip(luma, chroma, strict=True))
    if sideways:
        across, down = down, across
        tables = {key: [table[at % 8 * 8 + at // 8] for at in range(64)] for key, table in tables.items()}
    coding = JpegCoding(qtables=tables, subsampling=_SAMPLINGS.get((across, down), 0))
    return coding, [] if (across, down) in _SAMPLINGS else [f"chroma subsampling {across:g}x{down:g}"]


def _form(image: Image.Image) -> tuple[Form | None, tuple[tuple[int, ...], ...]]:
    """The form of an image that had not three colors, and the palette with its alpha."""
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
