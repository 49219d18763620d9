"""Writing image files with their metadata; a PNG also carries a record as text and a payload of bytes."""

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngImageFile, PngInfo, putchunk

from latentedit_keep.floor.errors import ImageError, OutputError
from latentedit_keep.floor.files import atomic_file, check_place
from latentedit_keep.photo import color
from latentedit_keep.photo.forms import in_its_form
from latentedit_keep.photo.images import PixelImage, opened, read_pixels
from latentedit_keep.photo.inventory import Fate, compared, inventory
from latentedit_keep.photo.metadata import (
    packed_jpeg,
    packed_png,
    packed_tiff,
    packet_of,
    with_types,
    without_orientation,
)
from latentedit_keep.photo.refusals import HAS_JPEG_XL
from latentedit_keep.photo.warp import cv2

WRITABLE = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
    ".jfif": "JPEG", ".jpe": "JPEG", ".avif": "AVIF", **({".jxl": "JXL"} if HAS_JPEG_XL else {}),
}  # fmt: skip
LOSSY = ("JPEG", "AVIF")
MAX_RECORD_BYTES = 1_000_000  # in UTF-8; Pillow does not expand compressed texts beyond 1 MiB
MAX_PAYLOAD_BYTES = 64_000_000
_HEADER_BYTES = 33  # length of a PNG's signature and IHDR
# RLE alone: 12 megapixels take 1 s, and photographs are about as small as at zlib's level 6, which takes 4 s.
_PNG_OPTIONS = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
_KEYWORD = "latentedit"  # keyword of the iTXt chunk with the record
_PAYLOAD = b"leDt"  # the case of the letters means: ancillary, private, safe to copy
_WITHOUT_ALPHA = ("JPEG", "BMP")
_LOSES = {"WEBP": ("dpi",), "BMP": ("icc_profile", "exif", "xmp"), "AVIF": ("dpi",), "JXL": ("dpi",)}
_MOST_JPEG_EXIF_BYTES = 65_533  # a segment has 16 bits for its length, which includes these two bytes
_INCH = 0.0254  # meters


def read_chunks(path: str | Path) -> tuple[str | None, bytes | None]:
    """Record and payload that `save_image` wrote to a PNG, each None if missing. Both are untrusted."""
    with opened(path) as image:
        if not isinstance(image, PngImageFile):
            return None, None
        record = image.info.get(_KEYWORD)
        payload = next((chunk[1] for chunk in image.private_chunks if chunk[0] == _PAYLOAD), None)
        if payload is not None and len(payload) > MAX_PAYLOAD_BYTES:
            size = f"{len(payload)} bytes, more than {MAX_PAYLOAD_BYTES}"
            raise ImageError(f"the {_PAYLOAD.decode()} chunk of {path} has {size}. Do not use the file")
        return None if record is None else str(record), payload


def check_output(path: str | Path, *, source: str | Path | None = None, transparent: bool = False) -> None:
    """Raise an `OutputError` if an image cannot be written, or would overwrite its source."""
    if not Path(path).is_dir():  # which `check_place` reports
        _checked_format(Path(path), transparent=transparent)
    check_place(path, source=source)


def check_keep_output(original: PixelImage, path: str | Path, *, inputs: Sequence[str | Path]) -> None:
    """Raise an `OutputError` if a result of `keep` cannot be written to the path, or would overwrite an input."""
    for source in inputs:
        check_output(path, source=source, transparent=original.pixels.shape[2] == 4)
    check_depth(original, path)


def format_of(path: str | Path) -> str | None:
    """The format that a file name's ending stands for; None if none can be written."""
    return WRITABLE.get(Path(path).suffix.lower())


def keeps_alpha(path: str | Path) -> bool:
    """Whether the format of a file name has transparency."""
    return format_of(path) not in _WITHOUT_ALPHA


def _checked_format(path: Path, *, transparent: bool) -> str:
    kind = format_of(path)
    if kind is None:
        raise OutputError(f"{path.name!r} has no ending of a supported format ({', '.join(WRITABLE)}). Use .png")
    if transparent and kind in _WITHOUT_ALPHA:
        raise OutputError(f"the image has transparency, and {kind} cannot keep it in {path}. Use .png")
    return kind


def check_depth(image: PixelImage, path: str | Path) -> None:
    """Raise an `OutputError` for what a format cannot hold without changing all of the image, or at all."""
    kind = format_of(path)
    if image.pixels.dtype == np.uint16 and kind != "PNG":
        raise OutputError(f"the image has 16 bits, which only PNG keeps; got {path}. Use .png")
    if kind == "JXL" and image.space is not None:
        raise OutputError(f"the plug-in for JPEG XL writes no color profile, which the image has; got {path}. Use .png")
    if len(image.info.get("exif", b"")) > _MOST_JPEG_EXIF_BYTES and kind == "JPEG":
        raise OutputError(f"the image's EXIF is too long for the JPEG {path}. Use .png")


def save_image(
    image: Image.Image | PixelImage, path: str | Path, *, record: str | None = None, payload: bytes | None = None
) -> Fate:
    """Write an image atomically, with its metadata; a PNG also carries the record and the payload.

    Returns what became of the parts of the file that the image was read from, and warns of those that are left out.
    """
    if isinstance(image, Image.Image):
        image = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
        image = PixelImage(pixels=np.asarray(image), info=image.info)
    path = Path(path)
    check_depth(image, path)
    kind = _checked_format(path, transparent=image.pixels.shape[2] == 4)
    try:
        content = encoded_png(image, pack_chunks(record, payload)) if kind == "PNG" else _encoded(image, kind)
    except (ValueError, RuntimeError) as error:
        raise OutputError(f"{path} cannot hold the image as a {kind}: {error}. Use .png") from error
    with atomic_file(path) as file:
        file.write(content)
    fate = compared(image.info.get("parts", {}), inventory(content), kind)
    if fate.line:
        warnings.warn(f"not kept in {path.name}: {fate.line}", stacklevel=2)
    return fate


def _encoded(image: PixelImage, kind: str) -> bytes:
    """The file's content in any format but PNG."""
    info, shaped, file = image.info, in_its_form(image, kind), io.BytesIO()
    profile = color.profile_of(info)
    profile = info["gray_profile"] if shaped is not None and "gray_profile" in info else profile
    held = {"icc_profile": profile, "exif": info.get("exif"), "dpi": info.get("dpi")}
    if kind not in ("JPEG", "TIFF"):  # which have a place for IPTC
        held["xmp"] = packet_of(info)
    options: dict[str, Any] = {key: value for key, value in held.items() if value and key not in _LOSES.get(kind, ())}
    if "dpi" in info and "dpi" in _LOSES.get(kind, ()) and not info.get("exif"):
        options["exif"] = _resolution(info["dpi"])
    if kind == "JPEG":
        as_it_was = {key: info[key] for key in ("qtables", "subsampling") if "qtables" in info}
        options |= as_it_was or {"quality": 95, "subsampling": 0}
        described, segments = packed_jpeg(info)
        options |= {**described, "extra": segments}
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    elif kind == "AVIF":
        options |= {"quality": 100, "subsampling": "4:4:4"}
        if "exif" in options:  # Pillow writes it anew if it has an orientation, which moves the makers' notes
            options["exif"] = without_orientation(options["exif"])
    elif kind == "JXL":
        options |= {"lossless": True, "lossless_jpeg": False}
    elif kind == "TIFF":
        exif = Image.Exif()
        exif.load(options.pop("exif", b""))
        for tag, value in packed_tiff(info).items():
            exif[tag] = value
        # Libtiff, which compresses, cannot write directories within EXIF.
        inner = exif.keys() & {IFD.Exif, IFD.GPSInfo}
        options |= {"exif": exif, "compression": None if inner else "tiff_lzw"}
    (shaped or image.image).save(file, format=kind, **options)
    content = with_types(file.getvalue()) if kind == "TIFF" else file.getvalue()
    if kind == "JXL" and not np.array_equal(read_pixels(content).pixels, np.asarray(image.image)):
        raise ValueError("it was not written as it is")  # its plug-in has written other pixels than it was given
    return info["gain map"].joined(content) if kind == "JPEG" and "gain map" in info else content


def _resolution(dpi: tuple[float, float]) -> bytes:
    """EXIF with nothing else, for formats that have no other place for it."""
    exif = Image.Exif()
    exif[Base.XResolution], exif[Base.YResolution], exif[Base.ResolutionUnit] = *dpi, 2
    return exif.tobytes()


def encoded_png(image: PixelImage, ours: PngInfo | None = None) -> bytes:
    """A PNG's content, with the metadata and our chunks between header and pixels."""
    info, chunks, shaped = image.info, PngInfo(), in_its_form(image, "PNG")
    if shaped is not None and "gray_profile" in info:
        info = {**info, "icc_profile": info["gray_profile"]}
    for key, kind, pack in (
        ("cicp", b"cICP", bytes),
        ("icc_profile", b"iCCP", lambda profile: b"icc\0\0" + zlib.compress(profile)),
        ("srgb", b"sRGB", lambda intent: bytes([intent])),
        ("gamma", b"gAMA", lambda gamma: struct.pack(">I", round(100_000 * gamma))),
        ("chromaticity", b"cHRM", lambda places: struct.pack(">8I", *(round(100_000 * one) for one in places))),
        ("dpi", b"pHYs", lambda dpi: struct.pack(">2IB", *(round(one / _INCH) for one in dpi), 1)),
        ("exif", b"eXIf", lambda exif: exif.removeprefix(b"Exif\0\0")),
    ):
        if info.get(key) is not None:
            chunks.add(kind, pack(info[key]))
    packed = io.BytesIO()
    for kind, content, *_ in (*chunks.chunks, *(() if ours is None else ours.chunks)):
        putchunk(packed, kind, content)
    if shaped is not None and shaped.mode not in ("L", "I;16"):
        file = io.BytesIO()
        shaped.save(file, "PNG")
        encoded = file.getvalue()
    else:
        order = cv2.COLOR_RGB2BGR if image.pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        pixels = cv2.cvtColor(image.pixels, order) if shaped is None else np.asarray(shaped)
        encoded = cv2.imencode(".png", pixels, _PNG_OPTIONS)[1].tobytes()
    head = encoded[:_HEADER_BYTES]
    return head + packed.getvalue() + packed_png(info, head) + encoded[_HEADER_BYTES:]


def pack_chunks(record: str | None, payload: bytes | None) -> PngInfo:
    """PNG chunks: the record as a compressed iTXt "latentedit", the payload as ``leDt``."""
    info, text = PngInfo(), None if record is None else record.encode("utf-8")
    for what, data, most in (("record", text, MAX_RECORD_BYTES), ("payload", payload, MAX_PAYLOAD_BYTES)):
        if data is not None and len(data) > most:
            size = f"{len(data)} bytes; a PNG carries at most {most}"
            raise OutputError(f"the {what} has {size}. Save the image without it")
    if text is not None:
        info.add_itxt(_KEYWORD, text, zip=True)
    if payload is not None:
        info.add(_PAYLOAD, payload)
    return info
