"""Picture files in and out: what cannot be a sound picture is refused undecoded, and nothing is half written.

A PNG carries two things beside its pixels: a record as text, and a payload of bytes that goes with it.
"""

import contextlib
import io
import os
import re
import warnings
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import psutil
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile, PngInfo

from latentedit_keep.errors import ImageError, LatentEditError, OutputError
from latentedit_keep.files import check_place, open_file, read_bytes, written_beside

READABLE = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
"""Formats that are opened; JPEG stands for MPO too. Decoders that start other programs (EPS) are left out."""

MAX_PIXELS = 100_000_000
MIN_SIDE_PX = 2

MAX_PICTURE_BYTES = 1_000_000_000
"""Size of a picture file: 100 megapixels of 16-bit RGBA, uncompressed, have 0.8 GB."""

MAX_RECORD_BYTES = 1_000_000
"""Of a record in UTF-8. Pillow expands no compressed text beyond 1 MiB, so that a small file cannot fill the memory."""

MAX_PAYLOAD_BYTES = 64_000_000

MAX_SCANS = 200
"""Of a progressive JPEG, each of which goes over the whole picture; programs write about ten."""

_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")  # of a segment of a JPEG; the others stand inside its data
_SCAN, _END = 0xDA, 0xD9
_DECODED_BYTES = 12  # of memory for each pixel while a picture is decoded, turned upright and brought to eight bits
_STRIP_PIXELS = 1_000_000  # worked at together, where a step takes many bytes for each
_WRITES_TO_STDERR = ("TIFF",)

WRITABLE = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""File name endings and the format each stands for; all but JPEG keep every pixel as it is."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")  # chunks of a PNG

_WITHOUT_ALPHA = ("JPEG", "BMP")
_KEYWORD = "latentedit"  # of the iTXt chunk with the record
_PAYLOAD = b"leDt"
"""Name of the payload's chunk; the case of its letters says: ancillary, private, to be kept by programs that do not
know it."""


@contextlib.contextmanager
def opened(path: str | Path, *, content: bytes | None = None) -> Generator[ImageFile.ImageFile]:
    """A picture file as Pillow opens it: its header is read, its pixels are not.

    Texts in a PNG whose checksum is wrong are ignored, with a warning: some programs edit a text and keep its checksum.

    Args:
        content: of the file, where it was read before; then the path is a name only.

    Raises:
        ImageError: no such file, no regular file, empty, no picture, or damaged; any other error that the block raises
            is taken for a sign of damage too.
    """
    with contextlib.ExitStack() as stack:
        if content is None:
            file = stack.enter_context(open_file(path, limit=MAX_PICTURE_BYTES, error=ImageError))
            length = os.fstat(file.fileno()).st_size
        else:
            file, length = io.BytesIO(content), len(content)
        if not length:
            raise ImageError(f"{path} is empty. Save or fetch the picture again")
        try:
            file = _without_damaged_texts(file, str(path))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # Pillow warns of sizes and of odd tags; sizes are checked here
            yield stack.enter_context(Image.open(file, formats=READABLE))
        except Image.DecompressionBombError as error:
            claimed = re.search(r"\((\d+) pixels\)", str(error))
            raise _too_large(str(path), int(claimed[1]) if claimed else None) from error
        except UnidentifiedImageError as error:
            raise ImageError(
                f"{path} is no picture ({', '.join(READABLE)}) by its content, whatever its name says. "
                "Save it again as PNG or JPEG"
            ) from error
        except ImageError:
            raise
        except Exception as error:
            raise damaged(str(path), error) from error


def _without_damaged_texts(file: BinaryIO, name: str) -> BinaryIO:
    """The file; of a PNG with texts whose checksum is wrong, a copy without them. Pillow refuses it otherwise."""
    parts: list[bytes] = []  # what lies before, between and behind those texts
    damaged: dict[str, None] = {}
    start, end = 0, file.seek(0, os.SEEK_END)
    file.seek(0)
    png = file.read(8) == _SIGNATURE
    while png and len(head := file.read(8)) == 8 and (kind := head[4:]) != b"IDAT":
        begin, length = file.tell() - 8, int.from_bytes(head[:4], "big")
        behind = begin + length + 12
        if kind in _TEXTS and behind <= end:
            text = file.read(length)
            if int.from_bytes(file.read(4), "big") != zlib.crc32(text, zlib.crc32(kind)):
                file.seek(start)
                parts.append(file.read(begin - start))
                start = behind
                damaged[text[:79].partition(b"\0")[0].decode("latin-1")] = None
        file.seek(behind)
    file.seek(start)
    if not damaged:
        return file
    warnings.warn(
        f"text in {name} is damaged (its checksum is wrong) and was ignored: {', '.join(map(repr, [*damaged][:3]))}. "
        "Save the picture again to remove it",
        stacklevel=2,
    )
    return io.BytesIO(b"".join([*parts, file.read()]))


def content_of(path: str | Path) -> bytes | None:
    """A picture file's content; None where it cannot be read: whoever opens the picture is told so."""
    try:
        return read_bytes(path, limit=MAX_PICTURE_BYTES)
    except LatentEditError:
        return None


def check_size(size: tuple[int, int], name: str) -> None:
    """Refuse pictures below 2x2 and above 100 megapixels.

    Raises:
        ImageError: too small, or too large.
    """
    width, height = size
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"{name} is too small: {width}x{height} pixels. Choose one of at least {MIN_SIDE_PX}x{MIN_SIDE_PX}"
        )
    if width * height > MAX_PIXELS:
        raise _too_large(name, width * height)


def damaged(name: str, error: Exception) -> ImageError:
    """The error that names a damaged picture and what was found."""
    return ImageError(f"{name} is damaged or cut short ({error}). Save or fetch the picture again")


def read_image(path: str | Path, *, content: bytes | None = None) -> Image.Image:
    """The first frame of a picture file, upright by its EXIF tag, as 8-bit RGB, or RGBA where it has transparency.

    Args:
        path: a PNG, JPEG, WebP, GIF, TIFF, BMP or PPM file, of 2x2 to 100 megapixels.
        content: of the file, where it was read before.

    Returns:
        The picture, decoded. An embedded RGB colour profile stays in ``info["icc_profile"]``.

    Raises:
        ImageError: no such file, a folder, empty, no picture, damaged, too small, or too large; the size is looked at
            before anything is decoded.
    """
    with opened(path, content=content) as image:
        return decode(image, str(path))


def decode(image: Image.Image, name: str) -> Image.Image:
    """The first frame of an opened image, upright and in eight bits; its size is looked at before it is decoded.

    Args:
        image: as Pillow opened it; it is not changed, but for the frame it stands at.
        name: what an error calls it.

    Raises:
        ImageError: too small, too large, or damaged.
    """
    check_size(image.size, name)
    _check_memory(image.size, name)
    try:
        if image.tell() > 0:
            image.seek(0)
        _check_scans(image, name)
        with _silent_decoder() if image.format in _WRITES_TO_STDERR else contextlib.nullcontext():
            image.load()
        plain = to_eight_bit(_upright(image))
        if plain is image:
            plain = image.copy()
        if not isinstance(plain.info.get("icc_profile"), bytes):  # a TIFF may have a text there
            plain.info.pop("icc_profile", None)
        return plain
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory. Scale it down first") from error
    except Exception as error:  # decoders raise whatever they meet in a damaged file
        raise damaged(name, error) from error


def strips(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """A picture as boxes of whole rows, one below the other, for steps that take many bytes for each pixel.

    Args:
        size: width and height in pixels.

    Returns:
        Left, top, right and bottom of each, as Pillow's ``crop`` takes them.
    """
    width, height = size
    rows = max(1, _STRIP_PIXELS // width)
    return [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]


def to_eight_bit(image: Image.Image) -> Image.Image:
    """Any Pillow image as 8-bit RGB, or RGBA where it has transparency; the same object where it is that already.

    16-bit grey keeps its range (65535 is white). Other integers and floats are scaled by their own maximum if that
    exceeds their usual range.

    Raises:
        ImageError: an image with values that are not numbers.
    """
    if image.mode in ("RGB", "RGBA") and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        image = _scale_to_eight_bit(image)
    transparent = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa")
    if image.mode == "La":  # Pillow knows no direct way from premultiplied grey
        image = image.convert("LA")
    converted = image.convert("RGBA" if transparent else "RGB")
    if image.mode not in ("RGB", "RGBA", "P", "PA"):
        converted.info.pop("icc_profile", None)  # a grey or CMYK profile says nothing about RGB
    converted.info.pop("transparency", None)
    return converted


def read_chunks(path: str | Path) -> tuple[str | None, bytes | None]:
    """The record and the payload that `save_image` put into a PNG, each None where there is none.

    Both stand before the pixels, which are not decoded. What the file says may come from anyone.

    Args:
        path: a picture file; formats other than PNG carry neither.

    Raises:
        ImageError: no file, no picture, damaged, text that expands beyond all measure, or a payload above 64 MB.
    """
    with opened(path) as image:
        if not isinstance(image, PngImageFile):
            return None, None
        record = image.info.get(_KEYWORD)
        payload = next((chunk[1] for chunk in image.private_chunks if chunk[0] == _PAYLOAD), None)
        if payload is not None and len(payload) > MAX_PAYLOAD_BYTES:
            raise ImageError(
                f"{path} has {len(payload)} bytes in its {_PAYLOAD.decode()} chunk, where {MAX_PAYLOAD_BYTES} is the "
                "most. Do not use it"
            )
        return None if record is None else str(record), payload


def check_output(path: str | Path, *, source: str | Path | None = None, transparent: bool = False) -> None:
    """Find out whether a picture could be written, before any work is spent on it.

    Args:
        source: the picture that is edited, which must not be overwritten.
        transparent: the picture has an alpha channel.

    Raises:
        OutputError: a folder that is missing or cannot be written to, a name that is a folder, an ending that stands
            for no format, or the source itself.
    """
    path = Path(path)
    _format_of(path, transparent=transparent)
    check_place(path, source=source)


def save_image(
    image: Image.Image,
    path: str | Path,
    *,
    record: str | None = None,
    payload: bytes | None = None,
    exif: bytes | None = None,
) -> None:
    """Write a picture beside its place, then rename it into place: no half-written file is ever seen.

    The same image, record and payload give the same bytes.

    Args:
        image: RGB or RGBA; its ``info["icc_profile"]`` is kept.
        path: the ending names the format (PNG, WebP and TIFF lossless; JPEG quality 95).
        record: text that a PNG carries, for `read_chunks`; 1 MB at most. Other formats carry none and are written
            without it.
        payload: bytes that a PNG carries beside the record; 64 MB at most. Other formats are written without it.
        exif: where and how the picture was taken, of an upright picture; BMP is written without it.

    Raises:
        OutputError: the place cannot be written to, the ending stands for no format, the disk is full, or a record or
            payload is too long.
    """
    path = Path(path)
    kind = _format_of(path, transparent=image.mode == "RGBA")
    options: dict[str, object] = {"icc_profile": image.info["icc_profile"]} if "icc_profile" in image.info else {}
    if exif is not None:
        options["exif"] = exif
    if kind == "PNG":
        options |= {"pnginfo": pack_chunks(record, payload)}
    elif kind == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    elif kind == "TIFF":
        options |= {"compression": "tiff_lzw"}
    with written_beside(path) as file:
        image.save(file, format=kind, **options)


def pack_chunks(record: str | None, payload: bytes | None) -> PngInfo:
    """For Pillow's ``pnginfo``: the record as a compressed iTXt "latentedit", the payload as it is in ``leDt``."""
    info = PngInfo()
    if record is not None:
        text = record.encode("utf-8")
        _check_length("record", len(text), MAX_RECORD_BYTES)
        info.add_itxt(_KEYWORD, text, zip=True)
    if payload is not None:
        _check_length("payload", len(payload), MAX_PAYLOAD_BYTES)
        info.add(_PAYLOAD, payload)
    return info


def _check_length(what: str, length: int, most: int) -> None:
    if length > most:
        raise OutputError(f"the {what} has {length} bytes; a PNG carries at most {most}. Save the picture without it")


def _upright(image: Image.Image) -> Image.Image:
    """The same object where it stands upright: each copy of a large picture takes 400 MB."""
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except Exception:  # noqa: BLE001 (a damaged EXIF block must not keep a sound picture out)
        return image


def _scale_to_eight_bit(image: Image.Image) -> Image.Image:
    highest = max(_highest(image.crop(strip)) for strip in strips(image.size))
    usual = 65535.0 if image.mode.startswith("I") else 1.0 if highest <= 1 else 255.0
    factor = 255 / max(usual, highest)
    scaled = Image.new("L", image.size)
    for strip in strips(image.size):
        values = np.asarray(image.crop(strip)).astype(np.float64)
        scaled.paste(Image.fromarray(np.rint(values.clip(0) * factor).astype(np.uint8)), strip)
    return scaled


def _highest(strip: Image.Image) -> float:
    values = np.asarray(strip)
    if not np.isfinite(values).all():
        raise ImageError("the picture has pixels that are nan or infinity. Save it as 8-bit PNG")
    return float(values.max())


def _check_memory(size: tuple[int, int], name: str) -> None:
    """Refuse a picture for which there is no memory, before any of it is taken."""
    needed, free = size[0] * size[1] * _DECODED_BYTES, psutil.virtual_memory().available
    if needed > free:
        raise ImageError(
            f"{name} has {size[0] * size[1] / 1e6:.0f} megapixels, which take {needed / 1e6:.0f} MB to decode; "
            f"{free / 1e6:.0f} MB are free. Scale it down first"
        )


def _check_scans(image: Image.Image, name: str) -> None:
    """Refuse a JPEG that makes its decoder go over the picture again and again."""
    file = getattr(image, "fp", None)
    if image.format not in ("JPEG", "MPO") or file is None:
        return
    start = file.tell()
    file.seek(0)
    data, scans, place = file.read(), 0, 2
    file.seek(start)
    while (found := _MARKER.search(data, place)) and found[1][0] != _END:
        scans += found[1][0] == _SCAN
        place = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2], "big"))
    if scans > MAX_SCANS:
        raise ImageError(f"{name} has {scans} scans, where {MAX_SCANS} are the most. Save it again as PNG")


@contextlib.contextmanager
def _silent_decoder() -> Generator[None]:
    """Libtiff writes what it finds wrong, quoting the file, to the process's stderr; it is kept from there."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _format_of(path: Path, *, transparent: bool) -> str:
    kind = WRITABLE.get(path.suffix.lower())
    if kind is None:
        raise OutputError(f"{path.name!r} has no ending of a picture ({', '.join(WRITABLE)}). Use .png")
    if transparent and kind in _WITHOUT_ALPHA:
        raise OutputError(f"the picture has transparency, and {kind} cannot keep it in {path}. Use .png")
    return kind


def _too_large(name: str, pixels: int | None) -> ImageError:
    claim = "far more" if pixels is None else f"{pixels / 1e6:.0f} megapixels"
    return ImageError(
        f"{name} claims {claim} and was not decoded; the limit is {MAX_PIXELS // 1_000_000}. Scale it down first"
    )
