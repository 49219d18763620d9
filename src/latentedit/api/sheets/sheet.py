"""One picture that shows an edit: source, edited, and their difference, with a title and what was done."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from latentedit.api.sheets.drawing import (
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
)
from latentedit.core.errors import ShapeError

_GAP_PX = 20

_FACTORS = (32, 16, 8, 4)
_LOUD_SHARE = 0.01
"""Share of the pixels that the amplified difference may drive to full brightness."""


def draw_sheet(source: Image.Image, edited: Image.Image, *, title: str, lines: Sequence[str] = ()) -> Image.Image:
    """Source | edited | difference, side by side, under a title.

    The difference is the absolute change of each channel times a whole number, written under it: 4, so that what
    should not have changed is seen too, or 8, 16 or 32 where that leaves at most 1 % of the pixels saturated.
    Transparent parts are shown on white.

    Args:
        source: the picture before.
        edited: the picture after, of the same size.
        title: one line; cut with an ellipsis where it is too long.
        lines: smaller text under the title; wrapped.

    Returns:
        An RGB picture, about 1,250 px wide for square pictures; the same for the same arguments on every machine that
        has the same Pillow.

    Raises:
        ShapeError: pictures of different sizes.
    """
    if source.size != edited.size:
        raise ShapeError(f"expected two pictures of one size; got {source.size} and {edited.size}")
    before, after = on_white(source), on_white(edited)
    difference, factor = amplified_difference(before, after)
    panels = [fitted(image, (PANEL_PX, PANEL_PX)) for image in (before, after, difference)]
    texts = ("source", "edited", f"difference x {factor}" if factor > 1 else "difference (none)")
    labels = [[Line(text=text, size_px=LABEL_PX)] for text in texts]
    width, height = panels[0].size
    slot = max(width, 200)  # room for the labels under tall, narrow pictures
    total = 2 * MARGIN_PX + 3 * slot + 2 * _GAP_PX
    head = draw_head(title, lines, total - 2 * MARGIN_PX)
    top = MARGIN_PX + head.height
    sheet = Image.new("RGB", (total, top + height + label_height(labels[0]) + MARGIN_PX), PAPER)
    sheet.paste(head, (MARGIN_PX, MARGIN_PX))
    for index, (panel, label) in enumerate(zip(panels, labels, strict=True)):
        x = MARGIN_PX + index * (slot + _GAP_PX) + (slot - width) // 2
        put_panel(sheet, panel, (x, top), label)
    return sheet


def amplified_difference(before: Image.Image, after: Image.Image) -> tuple[Image.Image, int]:
    """The absolute difference of two RGB pictures, amplified to be seen, and the factor (1 where nothing differs)."""
    change = np.abs(np.asarray(after, dtype=np.int16) - np.asarray(before, dtype=np.int16))
    strongest = change.max(axis=2)
    if not strongest.any():
        return Image.fromarray(change.astype(np.uint8)), 1
    fitting = (factor for factor in _FACTORS if (strongest * factor > 255).mean() <= _LOUD_SHARE)
    factor = next(fitting, _FACTORS[-1])
    return Image.fromarray((change * factor).clip(0, 255).astype(np.uint8)), factor
