"""What the drawn sheets share: paper, text that fits, pictures scaled into a box."""

import bisect
import dataclasses
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

PAPER = (255, 255, 255)
INK = (28, 30, 34)
GREY = (110, 114, 120)
_RULE = (214, 217, 221)

PANEL_PX = 384
"""Longest side of a picture on a sheet: smaller pictures are enlarged to it, larger ones shrunk."""

MARGIN_PX = 32
LABEL_PX = 17

_TITLE_PX = 26
_TEXT_PX = 16
_UNDER_TITLE_PX = 14
_UNDER_PANEL_PX = 10

_SPELT = str.maketrans({"→": "->", "−": "-", "×": "x", "≥": ">=", "≤": "<="})
"""Signs that the font lacks."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of text."""

    text: str
    size_px: int
    color: tuple[int, int, int] = INK

    @property
    def leading_px(self) -> int:
        """From the top of this line to the top of the next."""
        return round(1.5 * self.size_px)


def on_white(image: Image.Image) -> Image.Image:
    """The picture as RGB, its transparent parts on white; the same object where it is RGB already."""
    if image.mode == "RGB":
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (*PAPER, 255)), rgba).convert("RGB")


def fitted(image: Image.Image, box: tuple[int, int]) -> Image.Image:
    """The picture at the largest size that fits into ``box`` (width, height in pixels), its proportions kept."""
    scale = min(box[0] / image.width, box[1] / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS) if size != image.size else image


def text_width(text: str, size_px: int) -> float:
    """Pixels that a line of text takes, as it will be spelt."""
    return _font(size_px).getlength(_spelt(text))


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


def draw_head(title: str, lines: Sequence[str], width: int) -> Image.Image:
    """A sheet's title, cut to one line, over smaller grey lines, wrapped, with the space that follows them.

    Args:
        title: one line.
        lines: smaller text; none where empty.
        width: of the picture in pixels.

    Returns:
        RGB, as high as its text needs.
    """
    texts = [
        Line(text=shortened(title, width, _TITLE_PX), size_px=_TITLE_PX),
        *(Line(text=part, size_px=_TEXT_PX, color=GREY) for line in lines for part in wrapped(line, width, _TEXT_PX)),
    ]
    head = Image.new("RGB", (width, sum(line.leading_px for line in texts) + _UNDER_TITLE_PX), PAPER)
    draw = ImageDraw.Draw(head)
    y = 0
    for line in texts:
        draw.text((0, y), line.text, fill=line.color, font=_font(line.size_px))
        y += line.leading_px
    return head


def draw_rows(head: Image.Image, rows: Sequence[Image.Image], *, gap_px: int) -> Image.Image:
    """A sheet: a head over rows, one below the other, inside the margin.

    Args:
        head: of `draw_head`.
        rows: of one width, at least one.
        gap_px: below each row but the last.
    """
    height = head.height + sum(row.height + gap_px for row in rows) - gap_px
    sheet = Image.new("RGB", (rows[0].width + 2 * MARGIN_PX, height + 2 * MARGIN_PX), PAPER)
    sheet.paste(head, (MARGIN_PX, MARGIN_PX))
    y = MARGIN_PX + head.height
    for row in rows:
        sheet.paste(row, (MARGIN_PX, y))
        y += row.height + gap_px
    return sheet


def label_height(label: Sequence[Line]) -> int:
    """Pixels below a panel that `put_panel` takes for its label."""
    return _UNDER_PANEL_PX + sum(line.leading_px for line in label)


def put_panel(sheet: Image.Image, panel: Image.Image, position: tuple[int, int], label: Sequence[Line]) -> None:
    """Lay a picture onto a sheet, in a hairline, its label centred below.

    Args:
        sheet: RGB; it is drawn on.
        panel: at its final size.
        position: left and top of the panel.
        label: lines below it.
    """
    x, y = position
    draw = ImageDraw.Draw(sheet)
    sheet.paste(panel, position)
    draw.rectangle((x - 1, y - 1, x + panel.width, y + panel.height), outline=_RULE)
    y += panel.height + _UNDER_PANEL_PX
    for line in label:
        draw.text((x + panel.width // 2, y), _spelt(line.text), fill=line.color, font=_font(line.size_px), anchor="ma")
        y += line.leading_px


def _spelt(text: str) -> str:
    """Text in one line, in signs that the font has."""
    return " ".join(text.translate(_SPELT).split())


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, so that a sheet needs none of the system's."""
    return ImageFont.load_default(size_px)
