"""Reading and writing image files with their metadata; a PNG also carries a record as text and a payload of bytes."""

import contextlib
import dataclasses
import hashlib
import importlib
import io
import math
import re
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast, runtime_checkable

import numpy as np
import pi_heif
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import TiffImageFile

from latentedit.core.errors import ImageError, LatentEditError, too_little_memory
from latentedit.core.files import Encoded, read_bytes
from latentedit.photo import color
from latentedit.photo.carried import Carried
from latentedit.photo.color import Pixels, levels
from latentedit.photo.containers import chunks, is_damaged_text, taken_apart, without_texts
from latentedit.photo.decoding import decoded
from latentedit.photo.metadata import as_opened, read_carried
from latentedit.photo.refusals import HAS_JPEG_XL, JPEG_XL, RAW, checked_range, reason, refuse
from latentedit.photo.warp import cv2, turned

if HAS_JPEG_XL:
    importlib.import_module("pillow_jxl")  # it registers itself; GPL, so that it is the user who installs it

pi_heif.register_heif_opener()  # photographs of phones

# JPEG includes MPO. Decoders that start other programs (EPS) are excluded.
READABLE = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "HEIF", "AVIF", *(["JXL"] if HAS_JPEG_XL else []))
_STARTS = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|(?:II|MM)(?:\0[*+]|[*+]\0)|BM|P[0-6fy]|....ftyp(?:he|avi|m[is]f1)|"
    + RAW + b"|" + JPEG_XL,
    re.DOTALL,
)  # fmt: skip
MAX_PIXELS = 100_000_000
_TOO_LARGE = f"{{}} has more than {MAX_PIXELS // 1_000_000} megapixels. Scale it down first"
MAX_SIDE_PX = 32_000  # OpenCV cannot warp longer images
MAX_IMAGE_BYTES = 1_000_000_000  # most bytes of a file; 100 megapixels of 16-bit RGBA, uncompressed, have 0.8 GB
# EXIF orientation -> quarter turns counter-clockwise, then whether to mirror horizontally.
_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


@runtime_checkable
class TensorLike(Protocol):
    """A tensor of PyTorch, which is not imported here."""

    def is_floating_point(self) -> bool: ...  # whether its values are floats


@runtime_checkable
class HasImage(Protocol):
    """A result of `keep` or of an edit."""

    @property
    def image(self) -> Image.Image: ...


# A file, an image, a result, an array [height, width, channels], a tensor [channels, height, width], an encoded or an
# open file; arrays and tensors have bytes, or floats in [0, 1].
ImageInput = str | Path | Image.Image | NDArray[Any] | TensorLike | Encoded | BinaryIO | HasImage


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelImage:
    """Upright pixels at their full bit depth, and what a result carries of the file."""

    pixels: Pixels
    carried: Carried = dataclasses.field(default_factory=Carried)
    path: Path | None = None  # the source file

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def name(self) -> str:
        """Name of the source file without its folder, or an empty string."""
        return "" if self.path is None else self.path.name.encode("utf-8", "replace").decode()

    @property
    def space(self) -> color.Space | None:
        """The color space; None for sRGB."""
        return self.carried.colors.space

    @property
    def levels(self) -> color.GrayValues:
        """Colors in sRGB in [0, 255] with transparent parts on white, ``[height, width, 3]``."""
        return self.on(255.0)

    def on(self, ground: Any) -> color.GrayValues:
        """`levels` with transparent parts on another ground, of one or three levels."""
        found = levels(self.pixels, self.space, ground)
        return found if self.space is None else np.clip(found, 0, 255, out=found)

    @property
    def alpha(self) -> NDArray[np.uint8] | None:
        """Alpha in 8 bits, ``[height, width]``; None if the image is opaque."""
        if self.pixels.shape[2] == 3 or self.pixels[..., 3].min() == np.iinfo(self.pixels.dtype).max:
            return None
        return cv2.convertScaleAbs(self.pixels[..., 3], alpha=1.0 if self.pixels.dtype == np.uint8 else 1 / 257)

    @property
    def image(self) -> Image.Image:
        """An 8-bit Pillow image in the image's own color space."""
        is_deep = self.pixels.dtype == np.uint16
        image = Image.fromarray(cv2.convertScaleAbs(self.pixels, alpha=1 / 257) if is_deep else self.pixels)
        image.info.update(self.carried.info)
        return image

    @property
    def fingerprint(self) -> str:
        """Hash of pixels, size and bit depth, 16 hexadecimal digits."""
        digest = hashlib.sha256(f"{self.pixels.dtype} {self.pixels.shape}".encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()[:16]


def fingerprint_of(image: Image.Image) -> str:
    """Sixteen hexadecimal digits of an 8-bit image's pixels, their size and mode, whatever the file format."""
    digest = hashlib.sha256(f"{image.mode} {image.size}".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def opened(path: str | Path, *, content: bytes | None = None) -> Generator[ImageFile.ImageFile]:
    """Open an image file, or its content, without decoding the pixels; all errors become an `ImageError`."""
    content = read_content(path) if content is None else content
    if not content:
        raise ImageError(f"{path} is empty. Save or fetch the image again")
    with _refused(str(path), content):
        refuse(content, str(path))
        _warn_of_damaged_texts(content, str(path))
        # Pillow warns about sizes, which `check_size` checks, and about unusual tags.
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(without_texts(content)), formats=READABLE) as image,
        ):
            yield image


@contextlib.contextmanager
def _refused(name: str, content: bytes = b"") -> Generator[None]:
    """Turn any error into an `ImageError`: decoders raise errors of many types for damaged files."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(_TOO_LARGE.format(name)) from error
    except UnidentifiedImageError as error:
        if why := reason(content):
            raise ImageError(f"{name} {why}") from error
        kinds = f"{name} is not an image in a supported format ({', '.join(READABLE)})"
        raise ImageError(f"{kinds}. Save it again as PNG or JPEG") from error
    except Exception as error:
        if too_little_memory(error):
            raise ImageError(f"{name} does not fit into memory. Scale it down first") from error
        raise ImageError(f"{name} is damaged or cut short ({error}). Save or fetch the image again") from error


def _warn_of_damaged_texts(content: bytes, name: str) -> None:
    damaged = (one.of(content)[:79] for one in chunks(content) if is_damaged_text(content, one))
    keys = dict.fromkeys(repr(text.partition(b"\0")[0].decode("latin-1")) for text in damaged)
    if keys:
        what = f"text in {name} is damaged (its checksum is wrong) and was ignored: {', '.join([*keys][:3])}"
        warnings.warn(f"{what}. Save the image again to remove it", stacklevel=2)


def read_content(path: str | Path) -> bytes:
    """An image file's content; of a file of another format the first bytes only, which decoders then refuse."""
    return read_bytes(path, limit=MAX_IMAGE_BYTES, error=ImageError, starts=_STARTS)


def content_of(path: str | Path) -> bytes | None:
    """An image file's content, or None; opening the image then reports the reason."""
    with contextlib.suppress(LatentEditError):
        return read_content(path)
    return None


def check_size(size: tuple[int, int], name: str) -> None:
    """Raise an `ImageError` for images without pixels and above 100 megapixels."""
    if not math.prod(size):
        raise ImageError(f"{name} has no pixels. Choose another image")
    if math.prod(size) > MAX_PIXELS:
        raise ImageError(_TOO_LARGE.format(name))


def read_image(source: ImageInput, name: str = "image", *, content: bytes | None = None) -> Image.Image:
    """The first frame as 8-bit RGB, or RGBA if it has transparency, upright and in its own color space."""
    return _read(source, name, content).image


def read_pixels(
    source: ImageInput | PixelImage, name: str = "the image", *, content: bytes | None = None
) -> PixelImage:
    """The first frame of an image, which errors call ``name``; PNG and TIFF keep 16 bits. ``content`` is the file's."""
    source = getattr(source, "kept", source)  # a result of `keep`, at its full bit depth
    if isinstance(source, PixelImage):
        return source
    found = _read(source, name, content)
    if max(found.size) > MAX_SIDE_PX:
        size = f"{found.size[0]}x{found.size[1]}"
        raise ImageError(f"{found.path or name} is {size} pixels; sides are {MAX_SIDE_PX} at most. Scale it down first")
    return found


def _read(source: ImageInput, name: str, content: bytes | None = None) -> PixelImage:
    if isinstance(source, HasImage):
        source = source.image
    if isinstance(source, (list, tuple)):
        found = f"a {type(cast('object', source)).__name__} of {len(source)}"
        raise ImageError(f"{name} must be one image; got {found}. Give one of them at a time")
    if isinstance(source, np.ndarray | TensorLike):
        source = _from_array(source, name)
    if isinstance(source, Image.Image):
        return _decoded(source, name)
    if not isinstance(source, str | Path | Encoded) and callable(getattr(source, "read", None)):
        if getattr(source, "seekable", bool)():  # it was often just written
            source.seek(0)
        source = source.read()
    if isinstance(source, Encoded):
        with opened(name, content=bytes(source)) as image:
            return _decoded(image, name, bytes(source))
    path = cast("str | Path", source)  # or anything else, which is refused
    content = read_content(path) if content is None else content
    with opened(path, content=content) as image:
        return dataclasses.replace(_decoded(image, str(path), content), path=Path(path))


def _from_array(source: NDArray[Any] | TensorLike, name: str) -> Image.Image:
    """An array, or a tensor with its channels first, as an image; one that has a batch of one too."""
    is_tensor = not isinstance(source, np.ndarray)
    if is_tensor:
        tensor: Any = source
        tensor = tensor.float() if source.is_floating_point() else tensor  # NumPy has no bfloat16
        source = cast("NDArray[Any]", tensor.numpy(force=True))
    pixels = source[0] if source.ndim == 4 and len(source) == 1 else source
    pixels = np.moveaxis(pixels, 0, -1) if is_tensor and pixels.ndim == 3 else pixels
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if pixels.dtype.kind in "fb" and pixels.size:
        checked_range(pixels, name, 1, "Give (x + 1) / 2 of values in [-1, 1], and x / 255 of values up to 255")
        pixels = np.rint(255.0 * pixels).astype(np.uint8)
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        what = f"{'a tensor' if is_tensor else 'an array'} of shape {[*source.shape]} and type {source.dtype}"
        sides = "[3, height, width]" if is_tensor else "[height, width, 3]"
        raise ImageError(f"{name} is {what}. Give {sides}, as uint8 or as floats in [0, 1]")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _decoded(image: Image.Image, name: str, content: bytes = b"") -> PixelImage:
    """The first frame, with what its file says."""
    check_size(image.size, name)
    with _refused(name):
        file = taken_apart(content) if content else as_opened(image)
        if file.is_png:  # Pillow has seen none of these
            stated = {"icc_profile": file.profile, "xmp": file.xmp, "exif": file.profiles.get("exif")}
            image.info.update({key: value for key, value in stated.items() if value and key not in image.info})
        pixels, exif, count = decoded(image, content, name, file.profiles.get("exif"))
        orientation = exif.get(Base.Orientation, 1)
        if image.format == "JXL" and not getattr(image, "jpeg", None):  # its decoder turns the image itself
            orientation = 1
        # Decoders of TIFF rotate it themselves.
        turn = (0, False) if isinstance(image, TiffImageFile) else _TURNS.get(orientation, (0, False))
        pixels = turned(pixels, *turn)
        size, short = (pixels.shape[1], pixels.shape[0]), Path(name).name
        carried = read_carried(file, image, exif=exif, orientation=orientation, size=size, name=short, count=count)
        return PixelImage(pixels=np.ascontiguousarray(pixels), carried=dataclasses.replace(carried, turn=turn))
