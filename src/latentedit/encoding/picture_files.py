"""Picture files in and out: what cannot be a sound picture is refused undecoded, and nothing is half written."""

import re
import secrets
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from latentedit.errors import ImageError, OutputError

READABLE = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
"""Formats that are opened; JPEG stands for MPO too. Decoders that start other programs (EPS) are left out."""

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
MAX_PIXELS = 100_000_000
MIN_SIDE_PX = 2


def read_image(path: str | Path) -> Image.Image:
    """The first frame of a picture file, upright by its EXIF tag, as 8-bit RGB, or RGBA where it has transparency.

    Args:
        path: a PNG, JPEG, WebP, GIF, TIFF, BMP or PPM file, of 2x2 to 100 megapixels.

    Returns:
        The picture, decoded. An embedded RGB colour profile stays in ``info["icc_profile"]``.

    Raises:
        ImageError: no such file, a folder, empty, no picture, damaged, too small, or too large; the size is looked at
            before anything is decoded.
    """
    path = Path(path)
    _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes and of odd tags; sizes are checked here
            with Image.open(path, formats=READABLE) as image:
                return decode(image, str(path))
    except Image.DecompressionBombError as error:
        claimed = re.search(r"\((\d+) pixels\)", str(error))
        raise _too_large(str(path), int(claimed[1]) if claimed else None) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"expected {path} to be a picture ({', '.join(READABLE)}); its content is none of these, whatever its name "
            "says. Save it again as PNG or JPEG"
        ) from error
    except PermissionError as error:
        raise ImageError(f"expected {path} to be readable; permission was denied. Change its permissions") from error
    except ImageError:
        raise
    except Exception as error:
        raise _damaged(str(path), error) from error


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
        raise _damaged(name, error) from error


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


def check_size(size: tuple[int, int], name: str) -> None:
    """Refuse pictures below 2x2 and above 100 megapixels.

    Raises:
        ImageError: too small, or too large.
    """
    width, height = size
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"expected {name} to be at least {MIN_SIDE_PX}x{MIN_SIDE_PX} pixels; it is {width}x{height}. "
            "Choose a larger picture"
        )
    if width * height > MAX_PIXELS:
        raise _too_large(name, width * height)


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
    if path.is_dir():
        raise OutputError(f"expected the output {path} to be a file; it is a folder. Name a file in it")
    if not path.parent.is_dir():
        raise OutputError(f"expected the output folder {path.parent} to exist; it does not. Create it first")
    if source is not None and path.resolve() == Path(source).resolve():
        raise OutputError(f"expected an output other than the picture itself; got {path} for both. Choose another name")
    beside = _beside(path)
    try:
        beside.touch(exist_ok=False)
        beside.unlink()
    except OSError as error:
        raise OutputError(_unwritable(path, error)) from error


def save_image(image: Image.Image, path: str | Path) -> None:
    """Write a picture beside its place, then rename it into place: no half-written file is ever seen.

    Args:
        image: RGB or RGBA; its ``info["icc_profile"]`` is kept.
        path: the ending names the format (PNG, WebP and TIFF lossless; JPEG quality 95).

    Raises:
        OutputError: the place cannot be written to, the ending stands for no format, or the disk is full.
    """
    path = Path(path)
    kind = _format_of(path, transparent=image.mode == "RGBA")
    options: dict[str, object] = {"icc_profile": image.info["icc_profile"]} if "icc_profile" in image.info else {}
    if kind == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    elif kind == "TIFF":
        options |= {"compression": "tiff_lzw"}
    beside = _beside(path)
    try:
        with beside.open("xb") as file:
            image.save(file, format=kind, **options)
        beside.replace(path)
    except OSError as error:
        raise OutputError(_unwritable(path, error)) from error
    finally:
        beside.unlink(missing_ok=True)


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise ImageError(f"expected {path} to be a picture file; it is a folder. Name a file in it")
        if not path.exists():
            raise ImageError(f"expected {path} to be a picture file; there is no such file. Check the path")
        if not path.is_file():
            raise ImageError(f"expected {path} to be a regular file; it is none. Save the picture to a file first")
        if path.stat().st_size == 0:
            raise ImageError(f"expected {path} to be a picture; the file is empty. Save or fetch it again")
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"expected {path} to be a readable file; got: {error}. Check the path") from error


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


def _damaged(name: str, error: Exception) -> ImageError:
    return ImageError(
        f"expected {name} to be a complete picture; it is damaged or cut short ({error}). Save or fetch it again"
    )


def _too_large(name: str, pixels: int | None) -> ImageError:
    claim = "far more" if pixels is None else f"{pixels / 1e6:.0f} megapixels"
    return ImageError(
        f"expected {name} to have at most {MAX_PIXELS // 1_000_000} megapixels; it claims {claim} and was not decoded. "
        "Scale it down first"
    )


def _format_of(path: Path, *, transparent: bool) -> str:
    kind = WRITABLE.get(path.suffix.lower())
    if kind is None:
        raise OutputError(f"expected the output to end in {', '.join(WRITABLE)}; got {path.name!r}. Use .png")
    if transparent and kind in _WITHOUT_ALPHA:
        raise OutputError(f"expected a format with transparency for {path}; {kind} has none. Use .png")
    return kind


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _unwritable(path: Path, error: OSError) -> str:
    why = error.strerror or str(error)
    return f"expected to be able to write {path}; got: {why}. Choose another place with -o, or free space"
