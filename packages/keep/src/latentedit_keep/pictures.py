"""Picture files in and out: what cannot be a sound picture is refused undecoded, and nothing is half written.

With its pixels a picture brings what its file says of colours, size and rights: ``info``, by Pillow's names. A PNG
carries two things more: a record as text, and a payload of bytes that goes with it.
"""

import contextlib
import dataclasses
import hashlib
import io
import os
import re
import struct
import warnings
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import psutil
from PIL import ExifTags, Image, ImageFile, JpegImagePlugin, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile, PngInfo
from PIL.TiffImagePlugin import TiffImageFile

from latentedit_keep import colour
from latentedit_keep.composite import Pixels, levels
from latentedit_keep.errors import ImageError, LatentEditError, OutputError
from latentedit_keep.files import check_place, open_file, read_bytes, written_beside
from latentedit_keep.warp import cv2

READABLE = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
"""Formats that are opened; JPEG stands for MPO too. Decoders that start other programs (EPS) are left out."""

MAX_PIXELS = 100_000_000
MIN_SIDE_PX = 2

MAX_PICTURE_BYTES = 1_000_000_000
"""Size of a picture file: 100 megapixels of 16-bit RGBA, uncompressed, have 0.8 GB."""

MAX_RECORD_BYTES = 1_000_000
"""Of a record in UTF-8. Pillow expands no compressed text beyond 1 MiB, so that a small file cannot fill the memory."""

MAX_PAYLOAD_BYTES = 64_000_000

MAX_SIDE_PX = 32_000
"""OpenCV moves no picture that is longer."""

MAX_SCANS = 200
"""Of a progressive JPEG, each of which goes over the whole picture; programs write about ten."""

_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")  # of a segment of a JPEG; the others stand inside its data
_SCAN, _END = 0xDA, 0xD9
_DECODED_BYTES = 12  # of memory for each pixel while a picture is decoded, turned upright and brought to eight bits
_STRIP_PIXELS = 1_000_000  # worked at together, where a step takes many bytes for each

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
_PNG_DEPTH = 24  # where a PNG says how many bits a channel has
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")  # chunks of a PNG

_WITHOUT_ALPHA = ("JPEG", "BMP")

_CARRIED = ("icc_profile", "gamma", "chromaticity", "srgb", "cicp", "dpi", "xmp", "qtables", "subsampling", "texts")
"""Of ``info``, beside EXIF: colours, size, rights, and how a JPEG was compressed."""

_RIGHTS = ("Title", "Author", "Description", "Copyright", "Creation Time", "Source", "Disclaimer")
"""Texts of a PNG that are carried."""

_DESCRIBES = {"icc_profile": "colour profile", "exif": "EXIF", "xmp": "XMP", "dpi": "resolution", "texts": "texts"}
_LOSES = {
    "TIFF": ("texts",),
    "JPEG": ("texts",),
    "WEBP": ("dpi", "texts"),
    "BMP": ("icc_profile", "exif", "xmp", "texts"),
}
"""What a format has no place for."""

_LAYOUT = frozenset({*range(254, 267), 273, *range(277, 285), *range(288, 293), 296, *range(317, 348), 700, 34675})
"""Tags of a TIFF that say how its pixels are stored, or that are carried otherwise."""

_COMPRESSION = 3
"""Of a PNG: a photograph of 12 megapixels takes 1 s and is a twelfth larger than at the usual 6, which takes 4 s."""

_MOST_JPEG_EXIF_BYTES = 65_533
_MOST_JPEG_XMP_BYTES = 65_504
_MOST_DPI = 65_535
_INCH = 0.0254  # metres
_TIFF_XMP = 700
_XMP = "XML:com.adobe.xmp"

_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
"""EXIF orientation to quarter turns against the clock, after which left and right may be exchanged."""
_KEYWORD = "latentedit"  # of the iTXt chunk with the record
_PAYLOAD = b"leDt"
"""Name of the payload's chunk; the case of its letters says: ancillary, private, to be kept by programs that do not
know it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelPicture:
    """A picture as it is kept.

    Args:
        pixels: ``[height, width, 3 or 4]`` of 8 or 16 bits, upright; the fourth channel is alpha.
        info: what its file says of colours, size and rights, by Pillow's names; "notes" are what is not as it should
            be, one clause each.
        path: the file it came from.
    """

    pixels: Pixels
    info: colour.Info = dataclasses.field(default_factory=dict)
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
    def space(self) -> colour.Space | None:
        """Of its colours; None for sRGB."""
        return colour.space_of(self.info)

    @property
    def levels(self) -> colour.Levels:
        """In sRGB, clipped to [0, 255], transparent parts on white; ``[height, width, 3]``."""
        return levels(self.pixels, self.space).clip(0, 255)

    @property
    def image(self) -> Image.Image:
        """In eight bits, in its own colour space."""
        image = Image.fromarray(_narrow(self.pixels))
        image.info.update(self.info)
        return image

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the pixels, their size and depth."""
        digest = hashlib.sha256(f"{self.pixels.dtype} {self.pixels.shape}".encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()[:16]


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
            file.seek(0)
            if file.read(4) in (b"II*\0", b"MM\0*"):
                raise ImageError(f"{path} is a TIFF of a kind that is not read. Save it again as PNG") from error
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
    for kind, begin, length in _chunks_of(file):
        behind = begin + length + 12
        if kind in _TEXTS and behind <= end:
            file.seek(begin + 8)
            text = file.read(length)
            if int.from_bytes(file.read(4), "big") != zlib.crc32(text, zlib.crc32(kind)):
                file.seek(start)
                parts.append(file.read(begin - start))
                start = behind
                damaged[text[:79].partition(b"\0")[0].decode("latin-1")] = None
    file.seek(start)
    if not damaged:
        return file
    warnings.warn(
        f"text in {name} is damaged (its checksum is wrong) and was ignored: {', '.join(map(repr, [*damaged][:3]))}. "
        "Save the picture again to remove it",
        stacklevel=2,
    )
    return io.BytesIO(b"".join([*parts, file.read()]))


def _chunks_of(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and length of the chunks before a PNG's pixels; none of another file."""
    file.seek(0)
    place = 8 if file.read(8) == _SIGNATURE else None
    while place is not None:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IDAT":
            return
        length = int.from_bytes(head[:4], "big")
        yield head[4:], place, length
        place += length + 12


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
        The picture, decoded, in its own colour space; ``info`` says which, see `PixelPicture`.

    Raises:
        ImageError: no such file, a folder, empty, no picture, damaged, too small, or too large; the size is looked at
            before anything is decoded.
    """
    return _read_file(path, content).image


def decode(image: Image.Image, name: str) -> Image.Image:
    """The first frame of an opened image, upright and in eight bits; its size is looked at before it is decoded.

    Args:
        image: as Pillow opened it; it is not changed, but for the frame it stands at.
        name: what an error calls it.

    Raises:
        ImageError: too small, too large, or damaged.
    """
    return _decoded(image, name).image


def read_pixels(source: str | Path | Image.Image | PixelPicture, name: str = "the picture") -> PixelPicture:
    """A file or a Pillow image, or what was read before; 16 bits stay where PNG or TIFF has them.

    Args:
        source: its first frame counts.
        name: what an error calls a Pillow image.

    Raises:
        ImageError: no such file, no picture, damaged, too small, or too large.
    """
    if isinstance(source, PixelPicture):
        return source
    found = _decoded(source, name) if isinstance(source, Image.Image) else _read_file(source)
    if max(found.size) > MAX_SIDE_PX:
        named = name if isinstance(source, Image.Image) else source
        size = f"{found.size[0]}x{found.size[1]}"
        raise ImageError(f"{named} is {size} pixels; sides are {MAX_SIDE_PX} at most. Scale it down first")
    return found


def _read_file(path: str | Path, content: bytes | None = None) -> PixelPicture:
    if content is None:
        content = read_bytes(path, limit=MAX_PICTURE_BYTES, error=ImageError)
    with opened(path, content=content) as image:
        return dataclasses.replace(_decoded(image, str(path), content), path=Path(path))


def _decoded(image: Image.Image, name: str, content: bytes = b"") -> PixelPicture:
    """The first frame; 16 bits are read from the content of the file, where there is one."""
    check_size(image.size, name)
    _check_memory(image.size, name)
    try:
        frames = _frames(image)
        if image.tell() > 0:
            image.seek(0)
        _check_scans(image, name)
        exif = _exif(image)
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        with _silent_decoder() if image.format == "TIFF" else contextlib.nullcontext():
            pixels = _deep(image, content, name)
            if pixels is None:
                image.load()
        info = _described(image, content, sideways=orientation in range(5, 9))
        notes = [*info.pop("notes", ()), *_notes_on(image, info, Path(name).name, frames)]
        if pixels is None:
            pixels = _shallow(image, info, content)
        if not isinstance(image, TiffImageFile):  # which is turned by whoever decodes it
            turns, mirrored = _TURNS.get(orientation, (0, False))
            pixels = np.rot90(pixels, turns)[:, :: -1 if mirrored else 1]
        written = _exif_bytes(exif, pixels.shape, is_tiff=isinstance(image, TiffImageFile))
        info |= {key: value for key, value in (("exif", written), ("notes", tuple(notes))) if value}
        if image.mode in ("CMYK", "LAB"):
            info.pop("icc_profile", None)
        elif info.get("icc_profile", b"")[16:20] == b"GRAY" or (image.mode[0] in "1LI" and colour.is_damaged(info)):
            info["icc_profile"] = colour.of_grey(info["icc_profile"])
        return PixelPicture(pixels=np.ascontiguousarray(pixels), info={k: v for k, v in info.items() if v is not None})
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory. Scale it down first") from error
    except Exception as error:  # decoders raise whatever they meet in a damaged file
        raise damaged(name, error) from error


def _frames(image: Image.Image) -> int:
    """How many there are; of a camera's file the first is the picture."""
    try:
        return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001 (as damaged frames are, in many ways; the first may be sound)
        return 1


def _notes_on(image: Image.Image, info: colour.Info, name: str, frames: int) -> Iterator[str]:
    """What of a file is not in its picture."""
    if frames > 1:
        yield f"{name} has {frames} {'pages' if isinstance(image, TiffImageFile) else 'frames'}; the first was taken"
    profile = info.get("icc_profile", b"")
    if image.mode in ("CMYK", "LAB"):
        yield f"{name} has colours for print ({image.mode}); they were converted to sRGB"
    elif colour.of_grey(profile) is None if profile[16:20] == b"GRAY" else colour.is_damaged(info):
        yield f"the colour profile of {name} is damaged; its colours were taken for sRGB"
    if colour.shows_more(info):
        yield f"the colours of {name} are of high dynamic range, or unknown (cICP); they were taken for sRGB"


def _described(image: Image.Image, content: bytes, *, sideways: bool) -> dict[str, Any]:
    """What the file says of colours, size and rights, without EXIF."""
    info = {key: image.info[key] for key in (*_CARRIED, "notes") if key in image.info}
    if not isinstance(info.get("icc_profile"), bytes):  # a TIFF may have a text there
        info.pop("icc_profile", None)
    for kind, begin, length in _chunks_of(io.BytesIO(content)):
        if kind == b"cICP" and length == 4:
            info["cicp"] = content[begin + 8 : begin + 12]
    xmp = image.info.get("xmp") or image.info.get(_XMP)
    if xmp:
        xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
        info["xmp"] = re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", xmp)
    if isinstance(image, PngImageFile):
        texts = {key: str(value) for key, value in image.text.items() if key in _RIGHTS}
        info |= {"texts": texts} if texts else {}
    if isinstance(image, JpegImagePlugin.JpegImageFile) and image.mode in ("RGB", "L"):
        info |= {"qtables": image.quantization, "subsampling": max(0, JpegImagePlugin.get_sampling(image))}
    dpi = tuple(float(one) for one in info.pop("dpi", ()))
    if len(dpi) == 2 and all(0 < one <= _MOST_DPI for one in dpi):
        info["dpi"] = dpi[::-1] if sideways else dpi
    return info


def _exif(image: Image.Image) -> Image.Exif:
    """Its EXIF; an empty one where it is damaged."""
    try:
        return image.getexif()
    except Exception:  # noqa: BLE001 (as damaged files are, in many ways; the picture is sound)
        return Image.Exif()


def _exif_bytes(exif: Image.Exif, shape: tuple[int, ...], *, is_tiff: bool) -> bytes | None:
    """EXIF of the upright picture, as it is written; None where nothing is left, or cannot be written."""
    try:
        made = Image.Exif()
        made.load(exif.tobytes())
        for tag in [*(_LAYOUT if is_tiff else ()), ExifTags.Base.Orientation]:
            made.pop(tag, None)
        inner = made.get_ifd(ExifTags.IFD.Exif) if ExifTags.IFD.Exif in made else {}
        height, width = shape[:2]
        for tags, across, down in (
            (made, ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength),
            (inner, ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight),
        ):
            if across in tags or down in tags:
                tags[across], tags[down] = width, height
        return made.tobytes() if len(made) else None
    except Exception:  # noqa: BLE001 (values of other types than their tags have)
        return None


def _shallow(image: Image.Image, info: colour.Info, content: bytes) -> Pixels:
    """An image of 8 bits, or one that is brought to 8 bits, red, green, blue and alpha."""
    if image.mode in ("CMYK", "LAB"):
        converted = colour.srgb_image(image, info.get("icc_profile", b""))
        return np.asarray(image.convert("RGB") if converted is None else converted)
    if content and isinstance(image, PngImageFile) and isinstance(key := image.info.get("transparency"), int):
        if image.mode == "L":  # Pillow spreads the levels to eight bits, and leaves the one that is clear
            image.info["transparency"] = key * 255 // (2 ** content[_PNG_DEPTH] - 1)
        elif image.mode == "1":
            image = image.convert("L")
    return np.asarray(to_eight_bit(image))


def _deep(image: Image.Image, content: bytes, name: str) -> Pixels | None:
    """The colours of a PNG or TIFF with more than 8 bits as 16; None of any other picture."""
    if isinstance(image, PngImageFile) and content[_PNG_DEPTH : _PNG_DEPTH + 1] == b"\x10":
        pixels = _sixteen_bits(content, name)
        if pixels.ndim == 2 and "transparency" in image.info:  # OpenCV knows it with colours only
            alpha = np.where(pixels == image.info["transparency"], 0, 65535).astype(np.uint16)
            return np.dstack([pixels, pixels, pixels, alpha])
        return _in_colour(pixels)
    if not (content and isinstance(image, TiffImageFile)):
        return None
    tag = image.tag_v2.get
    bits, photometric, extra = max(tag(258, (1,))), tag(262, 1), tuple(tag(338, ()))
    odd = {
        "numbers of this kind": set(tag(339, (1,))) - ({1, 4} if bits <= 16 else {2, 3}),
        "separate planes": bits > 8 and tag(277, 1) > 1 and tag(284, 1) != 1,
        "white as zero": bits > 16 and photometric == 0,
    }
    for what, found in odd.items():
        if found:
            raise ImageError(f"{name} is a TIFF of {bits} bits with {what}, which is not read. Save it again as PNG")
    if photometric == 5 or not 8 < bits <= 16:
        return None
    if bits == 16:
        pixels = _sixteen_bits(content, name)
    else:
        image.load()
        top = 2**bits - 1
        pixels = ((np.asarray(image).astype(np.uint32) * 65535 + top // 2) // top).astype(np.uint16)
    pixels = _in_colour(65535 - pixels if photometric == 0 else pixels)
    if pixels.shape[2] == 3 or extra[:1] == (2,) or not extra:
        return pixels
    return _unmultiplied(pixels) if extra[0] == 1 else np.ascontiguousarray(pixels[..., :3])


def _sixteen_bits(content: bytes, name: str) -> Pixels:
    with _silent_decoder():
        pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ImageError(f"the 16 bits of {name} cannot be read. Save it again as a 16-bit PNG")
    return pixels


def _in_colour(pixels: Pixels) -> Pixels:
    """As OpenCV decodes, to red, green, blue and alpha."""
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _unmultiplied(pixels: Pixels) -> Pixels:
    """Colours of 16 bits that were multiplied by alpha as they were before."""
    alpha = pixels[..., 3:].astype(np.uint32)
    colours = (pixels[..., :3] * np.uint32(65535) + alpha // 2) // np.maximum(alpha, 1)
    return np.dstack([np.minimum(colours, 65535).astype(np.uint16), pixels[..., 3]])


def _narrow(pixels: Pixels) -> Pixels:
    """In eight bits."""
    if pixels.dtype == np.uint8:
        return pixels
    found = np.empty(pixels.shape, dtype=np.uint8)
    for _, top, _, bottom in strips((pixels.shape[1], pixels.shape[0])):
        found[top:bottom] = (pixels[top:bottom].astype(np.uint32) + 128) // 257
    return found


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
    picture: Image.Image | PixelPicture, path: str | Path, *, record: str | None = None, payload: bytes | None = None
) -> None:
    """Write a picture beside its place, then rename it into place: no half-written file is ever seen.

    The same picture, record and payload give the same bytes. A warning tells what the format does not keep.

    Args:
        picture: RGB or RGBA, or grey; what its ``info`` says of colours, size and rights is kept, see `PixelPicture`.
        path: the ending names the format (PNG, WebP and TIFF lossless; JPEG as the original one, or of quality 95).
        record: text that a PNG carries, for `read_chunks`; 1 MB at most. Other formats carry none and are written
            without it.
        payload: bytes that a PNG carries beside the record; 64 MB at most. Other formats are written without it.

    Raises:
        OutputError: the place cannot be written to, the ending stands for no format, the format does not hold the
            picture, the disk is full, or a record or payload is too long.
    """
    if isinstance(picture, Image.Image):
        picture = picture if picture.mode in ("RGB", "RGBA") else picture.convert("RGB")
        picture = PixelPicture(pixels=np.asarray(picture), info=picture.info)
    path, info = Path(path), picture.info
    check_depth(picture, path)
    kind = _format_of(path, transparent=picture.pixels.shape[2] == 4)
    said = {"icc_profile": colour.profile_of(info), **{key: info.get(key) for key in ("exif", "xmp", "dpi", "texts")}}
    said = {key: value for key, value in said.items() if value}
    if kind == "PNG":
        with written_beside(path) as file:
            file.write(_png(picture, pack_chunks(record, payload)))
        return
    lost = {key for key in said if key in _LOSES[kind]}
    if kind == "JPEG" and len(said.get("xmp", b"")) > _MOST_JPEG_XMP_BYTES:
        lost.add("xmp")
    options = {key: value for key, value in said.items() if key not in lost}
    if lost:
        words = ", ".join(words for key, words in _DESCRIBES.items() if key in lost)
        warnings.warn(f"{path.name} is a {kind} and does not keep: {words}. Use .png to keep all of it", stacklevel=2)
    if kind == "JPEG" and "qtables" in info:
        options |= {"qtables": info["qtables"], "subsampling": info["subsampling"]}
    elif kind == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    elif kind == "TIFF":
        exif = Image.Exif()
        exif.load(options.pop("exif", b""))
        if "xmp" in options:
            exif[_TIFF_XMP] = options.pop("xmp")
        # Libtiff, which compresses, takes no directory within EXIF.
        inner = exif.keys() & {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}
        options |= {"exif": exif, "compression": None if inner else "tiff_lzw"}
    with written_beside(path) as file:
        try:
            picture.image.save(file, format=kind, **options)
        except (ValueError, RuntimeError) as error:  # of encoders
            raise OutputError(f"{path} cannot hold the picture as a {kind}: {error}. Use .png") from error


def check_depth(picture: PixelPicture, path: str | Path) -> None:
    """Refuse to write 16 bits as anything but PNG, and more EXIF than a JPEG takes as one.

    Raises:
        OutputError: another ending.
    """
    ending = Path(path).suffix.lower()
    if picture.pixels.dtype == np.uint16 and ending != ".png":
        raise OutputError(f"the picture has 16 bits, which are written as PNG only; got {path}. Use .png")
    if len(picture.info.get("exif", b"")) > _MOST_JPEG_EXIF_BYTES and ending in (".jpg", ".jpeg"):
        raise OutputError(f"the picture's EXIF is too long for JPEG, in which {path} would be. Use .png")


def _png(picture: PixelPicture, ours: PngInfo) -> bytes:
    """Its file, with all that is said of it between header and pixels."""
    info, chunks = picture.info, list[tuple[bytes, bytes]]()
    if "cicp" in info:
        chunks.append((b"cICP", info["cicp"]))
    if "icc_profile" in info:
        chunks.append((b"iCCP", b"icc\0\0" + zlib.compress(info["icc_profile"])))
    if "srgb" in info:
        chunks.append((b"sRGB", bytes([info["srgb"]])))
    if "gamma" in info:
        chunks.append((b"gAMA", struct.pack(">I", round(100_000 * info["gamma"]))))
    if "chromaticity" in info:
        chunks.append((b"cHRM", struct.pack(">8I", *(round(100_000 * one) for one in info["chromaticity"]))))
    if "dpi" in info:
        chunks.append((b"pHYs", struct.pack(">2IB", *(round(one / _INCH) for one in info["dpi"]), 1)))
    if "exif" in info:
        chunks.append((b"eXIf", info["exif"].removeprefix(b"Exif\0\0")))
    said = PngInfo()
    if "xmp" in info:
        said.add_itxt(_XMP, info["xmp"].decode("utf-8", "replace"))
    for key, text in info.get("texts", {}).items():
        said.add_text(key, text)
    chunks += [(kind, content) for kind, content, *_ in (*said.chunks, *ours.chunks)]
    packed = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    order = cv2.COLOR_RGB2BGR if picture.pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    options = [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION]
    encoded = cv2.imencode(".png", cv2.cvtColor(picture.pixels, order), options)[1].tobytes()
    header = 8 + 12 + 13
    return encoded[:header] + packed + encoded[header:]


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
    """Libtiff and libpng write what they find wrong to the process's stderr, quoting the file; that is thrown away."""
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
