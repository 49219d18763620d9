"""A sweep of strengths as one sheet, or as an animation that goes there and back again."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from latentedit.api.sheets.animation import ANIMATED, save_animation
from latentedit.api.sheets.drawing import GAP_PX, PANEL_PX, ROW_PX, check_one_size, draw_grid
from latentedit.api.viewer.page import is_page
from latentedit.core.errors import OutputError
from latentedit_keep.files import check_place
from latentedit_keep.pictures import WRITABLE, save_image

_SHEETS = tuple(ending for ending in WRITABLE if ending not in ANIMATED)

_MOST_COLUMNS = 9  # so that a column is at least 121 px wide
_LOOP_SECONDS = 4.0  # that an animation takes there and back, where its frames may stand so long
_FRAME_SECONDS = (0.06, 0.5)  # shortest and longest time that a frame stands


def draw_strip(
    images: Sequence[Image.Image], labels: Sequence[str], *, title: str, lines: Sequence[str] = ()
) -> Image.Image:
    """Pictures in reading order with a label under each, below a title, in as few rows of equal length as it takes.

    Args:
        images: one or more pictures of one size.
        labels: one for each; what follows a line break stands below in grey.
        title: one line.
        lines: smaller text under the title.

    Returns:
        See `draw_grid`; at most 1,256 px wide.

    Raises:
        ShapeError: no pictures, pictures of different sizes, or another number of labels.
    """
    check_one_size(images)
    columns = math.ceil(len(images) / math.ceil(len(images) / _MOST_COLUMNS))
    panel_px = min(PANEL_PX, (ROW_PX + GAP_PX) // columns - GAP_PX)
    return draw_grid(images, labels, columns=columns, title=title, lines=lines, panel_px=panel_px)


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
    check_one_size(images)
    depth = max(label.count("\n") for label in labels)  # so that all frames are of one size
    labels = [label + "\n" * (depth - label.count("\n")) for label in labels]
    frames = [draw_grid([image], [label], columns=1) for image, label in zip(images, labels, strict=True)]
    shortest, longest = _FRAME_SECONDS
    seconds = _LOOP_SECONDS / max(1, 2 * len(frames) - 2)
    save_animation(frames, path, seconds=min(max(seconds, shortest), longest))


def check_sweep_output(path: str | Path, *, source: str | Path | None = None) -> None:
    """Find out whether a sweep could be written to a place, before any work is spent on it.

    Args:
        source: the picture that is edited, which must not be overwritten.

    Raises:
        OutputError: an ending that stands for no sheet, animation or page, a folder that is missing or cannot be
            written to, a name that is a folder, or the source itself.
    """
    if not is_page(path):
        _check_ending(Path(path))
    check_place(path, source=source)


def _check_ending(path: Path) -> None:
    if path.suffix.lower() not in (*_SHEETS, *ANIMATED):
        raise OutputError(
            f"A sweep cannot be written as {path.name!r}: a sheet ends in {', '.join(_SHEETS)}, an animation in "
            f"{', '.join(ANIMATED)}, a page in .html. Use .png, .gif or .html"
        )
