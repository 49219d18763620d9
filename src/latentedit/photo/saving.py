"""Writing image files with their metadata; a PNG also carries a record as text and a payload of bytes."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.ExifTags import IFD
from PIL.PngImagePlugin import PngInfo, putchunk

from latentedit.core.errors import ImageError, OutputError
from latentedit.core.files import atomic_file, check_place
from latentedit.photo import xmp
from latentedit.photo.carried import Carried
from latentedit.photo.containers import COMMENT, PHOTOSHOP, RECORD, XMP_KEY, Marker, segment, taken_apart
from latentedit.photo.exif import with_types
from latentedit.photo.forms import in_its_form
from latentedit.photo.gainmap import GainMap
from latentedit.photo.images import PixelImage, opened, read_content, read_pixels
from latentedit.photo.inventory import inventory
from latentedit.photo.metadata import LIKE_PIXELS, PNG_HEADER
from latentedit.photo.parts import MetadataReport, compared
from latentedit.photo.refusals import HAS_JPEG_XL
from latentedit.photo.tiff import encoded_tiff, resolution_of, tags_of
from latentedit.photo.warp import cv2

WRITABLE = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
    ".jfif": "JPEG", ".jpe": "JPEG", ".avif": "AVIF", **({".jxl": "JXL"} if HAS_JPEG_XL else {}),
}  # fmt: skip
LOSSY = ("JPEG", "AVIF")
_LAYERED = {".psd": ".tif", ".psb": ".tif", ".ora": ".ora"}  # formats with layers of the programs that write these
MAX_RECORD_BYTES = 1_000_000  # in UTF-8
MAX_PAYLOAD_BYTES = 64_000_000
_HEADER_BYTES = 33  # length of a PNG's signature and IHDR
# RLE alone: 12 megapixels take 1 s, and photographs are about as small as at zlib's level 6, which takes 4 s.
_PNG_OPTIONS = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
_PAYLOAD = b"leDt"  # the case of the letters means: ancillary, private, safe to copy
_WITHOUT_ALPHA = ("JPEG", "BMP")
_MOST_SEGMENT_BYTES = 65_533  # 16 bits for a length in a JPEG, which includes these two bytes
_INCH = 0.0254  # meters
_HEX = 72  # hexadecimal digits in a line of ImageMagick's texts


def read_chunks(path: str | Path) -> tuple[str | None, bytes | None]:
    """Record and payload that `save_image` wrote to a PNG, each None if missing. Both are untrusted."""
    content = read_content(path)
    with opened(path, content=content):  # refuses what is no image
        file = taken_apart(content)
    payload = next((one.of(content) for one in file.pieces if one.kind == _PAYLOAD), None)
    if payload is not None and len(payload) > MAX_PAYLOAD_BYTES:
        size = f"{len(payload)} bytes, more than {MAX_PAYLOAD_BYTES}"
        raise ImageError(f"the {_PAYLOAD.decode()} chunk of {path} has {size}. Do not use the file")
    records = [text.decode("utf-8", "ignore") for key, text in file.texts if key == RECORD and text]
    return records[-1] or None if records else None, payload


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


def usual_ending(original: PixelImage) -> str:
    """The ending of a lossless result: "tif" for a TIFF of 16 bits, else "png", which also holds the record."""
    is_deep = original.pixels.dtype == np.uint16
    return "tif" if is_deep and original.path is not None and format_of(original.path) == "TIFF" else "png"


def keeps_alpha(path: str | Path) -> bool:
    """Whether the format of a file name has transparency."""
    return format_of(path) not in _WITHOUT_ALPHA


def _checked_format(path: Path, *, transparent: bool) -> str:
    kind = format_of(path)
    if kind is None:
        layered = _LAYERED.get(path.suffix.lower())
        remedy = f"For layers, use `save_layer={path.with_suffix(layered).name}`" if layered else "Use .png"
        raise OutputError(f"{path.name!r} has no ending of a supported format ({', '.join(WRITABLE)}). {remedy}")
    if transparent and kind in _WITHOUT_ALPHA:
        raise OutputError(f"the image has transparency, and {kind} cannot keep it in {path}. Use .png")
    return kind


def check_depth(image: PixelImage, path: str | Path) -> None:
    """Raise an `OutputError` for what a format cannot hold without changing all of the image, or at all."""
    kind = format_of(path)
    if image.pixels.dtype == np.uint16 and kind not in ("PNG", "TIFF"):
        raise OutputError(f"the image has 16 bits, which only PNG and TIFF keep; got {path}. Use .png or .tif")
    if kind == "JXL" and image.space is not None:
        raise OutputError(f"the plug-in for JPEG XL writes no color profile, which the image has; got {path}. Use .png")
    if len(image.carried.exif) > _MOST_SEGMENT_BYTES and kind == "JPEG":
        raise OutputError(f"the image's EXIF is too long for the JPEG {path}. Use .png")


def save_image(
    image: Image.Image | PixelImage,
    path: str | Path,
    *,
    record: str | None = None,
    payload: bytes | None = None,
    gain_map: GainMap | None = None,
) -> MetadataReport:
    """Write an image atomically, with its metadata; a PNG also has the record and the payload, a JPEG the gain map.

    Returns what became of the parts of the file that the image was read from, and warns of those that are left out.
    """
    if isinstance(image, Image.Image):
        image = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
        image = PixelImage(pixels=np.asarray(image), carried=Carried.of(image.info))
    path = Path(path)
    check_depth(image, path)
    kind = _checked_format(path, transparent=image.pixels.shape[2] == 4)
    try:
        content = encoded_png(image, pack_chunks(record, payload)) if kind == "PNG" else _encoded(image, kind)
        content = content if gain_map is None or kind != "JPEG" else gain_map.joined(content)
    except (ValueError, RuntimeError) as error:
        raise OutputError(f"{path} cannot hold the image as a {kind}: {error}. Use .png") from error
    with atomic_file(path) as file:
        file.write(content)
    metadata = compared(image.carried.parts, inventory(taken_apart(content)), kind)
    if metadata.line:
        warnings.warn(f"not kept in {path.name}: {metadata.line}", stacklevel=2)
    return metadata


def _encoded(image: PixelImage, kind: str) -> bytes:
    """The file's content in any format but PNG."""
    shaped, file = in_its_form(image, kind), io.BytesIO()
    held = image.carried.into(kind, gray=shaped is not None)
    if image.pixels.dtype == np.uint16:
        return encoded_tiff(image.pixels if shaped is None else np.asarray(shaped), held)
    stated = {"icc_profile": held.colors.icc_profile, "exif": held.exif, "xmp": held.xmp, "dpi": held.dpi}
    options: dict[str, Any] = {key: value for key, value in stated.items() if value}
    if kind == "JPEG":
        options |= _for_jpeg(held)
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    elif kind == "AVIF":
        options |= {"quality": 100, "subsampling": "4:4:4"}
    elif kind == "JXL":
        options |= {"lossless": True, "lossless_jpeg": False}
    elif kind == "TIFF":
        options |= _for_tiff(held)
    (shaped or image.image).save(file, format=kind, **options)
    content = with_types(file.getvalue()) if kind == "TIFF" else file.getvalue()
    if kind == "JPEG" and held.aspect is not None:  # Pillow begins with JFIF, but writes no ratio into it
        content = content[:13] + struct.pack(">B2H", 0, *held.aspect) + content[18:]
    if kind == "JXL" and not np.array_equal(read_pixels(content).pixels, np.asarray(image.image)):
        raise ValueError("it was not written as it is")  # its plug-in has written other pixels than it was given
    return content


def _for_jpeg(held: Carried) -> dict[str, Any]:
    """Options of Pillow's encoder."""
    packet, extended = xmp.split(held.xmp, _MOST_SEGMENT_BYTES - len(xmp.HEAD))
    most = _MOST_SEGMENT_BYTES - len(PHOTOSHOP)
    parts = [held.resources[at : at + most] for at in range(0, len(held.resources), most)]
    more = b"".join(segment(Marker.APP1, one) for one in extended)
    more += b"".join(segment(Marker.APP13, PHOTOSHOP + one) for one in parts)
    coding: dict[str, Any] = {"quality": 95, "subsampling": 0}
    if held.jpeg is not None:
        coding = {"qtables": held.jpeg.qtables, "subsampling": held.jpeg.subsampling}
    return coding | {"xmp": packet, "comment": held.comment[:_MOST_SEGMENT_BYTES], "extra": more}


def _for_tiff(held: Carried) -> dict[str, Any]:
    """Options of Pillow's encoder."""
    exif = Image.Exif()
    exif.load(held.exif)
    exif.update({**tags_of(held), **resolution_of(held)})
    # Libtiff, which compresses, cannot write directories within EXIF.
    inner = exif.keys() & {IFD.Exif, IFD.GPSInfo}
    return {"exif": exif, "compression": None if inner else "tiff_lzw"}


def encoded_png(image: PixelImage, ours: PngInfo | None = None) -> bytes:
    """A PNG's content, with the metadata and our chunks between header and pixels."""
    shaped = in_its_form(image, "PNG")
    held = image.carried.into("PNG", gray=shaped is not None)
    if shaped is not None and shaped.mode not in ("L", "I;16"):
        file = io.BytesIO()
        shaped.save(file, "PNG")
        encoded = file.getvalue()
    else:
        order = cv2.COLOR_RGB2BGR if image.pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        pixels = cv2.cvtColor(image.pixels, order) if shaped is None else np.asarray(shaped)
        encoded = cv2.imencode(".png", pixels, _PNG_OPTIONS)[1].tobytes()
    head, packed = encoded[:_HEADER_BYTES], io.BytesIO()
    own = () if ours is None else ((kind, content) for kind, content, *_ in ours.chunks)
    for kind, content in (*_png_chunks(held), *own, *_png_texts(held, head)):
        putchunk(packed, kind, content)
    return head + packed.getvalue() + encoded[_HEADER_BYTES:]


def _png_chunks(held: Carried) -> Iterator[tuple[bytes, bytes]]:
    """Colors, resolution and EXIF."""
    colors = held.colors
    if colors.cicp:
        yield b"cICP", colors.cicp
    if colors.icc_profile:
        yield b"iCCP", b"icc\0\0" + zlib.compress(colors.icc_profile)
    if colors.srgb is not None:
        yield b"sRGB", bytes([colors.srgb])
    if colors.gamma:
        yield b"gAMA", struct.pack(">I", round(100_000 * colors.gamma))
    if colors.chromaticity:
        yield b"cHRM", struct.pack(">8I", *(round(100_000 * one) for one in colors.chromaticity))
    if held.aspect is not None:
        yield b"pHYs", struct.pack(">2IB", *held.aspect, 0)
    if held.dpi is not None:
        yield b"pHYs", struct.pack(">2IB", *(round(one / _INCH) for one in held.dpi), 1)
    if held.exif:
        yield b"eXIf", held.exif.removeprefix(b"Exif\0\0")


def _png_texts(held: Carried, head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Copied chunks, XMP, Photoshop's resources and the comment, for a PNG that begins so."""
    for kind, data in held.chunks:
        if kind not in LIKE_PIXELS or held.png_header == head[PNG_HEADER]:
            yield kind, data
    if held.xmp:
        yield b"iTXt", XMP_KEY.encode() + b"\0\0\0\0\0" + held.xmp
    if held.resources:
        digits = held.resources.hex()
        lines = [digits[at : at + _HEX] for at in range(0, len(digits), _HEX)]
        text = ["Raw profile type iptc\0", "iptc", f"{len(held.resources):8}", *lines, ""]
        yield b"tEXt", "\n".join(text).encode()
    if held.comment:
        yield b"iTXt", COMMENT.encode() + b"\0\0\0\0\0" + held.comment.decode("utf-8", "replace").encode()


def pack_chunks(record: str | None, payload: bytes | None) -> PngInfo:
    """PNG chunks: the record as a compressed iTXt "latentedit", the payload as ``leDt``."""
    info, text = PngInfo(), None if record is None else record.encode("utf-8")
    for what, data, most in (("record", text, MAX_RECORD_BYTES), ("payload", payload, MAX_PAYLOAD_BYTES)):
        if data is not None and len(data) > most:
            size = f"{len(data)} bytes; a PNG carries at most {most}"
            raise OutputError(f"the {what} has {size}. Save the image without it")
    if text is not None:
        info.add_itxt(RECORD, text, zip=True)
    if payload is not None:
        info.add(_PAYLOAD, payload)
    return info
