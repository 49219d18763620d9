"""One picture that shows an edit: source, edited, and their difference, with a title and what was done."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from latentedit.errors import ShapeError

_PAPER = (255, 255, 255)
_INK = (28, 30, 34)
_GREY = (110, 114, 120)
_RULE = (214, 217, 221)

_PANEL_PX = 384
"""Longest side of a panel: smaller pictures are enlarged to it, larger ones shrunk."""

_MARGIN_PX = 32
_GAP_PX = 20
_TITLE_PX = 26
_TEXT_PX = 16
_LABEL_PX = 17

_SPELT = str.maketrans({"→": "->", "−": "-", "×": "x", "≥": ">=", "≤": "<="})
"""Signs that the font lacks."""

_FACTORS = (32, 16, 8, 4)
_LOUD_SHARE = 0.01
"""Share of the pixels that the amplified difference may drive to full brightness."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of text above the panels."""

    text: str
    size_px: int
    color: tuple[int, int, int]


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
    before, after = _on_white(source), _on_white(edited)
    difference, factor = amplified_difference(before, after)
    panels = [_panel(image) for image in (before, after, difference)]
    labels = ("source", "edited", f"difference x {factor}" if factor > 1 else "difference (none)")
    width, height = panels[0].size
    slot = max(width, 200)  # room for the labels under tall, narrow pictures
    total = 2 * _MARGIN_PX + 3 * slot + 2 * _GAP_PX
    head = _head(title, lines, total - 2 * _MARGIN_PX)
    top = _MARGIN_PX + sum(_leading(line) for line in head) + 14
    sheet = Image.new("RGB", (total, top + height + _LABEL_PX + 18 + _MARGIN_PX), _PAPER)
    draw = ImageDraw.Draw(sheet)
    y = _MARGIN_PX
    for line in head:
        draw.text((_MARGIN_PX, y), line.text, fill=line.color, font=_font(line.size_px))
        y += _leading(line)
    for index, (panel, label) in enumerate(zip(panels, labels, strict=True)):
        x = _MARGIN_PX + index * (slot + _GAP_PX) + (slot - width) // 2
        sheet.paste(panel, (x, top))
        draw.rectangle((x - 1, top - 1, x + width, top + height), outline=_RULE)
        draw.text((x + width // 2, top + height + 10), label, fill=_INK, font=_font(_LABEL_PX), anchor="ma")
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


def _head(title: str, lines: Sequence[str], width: int) -> list[_Line]:
    """Title and text, fitted to the sheet's width."""
    shortened = " ".join(title.translate(_SPELT).split())
    while len(shortened) > 1 and _font(_TITLE_PX).getlength(shortened) > width:
        shortened = shortened.removesuffix("…")[:-1].rstrip() + "…"
    return [
        _Line(text=shortened, size_px=_TITLE_PX, color=_INK),
        *(_Line(text=part, size_px=_TEXT_PX, color=_GREY) for line in lines for part in _wrap(line, width)),
    ]


def _wrap(line: str, width: int) -> list[str]:
    """A line of text in pieces of at most ``width`` pixels; a single longer word stays whole."""
    font = _font(_TEXT_PX)
    pieces: list[str] = []
    for word in line.translate(_SPELT).split():
        longer = f"{pieces[-1]} {word}" if pieces else word
        if pieces and font.getlength(longer) <= width:
            pieces[-1] = longer
        else:
            pieces.append(word)
    return pieces


def _leading(line: _Line) -> int:
    return round(1.5 * line.size_px)


def _panel(image: Image.Image) -> Image.Image:
    """The picture with its longest side at `_PANEL_PX`."""
    scale = _PANEL_PX / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS) if size != image.size else image


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (*_PAPER, 255)), rgba).convert("RGB")


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, so that a sheet needs none of the system's."""
    return ImageFont.load_default(size_px)
