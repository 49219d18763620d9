"""One picture that shows an edit: source, edited, and their difference, with a title and what was done."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from latentedit.api.sheets.drawing import check_one_size, draw_grid, on_white

_FACTORS = (32, 16, 8, 4)  # that a difference may be multiplied by
_SATURATED_SHARE = 0.01  # of the pixels, that the multiplied difference may drive to full brightness


def draw_sheet(source: Image.Image, edited: Image.Image, *, title: str, lines: Sequence[str] = ()) -> Image.Image:
    """Source | edited | difference, side by side, under a title.

    The difference is the absolute change of each channel times a whole number, written under it: 4, so that what
    should not have changed is seen too, or 8, 16 or 32 where that leaves at most 1 % of the pixels saturated.

    Args:
        source: the picture before.
        edited: the picture after, of the same size.
        title: one line.
        lines: smaller text under the title.

    Returns:
        See `draw_grid`; about 1,250 px wide for square pictures.

    Raises:
        ShapeError: pictures of different sizes.
    """
    check_one_size([source, edited])
    before, after = on_white(source), on_white(edited)
    difference, factor = amplified_difference(before, after)
    labels = ("source", "edited", f"difference x {factor}" if factor > 1 else "difference (none)")
    return draw_grid([before, after, difference], labels, columns=3, title=title, lines=lines)


def amplified_difference(before: Image.Image, after: Image.Image) -> tuple[Image.Image, int]:
    """The absolute difference of two RGB pictures, amplified to be seen, and the factor (1 where nothing differs)."""
    change = np.abs(np.asarray(after, dtype=np.int16) - np.asarray(before, dtype=np.int16))
    strongest = change.max(axis=2)
    if not strongest.any():
        return Image.fromarray(change.astype(np.uint8)), 1
    fitting = (factor for factor in _FACTORS if (strongest * factor > 255).mean() <= _SATURATED_SHARE)
    factor = next(fitting, _FACTORS[-1])
    return Image.fromarray((change * factor).clip(0, 255).astype(np.uint8)), factor
