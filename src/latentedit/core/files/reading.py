"""Picture files as they are opened: what cannot be a sound picture is refused in one line, undecoded."""

import contextlib
import io
import re
import warnings
from collections.abc import Generator
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from latentedit.core.errors import ImageError

READABLE = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
"""Formats that are opened; JPEG stands for MPO too. Decoders that start other programs (EPS) are left out."""

MAX_PIXELS = 100_000_000
MIN_SIDE_PX = 2


@contextlib.contextmanager
def opened(path: Path, *, content: bytes | None = None) -> Generator[ImageFile.ImageFile]:
    """A picture file as Pillow opens it: its header is read, its pixels are not.

    Args:
        path: of the file.
        content: of the file, where it was read before; then the path is a name only.

    Raises:
        ImageError: no such file, a folder, empty, no picture, or damaged; any other error that the block raises is
            taken for a sign of damage too.
    """
    if content is None:
        _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes and of odd tags; sizes are checked here
            with Image.open(path if content is None else io.BytesIO(content), formats=READABLE) as image:
                yield image
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
        raise damaged(str(path), error) from error


def content_of(path: Path) -> bytes | None:
    """A file's content; None where it cannot be read: whoever opens the picture is told so."""
    try:
        return path.read_bytes()
    except (OSError, ValueError):
        return None


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


def damaged(name: str, error: Exception) -> ImageError:
    """The error that names a damaged picture and what was found."""
    return ImageError(
        f"expected {name} to be a complete picture; it is damaged or cut short ({error}). Save or fetch it again"
    )


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


def _too_large(name: str, pixels: int | None) -> ImageError:
    claim = "far more" if pixels is None else f"{pixels / 1e6:.0f} megapixels"
    return ImageError(
        f"expected {name} to have at most {MAX_PIXELS // 1_000_000} megapixels; it claims {claim} and was not decoded. "
        "Scale it down first"
    )
