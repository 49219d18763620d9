"""A sheet: pictures in a grid with labels, under a title; drawn with Pillow and the font that comes with it."""

import bisect
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from latentedit.core.errors import ShapeError
from latentedit_keep.colour import shown

PAPER = (255, 255, 255)
INK = (28, 30, 34)
GREY = (110, 114, 120)
_RULE = (214, 217, 221)  # the hairline around a picture

PANEL_PX = 384  # longest side of a picture on a sheet: smaller pictures are enlarged to it, larger ones shrunk
ROW_PX = 1192  # width of a full row of pictures; with the margins a sheet is then 1,256 px wide
GAP_PX = 12  # between pictures

_MARGIN_PX = 32
_BESIDE_PX = 288  # width of the text beside a row
_LEAST_CELL_PX = 120  # width that a label has under a narrower picture, where the grid's columns are that wide
_LEAST_HEAD_PX = 576  # width that a title has over a narrower grid

_TITLE_PX, _TEXT_PX = 26, 16  # size of the letters; a line takes 1.5 times as much
_ASCII = str.maketrans({"→": "->", "−": "-", "×": "x", "≥": ">=", "≤": "<="})  # signs that the font lacks


def draw_grid(
    pictures: Sequence[Image.Image | None],
    labels: Sequence[str] = (),
    *,
    columns: int,
    title: str = "",
    lines: Sequence[str] = (),
    beside: Sequence[str] = (),
    panel_px: int = PANEL_PX,
) -> Image.Image:
    """Pictures in reading order, a label centred under each, text to the left of each row, a title above all.

    Transparent parts are shown on white. Text in several lines has its first one in ink and the others in grey.

    Args:
        pictures: at least one; None leaves its place empty.
        labels: none, or one a picture, each line cut with an ellipsis where it is too wide.
        columns: pictures in a row.
        title: cut with an ellipsis where it is too long; empty for no head.
        lines: smaller text under the title, wrapped.
        beside: none, or a text for each row; its first line is cut, the others are wrapped.
        panel_px: width that a picture may have; its height may be `PANEL_PX`.

    Returns:
        An RGB picture, the same for the same arguments on every machine that has the same Pillow.

    Raises:
        ShapeError: another number of labels than of pictures.
    """
    if labels and len(labels) != len(pictures):
        raise ShapeError(f"Each of the {len(pictures)} pictures needs a label; there are {len(labels)}.")
    panels = [image and fitted(on_white(image), (panel_px, PANEL_PX)) for image in pictures]
    sizes = [panel.size for panel in panels if panel is not None]
    cell = max([min(panel_px, _LEAST_CELL_PX), *(width for width, _ in sizes)])
    height = max([1, *(height for _, height in sizes)])
    texts = [_text_block(text, _BESIDE_PX - GAP_PX) for text in beside]
    left = _MARGIN_PX + (_BESIDE_PX if texts else 0)
    width = left - _MARGIN_PX + columns * (cell + GAP_PX) - GAP_PX
    head = Image.new("RGB", (width, 1), PAPER)
    if title:
        head = _text_block("\n".join([" ".join(title.split()), *lines]), max(width, _LEAST_HEAD_PX))
    depth = max((label.count("\n") + 1 for label in labels), default=0)
    below = height + depth * _leading(_TEXT_PX) + (GAP_PX if depth else 0)
    row_px = max([below, *(text.height for text in texts)]) + GAP_PX
    top = _MARGIN_PX + head.height
    size = (head.width + 2 * _MARGIN_PX, top + math.ceil(len(pictures) / columns) * row_px - GAP_PX + _MARGIN_PX)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    sheet.paste(head, (_MARGIN_PX, _MARGIN_PX))
    for row, text in enumerate(texts):
        sheet.paste(text, (_MARGIN_PX, top + row * row_px))
    for index, panel in enumerate(panels):
        if panel is None:
            continue
        row, column = divmod(index, columns)
        middle, y = left + column * (cell + GAP_PX) + cell // 2, top + row * row_px
        x = middle - panel.width // 2
        sheet.paste(panel, (x, y))
        draw.rectangle((x - 1, y - 1, x + panel.width, y + panel.height), outline=_RULE)
        for number, line in enumerate(labels[index].split("\n") if labels else ()):
            text, place = shortened(line, cell, _TEXT_PX), (middle, y + height + GAP_PX + number * _leading(_TEXT_PX))
            draw.text(place, text, fill=GREY if number else INK, font=_font(_TEXT_PX), anchor="ma")
    return sheet


def on_white(image: Image.Image) -> Image.Image:
    """The picture in sRGB, its transparent parts on white; the same object where it is that already."""
    image = shown(image)
    if image.mode == "RGB":
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (*PAPER, 255)), rgba).convert("RGB")


def fitted(image: Image.Image, box: tuple[int, int]) -> Image.Image:
    """The picture at the largest size that fits into ``box`` (width, height in pixels), its proportions kept."""
    scale = min(box[0] / image.width, box[1] / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS) if size != image.size else image


def check_one_size(images: Sequence[Image.Image]) -> None:
    """Refuse what cannot stand side by side, or one after the other.

    Raises:
        ShapeError: no pictures, or pictures of different sizes.
    """
    sizes = sorted({image.size for image in images})
    if len(sizes) != 1:
        raise ShapeError(f"Pictures of one sheet must be of one size; there are {sizes or 'none'}.")


def shortened(text: str, width: int, size_px: int) -> str:
    """One line of text, cut with an ellipsis where it is wider than ``width`` pixels; a single letter stays."""
    text, font = _spelt(text), _font(size_px)
    if len(text) == 1 or font.getlength(text) <= width:
        return text
    cuts = [text[:length].rstrip() + "…" for length in range(1, len(text))]
    return cuts[max(0, bisect.bisect_right(cuts, width, key=font.getlength) - 1)]


def wrapped(text: str, width: int, size_px: int) -> list[str]:
    """A line of text in pieces of at most ``width`` pixels; a single longer word stays whole."""
    pieces: list[str] = []
    for word in _spelt(text).split():
        longer = f"{pieces[-1]} {word}" if pieces else word
        if pieces and _font(size_px).getlength(longer) <= width:
            pieces[-1] = longer
        else:
            pieces.append(word)
    return pieces


def _text_block(text: str, width: int) -> Image.Image:
    """The first line as a title over the others, smaller and grey, with the space that follows them."""
    title, *lines = text.split("\n")
    texts = [(shortened(title, width, _TITLE_PX), _TITLE_PX, INK)]
    texts += [(part, _TEXT_PX, GREY) for line in lines for part in wrapped(line, width, _TEXT_PX)]
    block = Image.new("RGB", (width, sum(_leading(size) for _, size, _ in texts) + GAP_PX), PAPER)
    y = 0
    for piece, size, color in texts:
        ImageDraw.Draw(block).text((0, y), piece, fill=color, font=_font(size))
        y += _leading(size)
    return block


def _leading(size_px: int) -> int:
    """Pixels from the top of a line of text to the top of the next."""
    return round(1.5 * size_px)


def _spelt(text: str) -> str:
    """Text in one line, in signs that the font has."""
    return " ".join(text.translate(_ASCII).split())


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, so that a sheet needs none of the system's."""
    return ImageFont.load_default(size_px)
