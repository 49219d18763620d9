"""Picture files in and out: what cannot be a sound picture is refused undecoded, and nothing is half written."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from latentedit.core.errors import ImageError, OutputError
from latentedit.core.files.png_chunks import pack
from latentedit.core.files.reading import check_size, damaged, opened
from latentedit.core.files.writing import check_place, written_beside

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

_WITHOUT_ALPHA = ("JPEG", "BMP")


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
    path = Path(path)
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
    try:
        if image.tell() > 0:
            image.seek(0)
        image.load()
        return to_eight_bit(_upright(image))
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"expected {name} to fit into memory; it does not. Scale it down first") from error
    except Exception as error:  # decoders raise whatever they meet in a damaged file
        raise damaged(name, error) from error


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


def check_output(path: str | Path, *, source: str | Path | None = None, transparent: bool = False) -> None:
    """Find out whether a picture could be written, before any work is spent on it.

    Args:
        path: where the picture is to go.
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
    image: Image.Image, path: str | Path, *, record: str | None = None, payload: bytes | None = None
) -> None:
    """Write a picture beside its place, then rename it into place: no half-written file is ever seen.

    The same image, record and payload give the same bytes.

    Args:
        image: RGB or RGBA; its ``info["icc_profile"]`` is kept.
        path: the ending names the format (PNG, WebP and TIFF lossless; JPEG quality 95).
        record: text that a PNG carries, for `read_chunks`; 1 MB at most. Other formats carry none and are written
            without it.
        payload: bytes that a PNG carries beside the record; 64 MB at most. Other formats are written without it.

    Raises:
        OutputError: the place cannot be written to, the ending stands for no format, the disk is full, or a record or
            payload is too long.
    """
    path = Path(path)
    kind = _format_of(path, transparent=image.mode == "RGBA")
    options: dict[str, object] = {"icc_profile": image.info["icc_profile"]} if "icc_profile" in image.info else {}
    if kind == "PNG":
        options |= {"pnginfo": pack(record, payload)}
    elif kind == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    elif kind == "TIFF":
        options |= {"compression": "tiff_lzw"}
    with written_beside(path) as file:
        image.save(file, format=kind, **options)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 (a damaged EXIF block must not keep a sound picture out)
        return image.copy()


def _scale_to_eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError("expected finite pixel values; got nan or infinity. Save the picture as 8-bit PNG")
    usual = 65535.0 if image.mode.startswith("I") else 1.0 if values.max() <= 1 else 255.0
    top = max(usual, float(values.max()))
    return Image.fromarray(np.rint(values.clip(0) * (255 / top)).astype(np.uint8))


def _format_of(path: Path, *, transparent: bool) -> str:
    kind = WRITABLE.get(path.suffix.lower())
    if kind is None:
        raise OutputError(f"expected the output to end in {', '.join(WRITABLE)}; got {path.name!r}. Use .png")
    if transparent and kind in _WITHOUT_ALPHA:
        raise OutputError(f"expected a format with transparency for {path}; {kind} has none. Use .png")
    return kind
