"""A sweep of strengths as one sheet, or as an animation that goes there and back again."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from latentedit.api.sheets.animation import ANIMATED, check_one_size, save_animation
from latentedit.api.sheets.drawing import (
    GREY,
    INK,
    LABEL_PX,
    MARGIN_PX,
    PANEL_PX,
    PAPER,
    Line,
    draw_head,
    fitted,
    label_height,
    on_white,
    put_panel,
    shortened,
    text_width,
)
from latentedit.core.errors import OutputError, ShapeError
from latentedit.core.files.pictures import WRITABLE, save_image
from latentedit.core.files.writing import check_place

_SHEETS = tuple(ending for ending in WRITABLE if ending not in ANIMATED)

_ROW_PX = 1192
"""Width of a full row of panels; with the margins a sheet is then 1,256 px wide, as wide as that of one edit."""

_GAP_PX = 12
_LEAST_SLOT_PX = 120
_LEAST_HEAD_PX = 576
_LEAST_LABEL_PX = 11
_LEAST_FRAME_PX = 240

_LOOP_SECONDS = 4.0
_FRAME_SECONDS = (0.06, 0.5)
"""Shortest and longest time that a frame of a sweep stands."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """Rows and columns of a sheet, and the room for a panel in each."""

    rows: int
    columns: int
    slot: int

    @property
    def width(self) -> int:
        return self.columns * (self.slot + _GAP_PX) - _GAP_PX


def draw_strip(
    images: Sequence[Image.Image], labels: Sequence[str], *, title: str, lines: Sequence[str] = ()
) -> Image.Image:
    """Pictures in reading order with a label under each, below a title.

    They stand in as few rows as columns of at least 120 px allow (nine pictures in one), of equal length but for the
    last. Transparent parts are shown on white.

    Args:
        images: one or more pictures of one size.
        labels: one for each; what follows a line break stands below in grey. Text that is too wide for its column
            gets smaller, down to 11 px, and is cut with an ellipsis then.
        title: one line; cut with an ellipsis where it is too long.
        lines: smaller text under the title; wrapped.

    Returns:
        An RGB picture, at most 1,256 px wide, and that wide from four square pictures on; the same for the same
        arguments on every machine that has the same Pillow.

    Raises:
        ShapeError: no pictures, pictures of different sizes, or another number of labels.
    """
    check_one_size(images)
    grid = _grid(len(images), images[0].size)
    panels = [fitted(on_white(image), (grid.slot, PANEL_PX)) for image in images]
    texts = _label_lines(labels, len(images), grid.slot)
    text_px, height = label_height(texts[0]), panels[0].height
    width = max(grid.width, _LEAST_HEAD_PX)
    head = draw_head(title, lines, width)
    row_px = height + text_px + _GAP_PX
    size = (width + 2 * MARGIN_PX, head.height + grid.rows * row_px - _GAP_PX + 2 * MARGIN_PX)
    sheet = Image.new("RGB", size, PAPER)
    sheet.paste(head, (MARGIN_PX, MARGIN_PX))
    for index, (panel, label) in enumerate(zip(panels, texts, strict=True)):
        row, column = divmod(index, grid.columns)
        x = MARGIN_PX + column * (grid.slot + _GAP_PX) + (grid.slot - panel.width) // 2
        put_panel(sheet, panel, (x, MARGIN_PX + head.height + row * row_px), label)
    return sheet


def draw_frames(images: Sequence[Image.Image], labels: Sequence[str]) -> list[Image.Image]:
    """Each picture at the size of a sheet's panel with its label below: the frames of an animated sweep.

    Args:
        images: one or more pictures of one size.
        labels: one for each, as `draw_strip` takes them.

    Returns:
        RGB pictures of one size, as many as were given.

    Raises:
        ShapeError: no pictures, pictures of different sizes, or another number of labels.
    """
    check_one_size(images)
    panels = [fitted(on_white(image), (PANEL_PX, PANEL_PX)) for image in images]
    width, height = max(panels[0].width, _LEAST_FRAME_PX), panels[0].height
    texts = _label_lines(labels, len(images), width - 2 * _GAP_PX)
    frames: list[Image.Image] = []
    for panel, label in zip(panels, texts, strict=True):
        frame = Image.new("RGB", (width, height + label_height(label) + _GAP_PX // 2), PAPER)
        put_panel(frame, panel, ((width - panel.width) // 2, 0), label)
        frames.append(frame)
    return frames


def save_sweep(
    images: Sequence[Image.Image],
    labels: Sequence[str],
    path: str | Path,
    *,
    title: str,
    lines: Sequence[str] = (),
    record: str | None = None,
) -> None:
    """Write a sweep as what the ending of ``path`` stands for: an animation (.gif, .webp) or a sheet (.png and others).

    An animation shows pictures and labels and lasts about four seconds; title and lines are for sheets.

    Args:
        images: one or more pictures of one size, by strength.
        labels: one for each.
        path: where the sweep goes; an existing file is replaced.
        title: of a sheet.
        lines: of a sheet.
        record: that a PNG carries; see `save_image`.

    Raises:
        ShapeError: no pictures, pictures of different sizes, or another number of labels.
        OutputError: an ending that stands for neither, or a place that cannot be written to.
    """
    path = Path(path)
    _check_ending(path)
    if path.suffix.lower() not in ANIMATED:
        save_image(draw_strip(images, labels, title=title, lines=lines), path, record=record)
        return
    frames = draw_frames(images, labels)
    shortest, longest = _FRAME_SECONDS
    seconds = _LOOP_SECONDS / max(1, 2 * len(frames) - 2)
    save_animation(frames, path, seconds=min(max(seconds, shortest), longest))


def check_sweep_output(path: str | Path, *, source: str | Path | None = None) -> None:
    """Find out whether `save_sweep` could write to a place, before any work is spent on it.

    Args:
        path: where the sweep is to go.
        source: the picture that is edited, which must not be overwritten.

    Raises:
        OutputError: an ending that stands for neither sheet nor animation, a folder that is missing or cannot be
            written to, a name that is a folder, or the source itself.
    """
    path = Path(path)
    _check_ending(path)
    check_place(path, source=source)


def _check_ending(path: Path) -> None:
    if path.suffix.lower() not in (*_SHEETS, *ANIMATED):
        raise OutputError(
            f"expected the output to end in {', '.join(_SHEETS)} for a sheet or in {', '.join(ANIMATED)} for an "
            f"animation; got {path.name!r}. Use .png or .gif"
        )


def _grid(count: int, size: tuple[int, int]) -> _Grid:
    """As few rows as the narrowest columns allow, filled evenly by columns as wide as there is room."""
    rows = math.ceil(count / ((_ROW_PX + _GAP_PX) // (_LEAST_SLOT_PX + _GAP_PX)))
    columns = math.ceil(count / rows)
    widest = max(_LEAST_SLOT_PX, round(PANEL_PX * min(1.0, size[0] / size[1])))
    return _Grid(rows=rows, columns=columns, slot=min(widest, (_ROW_PX + _GAP_PX) // columns - _GAP_PX))


def _label_lines(labels: Sequence[str], count: int, width: int) -> list[list[Line]]:
    """Labels that fit into ``width``, all of one height: their first lines in ink, the others in grey."""
    if len(labels) != count:
        raise ShapeError(f"expected a label for each of {count} pictures; got {len(labels)}")
    split = [label.split("\n") for label in labels]
    rows = zip(*(texts + [""] * (max(map(len, split)) - len(texts)) for texts in split), strict=True)
    lines = [_label_row(row, width, GREY if index else INK) for index, row in enumerate(rows)]
    return [list(label) for label in zip(*lines, strict=True)]


def _label_row(texts: Sequence[str], width: int, color: tuple[int, int, int]) -> list[Line]:
    """Texts that stand side by side, in the largest size in which all of them fit."""
    sizes = range(LABEL_PX, _LEAST_LABEL_PX, -1)
    size = next((size for size in sizes if all(text_width(text, size) <= width for text in texts)), _LEAST_LABEL_PX)
    return [Line(text=shortened(text, width, size), size_px=size, color=color) for text in texts]
