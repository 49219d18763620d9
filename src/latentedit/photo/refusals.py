"""Files that look like images but are not read as such: raw photographs, previews, floats in color, 12-bit JPEG."""

import contextlib
import importlib.util
import io
import re
import warnings
from collections.abc import Iterator
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from latentedit.core.errors import ImageError
from latentedit.photo.containers import TIFF, Marker, segments

RAW = rb"II(?:RO|RS|U\0)|MMOR|FUJIFILM|....ftypcrx|FOVb|\0MRM"  # ORF, RW2, RAF, CR3, X3F, MRW
JPEG_XL = rb"\xff\x0a|\0\0\0\x0cJXL "
_RAW = re.compile(RAW, re.DOTALL)
_JPEG_XL = re.compile(JPEG_XL)
_MOST_DIRECTORIES = 64  # most directories that are looked at
_SENSOR = (32803, 34892)  # photometric interpretations: color filter array, linear raw
_SCALED = "Scale both images in the same way and save them as 16-bit PNG"
HAS_JPEG_XL = importlib.util.find_spec("pillow_jxl") is not None  # its plug-in for Pillow


def refuse(content: bytes, name: str) -> None:
    """Raise an `ImageError` for raw photographs and for TIFFs whose first image is not the one that is meant."""
    is_raw = _RAW.match(content) is not None
    if TIFF.match(content) and not is_raw:
        found = list(_directories(content))
        first: dict[int, Any] = found[0] if found else {}
        if 50706 in first or content[8:10] == b"CR" or any(one.get(262) in _SENSOR for one in found):
            is_raw = True
        elif first.get(254) == 1 and max(map(_area, found)) > _area(first):
            raise ImageError(f"{name} begins with a preview of a larger image. Save the large one alone as TIFF or PNG")
        elif 3 in _all(first.get(339)) and (first.get(277, 1) > 1 or 16 in _all(first.get(258))):
            kind = f"{_all(first.get(258))[0]}-bit floats"
            raise ImageError(f"{name} is a TIFF of {kind}, which are not read as an image. {_SCALED}")
    if is_raw:
        raise ImageError(f"{name} is a raw photograph. Develop it first, and save it as 16-bit PNG or as JPEG")


def reason(content: bytes) -> str:
    """Why Pillow does not know an image; empty if it is none that is known here."""
    if _JPEG_XL.match(content):
        return "is a JPEG XL, which needs a plug-in. Install it: pip install pillow-jxl-plugin"
    for one in segments(content):
        marker = one.kind[0]
        if marker == Marker.SOS:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and one.of(content)[:1] != b"\x08":
            bits = one.of(content)[:1].hex()
            return f"is a JPEG of {int(bits or '0', 16)} bits, which is not read. Save it as 16-bit PNG or 8-bit JPEG"
    return ""


def _directories(content: bytes) -> Iterator[dict[int, Any]]:
    """The first directories of a TIFF: pages and, behind each, its children."""
    file, is_big = io.BytesIO(content), content[2:4] == b"+\0"
    head = content[: 16 if is_big else 8]
    with warnings.catch_warnings(action="ignore"), contextlib.suppress(Exception):
        left, seen = [ImageFileDirectory_v2(head).next], set[int]()
        while left and len(seen) < _MOST_DIRECTORIES:
            if (at := left.pop()) in seen or not 0 < at < len(content):
                continue
            seen.add(at)
            file.seek(at)
            directory = ImageFileDirectory_v2(head)
            directory.load(file)
            found = {tag: directory[tag] for tag in (254, 256, 257, 258, 262, 277, 330, 339, 50706) if tag in directory}
            yield found
            children = [one for one in _all(found.get(330)) if isinstance(one, int)]
            left += [directory.next, *children[:_MOST_DIRECTORIES]]


def _all(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _area(directory: dict[int, Any]) -> int:
    sides = directory.get(256), directory.get(257)
    return sides[0] * sides[1] if isinstance(sides[0], int) and isinstance(sides[1], int) else 0


def checked_range(values: Any, name: str, top: float, remedy: str = _SCALED) -> None:
    """Raise an `ImageError` for numbers outside of a range, which no scale is known for."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= top):
        span = f"[0, {top:g}]"
        raise ImageError(f"{name} has values from {low:g} to {high:g}, outside of {span}. {remedy}")
