"""Pictures as an animation that goes there and back again."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from latentedit.api.sheets.drawing import PAPER, check_one_size, on_white
from latentedit.core.errors import ConfigError, OutputError
from latentedit_keep.colour import shown
from latentedit_keep.files import written_beside

ANIMATED = {".gif": "GIF", ".webp": "WEBP"}
"""File name endings that stand for an animation, and Pillow's names of their formats."""

_PALETTE_PIXELS = 250_000  # about so many pixels of all frames does the palette of a GIF come from


def save_animation(images: Sequence[Image.Image], path: str | Path, *, seconds: float = 0.25) -> None:
    """Write pictures as an endless animation, first to last and back again, beside its place, then rename it.

    GIF has one palette for all frames and no dithering, so that what stays does not flicker, and shows transparent
    parts on white; WebP keeps them, and every pixel as it is. The same pictures give the same bytes.

    Args:
        images: one or more pictures of one size, shown at that size; all but the first and the last are shown twice.
        path: ends in .gif or .webp.
        seconds: that a frame stands, 0.02 to 60, rounded to hundredths; browsers slow down what is faster.

    Raises:
        ShapeError: no pictures, or pictures of different sizes.
        ConfigError: ``seconds`` out of range.
        OutputError: another ending, or a place that cannot be written to.
    """
    path = Path(path)
    kind = ANIMATED.get(path.suffix.lower())
    if kind is None:
        raise OutputError(f"An animation cannot be written as {path.name!r}; it ends in {' or '.join(ANIMATED)}.")
    if not 0.02 <= seconds <= 60:
        raise ConfigError(f"A frame stands for 0.02 to 60 seconds; got {seconds}. Try 0.25")
    check_one_size(images)
    frames = _on_palette([on_white(image) for image in images]) if kind == "GIF" else [shown(one) for one in images]
    mode = "P" if kind == "GIF" else "RGBA" if any(image.mode == "RGBA" for image in images) else "RGB"
    frames = [frame.convert(mode) for frame in frames]
    for frame in frames:
        frame.info.clear()  # what the writers would read from it belongs to the files that the pictures came from
    first, *others = [*frames, *frames[-2:0:-1]]
    options: dict[str, object] = {"append_images": others, "loop": 0, "duration": 10 * round(100 * seconds)}
    if kind == "GIF":  # given a palette, Pillow writes one for all; optimized, it leaves out what stays
        options |= {"palette": bytes(first.getpalette() or ()), "optimize": True}
    else:
        options |= {"lossless": True, "quality": 100}
    with written_beside(path) as file:
        first.save(file, format=kind, save_all=True, **options)


def _on_palette(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """RGB frames in white and the 254 colours that suit all of them best: equal pixels look alike in every frame.

    The last of the 256 entries stays free for "as in the frame before".
    """
    step = math.ceil(math.sqrt(sum(frame.width * frame.height for frame in frames) / _PALETTE_PIXELS))
    sample = np.concatenate([np.asarray(frame)[::step, ::step] for frame in frames])
    palette = Image.fromarray(sample).quantize(254, Image.Quantize.MAXCOVERAGE, kmeans=100)
    palette.putpalette([*PAPER, *(palette.getpalette() or [])][:765])
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    for image, frame in zip(indexed, frames, strict=True):
        image.paste(0, mask=Image.fromarray((np.asarray(frame) == 255).all(axis=2)))  # Pillow takes a near colour
    return indexed
