"""TIFFs of 8 or 16 bits a channel with their metadata; Pillow writes no colors of 16 bits."""

import io
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import IFD
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from latentedit.photo.carried import Carried
from latentedit.photo.exif import with_types
from latentedit.photo.photoshop import iptc_of

_STRIP_ROWS = 256
_LEVEL = 1  # level of zlib, on differences; higher ones take several times as long for a few percent
_BYTES = 7  # the type "undefined"
_SHORT = 3
_LONG = 4
_DEFLATE = 8  # compression
_DIFFERENCES = 2  # predictor: horizontal
_GRAY = 1  # photometric interpretations
_COLOR = 2
_STRAIGHT = 2  # alpha that colors are not multiplied by
_INCH = 2  # units of the resolution
_NO_UNIT = 1


def tags_of(held: Carried) -> dict[int, bytes]:
    """XMP, Photoshop's resources and IPTC by the numbers of their tags."""
    tags = {700: held.xmp, 34377: held.resources, 33723: iptc_of(held.resources)}
    return {tag: value for tag, value in tags.items() if value}


def resolution_of(held: Carried) -> dict[int, Any]:
    """Resolution and its unit, or the shape of pixels, by the numbers of their tags."""
    values, unit = (held.dpi, _INCH) if held.aspect is None else (held.aspect, _NO_UNIT)
    return {} if values is None else {282: values[0], 283: values[1], 296: unit}


def encoded_tiff(pixels: NDArray[Any], held: Carried, more: Mapping[int, bytes] | None = None) -> bytes:
    """The content of a little-endian TIFF.

    Args:
        pixels: ``[height, width, channels]`` with straight alpha as the fourth, or gray ``[height, width]``.
        held: What it holds, by `Carried.into`.
        more: Further tags of bytes.
    """
    planes = pixels.reshape(*pixels.shape[:2], -1)
    height, width, channels = planes.shape
    strips = [_packed(planes[at : at + _STRIP_ROWS]) for at in range(0, height, _STRIP_ROWS)]
    places = np.cumsum([0, *map(len, strips[:-1])]).tolist()
    exif, directory = Image.Exif(), ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    exif.load(held.exif)
    for tag in exif:
        directory[tag] = exif.get_ifd(tag) if tag in (IFD.Exif, IFD.GPSInfo) else exif[tag]
    for tag, value in {34675: held.colors.icc_profile, **tags_of(held), **(more or {})}.items():
        if value:
            directory[tag] = value
            directory.tagtype[tag] = _BYTES
    storage: dict[int, tuple[int, Any]] = {
        256: (_LONG, width), 257: (_LONG, height), 258: (_SHORT, (8 * pixels.itemsize,) * channels),
        259: (_SHORT, _DEFLATE), 262: (_SHORT, _GRAY if channels == 1 else _COLOR), 273: (_LONG, tuple(places)),
        277: (_SHORT, channels), 278: (_LONG, _STRIP_ROWS), 279: (_LONG, tuple(map(len, strips))), 284: (_SHORT, 1),
        317: (_SHORT, _DIFFERENCES),
    }  # fmt: skip
    if channels == 4:
        storage[338] = _SHORT, _STRAIGHT
    for tag, (kind, value) in storage.items():
        directory[tag] = value
        directory.tagtype[tag] = kind
    for tag, value in resolution_of(held).items():
        directory[tag] = value
    file = io.BytesIO()
    directory.save(file)
    return with_types(file.getvalue()) + b"".join(strips)


def _packed(rows: NDArray[Any]) -> bytes:
    """Compressed differences of neighbors, modulo the range of the numbers."""
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    return zlib.compress(differences.astype(rows.dtype.newbyteorder("<")).tobytes(), _LEVEL)
