"""The same few edits by every method, one row a method, under the pictures and their right answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from latentedit.api.manifests.items import Item
from latentedit.api.sheets.drawing import INK, LABEL_PX, PAPER, draw_head, draw_rows, fitted, shortened
from latentedit.latents.pictures import save_image

_PANEL = 72
_GAP = 6
_NAME = 190


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
    width = _NAME + len(items) * (_PANEL + _GAP)
    head = draw_head(title, ["   ".join(lines)], width)
    sheet = draw_rows(head, [_row(name, images, width) for name, images in pictures.items()], gap_px=_GAP)
    save_image(sheet.quantize(256, dither=Image.Dither.NONE).convert("RGB"), path)  # a third of the file


def _row(name: str, images: Sequence[Image.Image | None], width: int) -> Image.Image:
    row = Image.new("RGB", (width, _PANEL), PAPER)
    text, font = shortened(name, _NAME - _GAP, LABEL_PX), ImageFont.load_default(LABEL_PX)
    ImageDraw.Draw(row).text((0, _PANEL // 2), text, fill=INK, font=font, anchor="lm")
    for place, image in enumerate(images):
        if image is not None:
            row.paste(fitted(image, (_PANEL, _PANEL)), (_NAME + place * (_PANEL + _GAP), 0))
    return row
