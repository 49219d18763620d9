"""The restore brush: strokes, as the page sends them, and the mask that they and an uploaded mask make."""

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentedit.core.errors import ConfigError
from latentedit.keeping.api import KeepResult
from latentedit.page.downloads import own_name
from latentedit.photo.images import PixelImage
from latentedit.photo.warp import cv2
from latentedit.pixels.masks import mask_plane

MAX_NUMBERS = 40_000  # in all strokes; minutes of painting
_MAX_LETTERS = 10 * MAX_NUMBERS
_WIDEST = 0.1  # largest radius, as a share of the longer side
_BITS = 4  # fraction of a pixel that OpenCV takes, as a power of two


def limits(result: KeepResult, mask: PixelImage | None, strokes: str) -> PixelImage | None:
    """Where a change may be kept: where the mask is white, and nothing was painted."""
    if not (lines := _read(strokes)):
        return mask
    original = result.original
    plane = np.full(original.size[::-1], 255, dtype=np.uint8)
    if mask is not None:
        plane = cv2.convertScaleAbs(mask_plane(mask, original.size)[0], alpha=255.0)
    for radius, *points in lines:
        _paint(plane, min(radius, _WIDEST * max(original.size)), np.array(points).reshape(-1, 2))
    name = Path(f"{own_name(original.name)}.mask.png")
    return PixelImage(pixels=np.dstack([plane] * 3), path=name)


def _paint(plane: NDArray[np.uint8], radius: float, points: NDArray[np.float64]) -> None:
    """Draw a line with round ends and joints in black; 0, 0 is the corner of the image, not the center of a pixel."""
    size = np.array(plane.shape[::-1])
    places = np.rint((points.clip(-size, 2 * size) - 0.5) * 2**_BITS).astype(np.int32)
    for start, end in zip(places, [*places[1:], places[-1]], strict=True):
        thickness = max(1, round(2 * radius))
        cv2.line(plane, tuple(start.tolist()), tuple(end.tolist()), 0, thickness, cv2.LINE_8, _BITS)


def _read(text: str) -> list[list[float]]:
    """Strokes from JSON: radius, x, y, x, y, ... of each, in the original's pixels."""
    if not text:
        return []
    many = "there are too many strokes. Undo some, or upload a mask"
    if len(text) > _MAX_LETTERS:
        raise ConfigError(many)
    try:
        strokes = [[float(number) for number in line] for line in json.loads(text)]
        if not all(len(line) % 2 and len(line) > 2 and all(map(math.isfinite, line)) for line in strokes):
            raise ValueError("no points")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ConfigError("the strokes cannot be read. Reload the page") from error
    if sum(map(len, strokes)) > MAX_NUMBERS:
        raise ConfigError(many)
    return strokes
