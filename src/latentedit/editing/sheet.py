"""Sheets: images in a grid with labels, drawn with Pillow and its own font."""

import bisect
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from latentedit.core.errors import ShapeError
from latentedit.encoding.captions.base import to_images
from latentedit.encoding.images import SourceImage

if TYPE_CHECKING:  # an edit draws sheets, and needs no geometry
    from latentedit.geometry.paths import LatentPath, PathsBetween

PAPER, INK, GRAY, _RULE = (255, 255, 255), (28, 30, 34), (110, 114, 120), (214, 217, 221)

PANEL_PX = 384  # longest side of an image: smaller ones are enlarged, larger ones reduced
_ROW_PX = 1192  # width of a full row of images; with its margins a sheet is then 1,256 px wide
_GAP_PX = 12
_MARGIN_PX = 32
_ROW_TEXT_PX = 288  # width of the text to the left of a row
_LEAST_CELL_PX = 120  # width of a label under a narrower image, if the grid's columns are that wide
_LEAST_HEAD_PX = 576  # width of a title over a narrower grid
_MOST_COLUMNS = 9  # width of a sweep, so that a column is at least 121 px wide
_PATH_PANEL_PX = (64, 160)  # smallest and largest width of an image along a path
_DECODED_ROWS = 16  # latents of a path that are decoded at once

_TITLE_PX, _TEXT_PX = 26, 16  # font sizes; a line takes 1.5 times as much
_ASCII = str.maketrans({"→": "->", "−": "-", "×": "x", "≥": ">=", "≤": "<="})  # characters that the font lacks

_FACTORS = (32, 16, 8, 4)  # possible amplifications of a difference image
_SATURATED_SHARE = 0.01  # share of the pixels that the amplification may saturate


def draw_grid(
    images: Sequence[Image.Image | None],
    labels: Sequence[str] = (),
    *,
    columns: int,
    title: str = "",
    lines: Sequence[str] = (),
    row_texts: Sequence[str] = (),
    panel_px: int = PANEL_PX,
) -> Image.Image:
    """Images (None: an empty cell) in reading order, with labels, a title, and a text to the left of each row."""
    assert len(labels) in (0, len(images))
    panels = [image and _fitted(SourceImage.from_image(image).on_white(), (panel_px, PANEL_PX)) for image in images]
    sizes = [panel.size for panel in panels if panel is not None]
    cell = max([min(panel_px, _LEAST_CELL_PX), *(width for width, _ in sizes)])
    height = max([1, *(height for _, height in sizes)])
    texts = [_text_block(text, _ROW_TEXT_PX - _GAP_PX) for text in row_texts]
    left = _MARGIN_PX + (_ROW_TEXT_PX if texts else 0)
    width = left - _MARGIN_PX + columns * (cell + _GAP_PX) - _GAP_PX
    head = Image.new("RGB", (width, 1), PAPER)
    if title:
        head = _text_block("\n".join([" ".join(title.split()), *lines]), max(width, _LEAST_HEAD_PX))
    captions = [list(_label_lines(label, cell)) for label in labels] or [[] for _ in images]
    depth = max(map(len, captions))
    below = height + depth * _leading(_TEXT_PX) + (_GAP_PX if depth else 0)
    row_px = max([below, *(text.height for text in texts)]) + _GAP_PX
    top = _MARGIN_PX + head.height
    size = (head.width + 2 * _MARGIN_PX, top + math.ceil(len(images) / columns) * row_px - _GAP_PX + _MARGIN_PX)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    sheet.paste(head, (_MARGIN_PX, _MARGIN_PX))
    for row, text in enumerate(texts):
        sheet.paste(text, (_MARGIN_PX, top + row * row_px))
    for index, panel in enumerate(panels):
        if panel is None:
            continue
        row, column = divmod(index, columns)
        middle, y = left + column * (cell + _GAP_PX) + cell // 2, top + row * row_px
        x = middle - panel.width // 2
        sheet.paste(panel, (x, y))
        draw.rectangle((x - 1, y - 1, x + panel.width, y + panel.height), outline=_RULE)
        for number, (line, color) in enumerate(captions[index]):
            at = (middle, y + height + _GAP_PX + number * _leading(_TEXT_PX))
            draw.text(at, line, fill=color, font=_font(_TEXT_PX), anchor="ma")
    return sheet


def draw_sheet(source: Image.Image, edited: Image.Image, *, title: str, lines: Sequence[str] = ()) -> Image.Image:
    """Original, edited image and amplified difference side by side, under a title."""
    _check_sizes([source, edited])
    before, after = (SourceImage.from_image(image).on_white() for image in (source, edited))
    difference, factor = _amplified_difference(before, after)
    labels = ("original", "edited", f"difference x {factor}" if factor > 1 else "no difference")
    return draw_grid([before, after, difference], labels, columns=3, title=title, lines=lines)


def draw_sweep(
    images: Sequence[Image.Image], labels: Sequence[str], *, title: str, lines: Sequence[str] = ()
) -> Image.Image:
    """Images of one size, each with a label, in as few rows of equal length as possible; at most 1,256 px wide."""
    _check_sizes(images)
    columns = math.ceil(len(images) / math.ceil(len(images) / _MOST_COLUMNS))
    panel_px = min(PANEL_PX, (_ROW_PX + _GAP_PX) // columns - _GAP_PX)
    return draw_grid(images, labels, columns=columns, title=title, lines=lines, panel_px=panel_px)


@torch.no_grad()
def draw_paths(between: "PathsBetween", *, title: str) -> Image.Image:
    """One row for each path: its method and lengths, then its images, each with the rotation of the tangent space."""
    images = [image for path in between.paths for image in to_images(path_images(between, path))]
    turns = [turn for path in between.paths for turn in ("", *(f"{turn:.2f}" for turn in path.turns.tolist()))]
    columns, (least, largest) = len(images) // len(between.paths), _PATH_PANEL_PX
    return draw_grid(
        images,
        turns,
        columns=columns,
        title=title,
        lines=(
            f"noise level {between.level:.2f}; lengths measured at {between.site}, without a prompt",
            f"below each image: rotation of the rank-{between.rank} tangent space since the previous image, in radians",
        ),
        row_texts=[
            f"{path.method}\nfeature length {path.length:.4g}\nsemantic length {path.semantic_length:.2f} rad\n"
            f"(random subspaces: {len(path.turns) * between.random.mean:.1f} rad)"
            for path in between.paths
        ],
        panel_px=min(largest, max(least, (_ROW_PX + _GAP_PX) // columns - _GAP_PX)),
    )


def path_images(between: "PathsBetween", path: "LatentPath") -> Float[Tensor, "l 3 h w"]:
    """The images along a path at the model's size, in [-1, 1]: decoded latents between the two given images."""
    backbone, frames = between.latent.backbone, between.latent.frames
    decoded = torch.cat([backbone.decode(rows) for rows in path.z[1:-1].split(_DECODED_ROWS)])
    first, last = (frame.pixels[None].to(decoded) for frame in frames)
    return torch.cat([first, decoded.clamp(-1, 1), last])


def _fitted(image: Image.Image, box: tuple[int, int]) -> Image.Image:
    """The image at the largest size that fits into a box, with its aspect ratio."""
    scale = min(box[0] / image.width, box[1] / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS) if size != image.size else image


def _check_sizes(images: Sequence[Image.Image]) -> None:
    sizes = sorted({image.size for image in images})
    if len(sizes) != 1:
        raise ShapeError(f"the images of a sheet must have one size; got {sizes or 'no images'}. Resize them first")


def _amplified_difference(before: Image.Image, after: Image.Image) -> tuple[Image.Image, int]:
    """Absolute difference of two RGB images times the largest factor that saturates few pixels; 1 if they are equal."""
    change = np.abs(np.asarray(after, dtype=np.int16) - np.asarray(before, dtype=np.int16))
    strongest = change.max(axis=2)
    fitting = (factor for factor in _FACTORS if (strongest * factor > 255).mean() <= _SATURATED_SHARE)
    factor = next(fitting, _FACTORS[-1]) if strongest.any() else 1
    return Image.fromarray((change * factor).clip(0, 255).astype(np.uint8)), factor


def _shortened(text: str, width: int, size_px: int) -> str:
    """A line of text, shortened with an ellipsis to a width in pixels, but to no less than one letter."""
    text, font = _spelt(text), _font(size_px)
    if len(text) == 1 or font.getlength(text) <= width:
        return text
    cuts = [text[:length].rstrip() + "…" for length in range(1, len(text))]
    return cuts[max(0, bisect.bisect_right(cuts, width, key=font.getlength) - 1)]


def _wrapped(text: str, width: int, size_px: int) -> list[str]:
    """A line of text broken to a width in pixels; a single longer word is not broken."""
    pieces: list[str] = []
    for word in _spelt(text).split():
        longer = f"{pieces[-1]} {word}" if pieces else word
        if pieces and _font(size_px).getlength(longer) <= width:
            pieces[-1] = longer
        else:
            pieces.append(word)
    return pieces


def _text_block(text: str, width: int) -> Image.Image:
    """The first line as a title, the others smaller and gray, and a gap below."""
    title, *lines = text.split("\n")
    texts = [(_shortened(title, width, _TITLE_PX), _TITLE_PX, INK)]
    texts += [(part, _TEXT_PX, GRAY) for line in lines for part in _wrapped(line, width, _TEXT_PX)]
    block = Image.new("RGB", (width, sum(_leading(size) for _, size, _ in texts) + _GAP_PX), PAPER)
    y = 0
    for piece, size, color in texts:
        ImageDraw.Draw(block).text((0, y), piece, fill=color, font=_font(size))
        y += _leading(size)
    return block


def _label_lines(label: str, width: int) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """A label wrapped to a width, each of its lines to two at most: the first line in ink, the others in gray."""
    for number, text in enumerate(label.split("\n")):
        first, *rest = _wrapped(text, width, _TEXT_PX) or [""]
        for piece in (first, " ".join(rest)) if rest else (first,):
            yield _shortened(piece, width, _TEXT_PX), GRAY if number else INK


def _leading(size_px: int) -> int:
    return round(1.5 * size_px)


def _spelt(text: str) -> str:
    """Text in one line, in characters that the font has."""
    return " ".join(text.translate(_ASCII).split())


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)
