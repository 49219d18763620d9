"""Undo: the image before an edit, bit for bit and without a model, from the PNG that latentedit wrote.

Its payload has the difference of the two images modulo 256 as a PNG, the XMP of the image before, and the fingerprints
of both. The file format is safetensors with arrays of bytes, which is written and read here without that library: 8
bytes with the header's length, JSON with names and offsets, and the parts.
"""

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from latentedit.core.errors import FileFormatError, ImageError, explaining
from latentedit.core.files import read_object
from latentedit.photo.carried import Carried
from latentedit.photo.images import fingerprint_of, read_image
from latentedit.photo.saving import read_chunks

_ABOUT = "__metadata__"  # where safetensors has texts
_PREFIX_BYTES = 8
_MOST_HEADER_BYTES = 10_000  # it has two parts and two texts
_SHOWN_LETTERS = 80


@explaining
def undo(path: str | Path) -> Image.Image:
    """The image before an edit, bit for bit, from the PNG that `EditResult.save` wrote.

    The pixels come back as the source was read: at its size, upright, in 8-bit RGB or RGBA, with its color profile,
    resolution and copyright. Palettes and deeper colors are not read, and so do not come back.

    Raises:
        ImageError: not an image.
        FileFormatError: a file without the difference, or a damaged one, or pixels that were changed since.
    """
    text, payload = read_chunks(path)
    if payload is None:
        if text is not None:
            read_record(text, str(path))  # the error for a kept image says which file is the original
        raise FileFormatError(
            f"{path} does not contain the original; only a PNG as latentedit wrote it does. Use the original file"
        )
    return undo_stored(read_image(path), payload, str(path))


def undo_difference(source: Image.Image, edited: Image.Image) -> bytes:
    """The payload from which `undo_stored` restores the source; both images are RGB or RGBA, of one size."""
    missing, packed = ImageChops.subtract_modulo(source, edited), io.BytesIO()
    missing.info.clear()  # no second copy of the color profile
    missing.save(packed, format="PNG")
    parts = {"difference": packed.getvalue(), "xmp": Carried.of(source.info).xmp}
    header, end = dict[str, Any]({_ABOUT: {"image": fingerprint_of(edited), "source": fingerprint_of(source)}}), 0
    for name, part in parts.items():
        if part:
            header[name] = {"dtype": "U8", "shape": [len(part)], "data_offsets": [end, end := end + len(part)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _PREFIX_BYTES)
    return len(text).to_bytes(_PREFIX_BYTES, "little") + text + b"".join(parts.values())


def undo_stored(edited: Image.Image, payload: bytes, name: str = "the image") -> Image.Image:
    """The image before, from an edited image and the payload of its PNG; errors as `undo`."""
    damaged = FileFormatError(f"the difference to the original in {name} is damaged. Use the original file")
    start = _PREFIX_BYTES + int.from_bytes(payload[:_PREFIX_BYTES], "little")
    try:
        header = read_object(payload[_PREFIX_BYTES : min(start, _MOST_HEADER_BYTES)])
        of_image = header[_ABOUT]["image"]
        of_source = header[_ABOUT]["source"]
        spans = {key: header[key]["data_offsets"] for key in ("difference", "xmp") if key in header}
        parts = {key: payload[start + first : start + end] for key, (first, end) in spans.items()}
    except (ValueError, LookupError, TypeError) as error:
        raise damaged from error
    if of_image != fingerprint_of(edited):
        raise FileFormatError(
            f"the pixels of {name} were changed after latentedit wrote it. Use the unchanged file, or the original"
        )
    try:
        missing = read_image(f"the difference in {name}", content=parts["difference"])
        image = ImageChops.add_modulo(edited, missing)
    except (ImageError, KeyError, ValueError) as error:  # ValueError: Pillow's, of other modes
        raise damaged from error
    # The description of the edited file stays behind.
    about = dataclasses.replace(Carried.of(edited.info), notes=(), declares=None, parts={}, xmp=parts.get("xmp", b""))
    image.info = about.info
    if fingerprint_of(image) != of_source:
        raise damaged
    return image


def read_record(text: str, name: str) -> Mapping[str, Any]:
    """The record of an edit, which is not checked further; a `FileFormatError` for that of a kept image."""
    try:
        record = read_object(text)
    except ValueError as error:
        raise FileFormatError(f"the record in {name} is damaged: {error}. Edit the image again") from error
    if record.get("output") == "kept":
        original: Any = record.get("original")
        before = repr(original.get("name"))[:_SHOWN_LETTERS] if isinstance(original, dict) else "its original"
        raise FileFormatError(
            f"{name} is a result of latentedit keep, and has no record of an edit by a model. The image before is "
            f"{before}, which keep did not change"
        )
    return record
