"""Pictures with all their bits: colours of 8 or 16 bits, alpha, profile and EXIF, upright."""

import dataclasses
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from latentedit_keep.composite import Pixels
from latentedit_keep.errors import ImageError, OutputError
from latentedit_keep.files import read_bytes, written_beside
from latentedit_keep.opencv import cv2
from latentedit_keep.pictures import (
    MAX_PICTURE_BYTES,
    check_size,
    decode,
    opened,
    pack_chunks,
    read_image,
    save_image,
)

MAX_SIDE_PX = 32_000
"""OpenCV moves no picture that is longer."""

_PNG_DEPTH = 24
"""Where a PNG says how many bits a channel has."""

_COMPRESSION = 3
"""Of a PNG: a photograph of 12 megapixels takes 1 s and is a twelfth larger than at the usual 6, which takes 4 s."""

_TIFF_BITS = 258
_MOST_JPEG_EXIF_BYTES = 65_533
_ORIENTATION = ExifTags.Base.Orientation

_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
"""EXIF orientation to quarter turns against the clock, after which left and right may be exchanged."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelPicture:
    """A picture as it is kept.

    Args:
        pixels: ``[height, width, 3 or 4]`` of 8 or 16 bits, upright; the fourth channel is alpha.
        profile: its ICC colour profile.
        exif: what else it says of itself, without orientation.
        path: the file it came from.
    """

    pixels: Pixels
    profile: bytes | None = None
    exif: bytes | None = None
    path: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def name(self) -> str:
        """Of its file, without folder; empty where there is none."""
        return "" if self.path is None else self.path.name.encode("utf-8", "replace").decode()

    @property
    def image(self) -> Image.Image:
        """In eight bits, with its profile."""
        narrow = self.pixels if self.pixels.dtype == np.uint8 else np.rint(self.pixels / 257).astype(np.uint8)
        image = Image.fromarray(np.ascontiguousarray(narrow))
        if self.profile is not None:
            image.info["icc_profile"] = self.profile
        return image

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the pixels, their size and depth."""
        digest = hashlib.sha256(f"{self.pixels.dtype} {self.pixels.shape}".encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()[:16]


def read_pixels(source: str | Path | Image.Image, name: str = "the picture") -> PixelPicture:
    """A file or a Pillow image; 16 bits stay where PNG or TIFF has them.

    Args:
        source: its first frame counts.
        name: what an error calls a Pillow image.

    Raises:
        ImageError: no such file, no picture, damaged, too small, or too large.
    """
    if isinstance(source, Image.Image):
        return _of_image(decode(source, name), None)
    content = read_bytes(source, limit=MAX_PICTURE_BYTES, error=ImageError)
    with opened(source, content=content) as image:
        check_size(image.size, str(source))
        deep = _is_deep(image, content)
        grey = image.mode.startswith(("I", "L"))  # whose profile says nothing about RGB
        profile, exif = None if grey else image.info.get("icc_profile"), _exif(image) if deep else None
    if exif is None:
        return _of_image(read_image(source, content=content), Path(source))
    pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ImageError(f"the 16 bits of {source} cannot be read. Save it again as a 16-bit PNG")
    is_png = isinstance(image, PngImageFile)
    orientation = int(exif.get(_ORIENTATION, 1)) if is_png else 1  # OpenCV turns a TIFF itself
    turned = _upright(_in_colour(pixels), orientation)
    rest = _bytes(exif) if is_png else None
    found = PixelPicture(pixels=turned, profile=profile or None, exif=rest, path=Path(source))
    _check_sides(found.size, str(source))
    return found


def save_pixels(picture: PixelPicture, path: str | Path, *, record: str | None = None) -> None:
    """Write a picture beside its place, then rename it; a PNG carries the record.

    Raises:
        OutputError: the place cannot be written to, or the format does not hold the picture.
    """
    path = Path(path)
    check_depth(picture, path)
    if path.suffix.lower() != ".png":
        save_image(picture.image, path, exif=picture.exif)
        return
    order = cv2.COLOR_RGB2BGR if picture.pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    options = [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION]
    _, encoded = cv2.imencode(".png", cv2.cvtColor(picture.pixels, order), options)
    chunks = [(kind, content) for kind, content, *_ in pack_chunks(record, None).chunks]
    if picture.exif is not None:
        chunks.insert(0, (b"eXIf", picture.exif.removeprefix(b"Exif\0\0")))
    if picture.profile is not None:
        chunks.insert(0, (b"iCCP", b"icc\0\0" + zlib.compress(picture.profile)))
    with written_beside(path) as file:
        file.write(_with_chunks(encoded.tobytes(), chunks))


def check_depth(picture: PixelPicture, path: str | Path) -> None:
    """Refuse to write 16 bits as anything but PNG, and more EXIF than a JPEG takes as one.

    Raises:
        OutputError: another ending.
    """
    if picture.pixels.dtype == np.uint16 and Path(path).suffix.lower() != ".png":
        raise OutputError(f"the picture has 16 bits, which are written as PNG only; got {path}. Use .png")
    if len(picture.exif or b"") > _MOST_JPEG_EXIF_BYTES and Path(path).suffix.lower() in (".jpg", ".jpeg"):
        raise OutputError(f"the picture's EXIF is too long for JPEG, in which {path} would be. Use .png")


def _of_image(image: Image.Image, path: Path | None) -> PixelPicture:
    _check_sides(image.size, "the picture" if path is None else str(path))
    return PixelPicture(
        pixels=np.asarray(image),
        profile=image.info.get("icc_profile"),
        exif=_bytes(_exif(image)),
        path=path,
    )


def _exif(image: Image.Image) -> Image.Exif:
    """Its EXIF; an empty one where it is damaged."""
    try:
        return image.getexif()
    except Exception:  # noqa: BLE001 (as damaged files are, in many ways; the picture is sound)
        return Image.Exif()


def _bytes(exif: Image.Exif) -> bytes | None:
    """EXIF without its orientation, as it is written; None where nothing is left, or cannot be written."""
    exif.pop(_ORIENTATION, None)
    try:
        return exif.tobytes() if len(exif) else None
    except Exception:  # noqa: BLE001 (values of other types than their tags have)
        return None


def _check_sides(size: tuple[int, int], name: str) -> None:
    if max(size) > MAX_SIDE_PX:
        raise ImageError(f"{name} is {size[0]}x{size[1]} pixels; sides are {MAX_SIDE_PX} at most. Scale it down first")


def _is_deep(image: Image.Image, content: bytes) -> bool:
    if isinstance(image, PngImageFile):
        return content[_PNG_DEPTH] == 16
    if isinstance(image, TiffImageFile):
        return set(image.tag_v2.get(_TIFF_BITS, (8,))) == {16} and image.mode != "CMYK"
    return False


def _in_colour(pixels: Pixels) -> Pixels:
    """As OpenCV decodes, to red, green, blue and alpha."""
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    turns, mirrored = _TURNS.get(orientation, (0, False))
    turned = np.rot90(pixels, turns)
    return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)


def _with_chunks(png: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG with more chunks behind its header, before its pixels."""
    header = 8 + 12 + 13
    packed = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    return png[:header] + packed + png[header:]
