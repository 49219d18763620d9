"""The pixels of an image that Pillow has opened, at their full bit depth."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pi_heif
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from latentedit.core.errors import ImageError
from latentedit.photo.color import PRINT, Colors, Pixels, srgb_image
from latentedit.photo.containers import without_texts
from latentedit.photo.refusals import checked_range
from latentedit.photo.warp import cv2

_PNG_DEPTH = 24  # offset of a PNG's bit depth


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


class Decoded(NamedTuple):
    """The first frame as it is stored, what Pillow reads of EXIF, and how many frames there are."""

    pixels: Pixels
    exif: Image.Exif
    frame_count: int


def decoded(image: Image.Image, content: bytes, name: str, raw: bytes | None) -> Decoded:
    """Decode an opened image, 16-bit pixels from the content of its file; its EXIF may be given raw."""
    count, exif = 1, Image.Exif()
    with contextlib.suppress(Exception):  # a damaged later frame or EXIF must not prevent reading the image
        count = frames(image)
    if image.tell() > 0:
        image.seek(0)
    with contextlib.suppress(Exception):
        exif = image.getexif()
        if not exif and raw:
            exif = Image.Exif()
            exif.load(raw)
    with silent_decoder() if image.format in ("PNG", "TIFF") else contextlib.nullcontext():
        pixels = _deep(image, content, name)
        if pixels is None:
            image.load()
    return Decoded(_shallow(image, content, name) if pixels is None else pixels, exif, count)


def _shallow(image: Image.Image, content: bytes, name: str) -> Pixels:
    if image.mode[0] in "IF":
        return np.dstack([_numbers(image, name)] * 3)
    if content and isinstance(image, PngImageFile) and isinstance(key := image.info.get("transparency"), int):
        if image.mode == "L":  # Pillow scales the levels to 8 bits but not the transparent one
            image.info["transparency"] = key * 255 // (2 ** content[_PNG_DEPTH] - 1)
        elif image.mode == "1":
            image = image.convert("L")
    if image.mode not in PRINT:
        return np.asarray(to_eight_bit(image))
    return np.asarray(srgb_image(image, Colors.of(image.info).icc_profile) or image.convert("RGB"))


def _deep(image: Image.Image, content: bytes, name: str) -> Pixels | None:
    """The pixels of a PNG, TIFF or HEIC with more than 8 bits, as 16 bits; None for other images."""
    if content and image.format == "HEIF" and image.info.get("bit_depth", 8) > 8:
        deep = pi_heif.open_heif(content, convert_hdr_to_8bit=False)
        pixels = np.atleast_3d(np.asarray(deep))
        if pixels.dtype == np.uint16:
            used = np.uint16(image.info["bit_depth"])
            pixels = pixels | pixels >> used  # the bits above are repeated below, so that white stays white
            return np.dstack([pixels[..., :1]] * 3 + [pixels[..., 1:]]) if pixels.shape[2] < 3 else pixels
    if isinstance(image, PngImageFile) and content[_PNG_DEPTH : _PNG_DEPTH + 1] == b"\x10":
        pixels = _sixteen_bits(content, name)
        if not isinstance(clear := image.info.get("transparency"), int):  # OpenCV applies it to colors only
            return pixels
        return np.dstack([pixels, np.where(pixels[..., 0] == clear, 0, 65535).astype(np.uint16)])
    if not (content and isinstance(image, TiffImageFile)):
        return None
    tag = image.tag_v2.get
    bits, photometric, extra = max(tag(258, (1,))), tag(262, 1), tuple(tag(338, ()))
    other_numbers = set(tag(339, (1,))) - ({1, 4} if bits <= 16 else {2, 3})
    planes = bits > 8 and tag(277, 1) > 1 and tag(284, 1) != 1
    if other_numbers or planes or (bits > 16 and photometric == 0):
        raise ImageError(f"{name} is a TIFF with an unsupported layout of its {bits} bits. Save it again as PNG")
    if photometric == 5 or not 8 < bits <= 16:
        return None
    if bits == 16:
        pixels = _sixteen_bits(content, name)
    else:
        image.load()
        top = 2**bits - 1
        pixels = np.dstack([((np.asarray(image).astype(np.uint32) * 65535 + top // 2) // top).astype(np.uint16)] * 3)
    pixels = 65535 - pixels if photometric == 0 else pixels
    if pixels.shape[2] == 3 or extra[:1] == (2,) or not extra:
        return pixels
    if extra[0] == 1:  # premultiplied alpha
        alpha = pixels[..., 3:].astype(np.uint32)
        colors = (pixels[..., :3] * np.uint32(65535) + alpha // 2) // np.maximum(alpha, 1)
        return np.dstack([np.minimum(colors, 65535).astype(np.uint16), pixels[..., 3]])
    return pixels[..., :3]


def _sixteen_bits(content: bytes, name: str) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(without_texts(content), dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ImageError(f"the 16 bits of {name} cannot be read. Save it again as a 16-bit PNG")
    orders = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    return cv2.cvtColor(pixels, orders[1 if pixels.ndim == 2 else pixels.shape[2]])


def to_eight_bit(image: Image.Image) -> Image.Image:
    """Any Pillow image as 8-bit RGB, or RGBA if it has transparency; 65535 of 16-bit gray becomes white."""
    if image.mode in ("RGB", "RGBA") and "transparency" not in image.info:
        return image
    transparent = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa")
    if image.mode[0] in "IF":
        values = _numbers(image, "the image")
        image = Image.fromarray(values if values.dtype == np.uint8 else cv2.convertScaleAbs(values, alpha=1 / 257))
    elif image.mode == "La":  # Pillow cannot convert premultiplied gray directly
        image = image.convert("LA")
    converted = image.convert("RGBA" if transparent else "RGB")
    converted.info.pop("transparency", None)
    return converted


def _numbers(image: Image.Image, name: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Integers of up to 16 bits as they are, and floats in [0, 1] as 8 bits; other values have no known scale."""
    values, is_float = np.asarray(image), image.mode == "F"
    checked_range(values, name, 1 if is_float else 65535)
    return np.rint(255.0 * values).astype(np.uint8) if is_float else values.astype(np.uint16)


@contextlib.contextmanager
def silent_decoder() -> Generator[None]:
    """Discard stderr: libtiff, libpng and FFmpeg write messages there that quote the file."""
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
