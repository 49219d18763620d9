"""One sheet of what a basis does: a row a direction, in both signs, with what it is called."""

import math

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.api.discovery import SCALES, Discovery
from latentedit.api.sheets.drawing import (
    LABEL_PX,
    PAPER,
    Line,
    draw_head,
    draw_rows,
    fitted,
    label_height,
    put_panel,
)
from latentedit.editors.walks.step_length import EFFECT
from latentedit.latents.captions.base import to_images

_PANEL_PX = 160
_GAP_PX = 12
_TEXT_PX = 300
"""Of a row: the longest side of its pictures, the space between them, and the width of the text to their left."""


def draw_discovery(discovery: Discovery, *, title: str) -> Image.Image:
    """The directions of a basis, one a row: its name and facts, then the picture moved by -2, -1, 0, 1 and 2 steps.

    Args:
        discovery: of a picture.
        title: one line; cut with an ellipsis where it is too long.

    Returns:
        An RGB picture, the same for the same arguments on every machine that has the same Pillow.
    """
    labels = [Line(text="the picture" if scale == 0 else f"{scale:+g}", size_px=LABEL_PX) for scale in _columns()]
    rows = [_row(discovery, index, labels) for index in range(len(discovery.found))]
    basis = discovery.basis
    lines = (
        f"site {basis.site}, level {basis.level:.2f}, {f'under: {basis.prompt}' if basis.prompt else 'under no text'}",
        f"+1 and -1 change the clean latent by {EFFECT:g} (root mean square; latents have variance 1)",
    )
    return draw_rows(draw_head(title, lines, rows[0].width), rows, gap_px=_GAP_PX)


def _columns() -> list[float]:
    return sorted((0.0, *SCALES))


def _row(discovery: Discovery, index: int, labels: list[Line]) -> Image.Image:
    source = discovery.basis.latent.frames[0].pixels
    pictures = discovery.found[index].walked.pictures
    moved = dict(zip(SCALES, pictures, strict=True))
    panels = [_panel(moved.get(scale, source)) for scale in _columns()]
    text = _text(discovery, index)
    width, height = panels[0].size
    size = (
        _TEXT_PX + len(panels) * (width + _GAP_PX) - _GAP_PX,
        max(text.height, height + 2 + label_height(labels[:1])),
    )
    row = Image.new("RGB", size, PAPER)
    row.paste(text, (0, 0))
    for column, (panel, label) in enumerate(zip(panels, labels, strict=True)):
        put_panel(row, panel, (_TEXT_PX + column * (width + _GAP_PX), 1), [label])
    return row


def _panel(pixels: Float[Tensor, "3 h w"]) -> Image.Image:
    return fitted(to_images(pixels[None])[0], (_PANEL_PX, _PANEL_PX))


def _text(discovery: Discovery, index: int) -> Image.Image:
    """The attribute, its values in each sign, and the numbers."""
    walked, basis = discovery.found[index].walked, discovery.basis
    what, _, values = walked.meaning.name.partition(": ")
    purity = "" if math.isnan(walked.meaning.purity) else f"purity {walked.meaning.purity:.2f}, "
    lines = (values, f"{purity}{walked.meaning.place}", f"singular value {float(basis.singular_values[index]):.3g}")
    return draw_head(f"{index + 1}  {what}", [line for line in lines if line], _TEXT_PX - _GAP_PX)
