"""Cases to look at: original, editor's picture, true mask, mask that was found, result, and its error eight times."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit_bench.known_pairs.cases import Case
from latentedit_bench.known_pairs.measured import Row
from latentedit_bench.known_pairs.photographs import Pixels
from latentedit_keep.api import keep

COLUMNS = ("original", "editor's picture", "true mask", "mask found", "kept", "error x 8")

_CELL_PX = 220
_GAP_PX = 4


def worst(rows: Sequence[Row], count: int) -> list[int]:
    """The cases with a change whose masks are worst."""
    local = [row for row in rows if row["kind"] == "local"]
    ranked = sorted(local, key=lambda row: float(row["keep_iou"] or 0))
    return [int(row["case"] or 0) for row in ranked[:count]]


def draw_cases(cases: Sequence[Case]) -> Image.Image:
    """One case a row, in `COLUMNS`."""
    return stacked([_strip(case) for case in cases])


def stacked(strips: Sequence[Image.Image]) -> Image.Image:
    """Strips of one width, one below the other."""
    sheet = Image.new("RGB", (strips[0].width, sum(strip.height + _GAP_PX for strip in strips)), "white")
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height + _GAP_PX
    return sheet


def _strip(case: Case) -> Image.Image:
    found = keep(Image.fromarray(case.original), Image.fromarray(case.edited))
    error = 8 * np.abs(np.asarray(found.image).astype(np.int16) - case.truth).max(axis=2)
    shown = (
        case.original,
        case.edited,
        _grey(255 * case.mask),
        _grey(np.asarray(found.mask)),
        np.asarray(found.image),
        _grey(error),
    )
    height = round(_CELL_PX * case.original.shape[0] / case.original.shape[1])
    strip = Image.new("RGB", (len(COLUMNS) * (_CELL_PX + _GAP_PX) - _GAP_PX, height), "white")
    for place, pixels in enumerate(shown):
        cell = Image.fromarray(pixels).resize((_CELL_PX, height), Image.Resampling.LANCZOS)
        strip.paste(cell, (place * (_CELL_PX + _GAP_PX), 0))
    return strip


def _grey(plane: NDArray[Any]) -> Pixels:
    return np.repeat(plane.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
