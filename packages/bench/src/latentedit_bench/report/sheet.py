"""The same few edits by every method, one row a method, under the pictures and their right answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from latentedit.api.manifests.items import Item
from latentedit.api.sheets import draw_grid
from latentedit_keep.pictures import save_image

_PANEL_PX = 72  # width of a picture


def draw_edits(
    items: Sequence[Item], pictures: Mapping[str, Sequence[Image.Image | None]], path: Path, *, title: str
) -> None:
    """Write the sheet as a PNG.

    Args:
        items: the columns.
        pictures: label to a picture of each item, None where there is none; the rows, in this order.
        path: of the file.
        title: its first line.

    Raises:
        OutputError: the place cannot be written to.
    """
    lines = [f"{number}. {item.kind}: {item.about.get('change', '')}" for number, item in enumerate(items, 1)]
    sheet = draw_grid(
        [image for row in pictures.values() for image in row],
        columns=len(items),
        title=title,
        lines=["   ".join(lines)],
        beside=list(pictures),
        panel_px=_PANEL_PX,
    )
    save_image(sheet.quantize(256, dither=Image.Dither.NONE).convert("RGB"), path)  # a third of the file
