"""Pictures for the viewer: the source once, and of every other one the box in which it differs, without loss."""

import base64
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageChops

from latentedit.core.errors import ShapeError
from latentedit.latents.crop import Box
from latentedit_keep.pictures import to_eight_bit

MOST_PIXELS = 4_000_000
"""Of a picture that is shown as it is; larger ones are shown reduced."""

MOST_PIXELS_TOGETHER = 24_000_000
"""Of all boxes of a page: about 50 MB of photographs."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Pictures of one size, as the script takes them.

    Args:
        size: width and height in pixels.
        alpha: they have transparency.
        layers: one a picture, the source first: ``box``, and the files ``rgb`` and ``alpha`` of what is in it, in
            base64: PNGs, or see `layers_of`. They are empty without a box, for a picture that is the source, and where
            the alpha is the source's.
        notes: what the viewer does not show as it is.
    """

    size: tuple[int, int]
    alpha: bool
    layers: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def layers_of(pictures: Sequence[Image.Image], *, quality: int | None = None) -> Layers:
    """Take pictures apart for the viewer.

    Args:
        pictures: the source first.
        quality: of WebP, from 0 to 100; without loss where none is given.

    Raises:
        ShapeError: pictures of different sizes.
    """
    sizes = sorted({picture.size for picture in pictures})
    if len(sizes) > 1:
        raise ShapeError(f"the pictures of a view must be of one size; got {sizes}. Scale them to the source's")
    notes = [f"shown with 8 bits a channel; the picture has the mode {deep}"] if (deep := _deep(pictures)) else []
    alpha = any("A" in to_eight_bit(picture).mode for picture in pictures)
    mode = "RGBA" if alpha else "RGB"
    images = [one if one.mode == mode else one.convert(mode) for one in map(to_eight_bit, pictures)]
    (width, height), boxes = images[0].size, [_box(images[0], image) for image in images[1:]]
    together = width * height + sum(box[2] * box[3] for box in boxes)
    scale = math.sqrt(min(1, MOST_PIXELS / (width * height), MOST_PIXELS_TOGETHER / together))
    if scale < 1:
        size = max(1, int(width * scale)), max(1, int(height * scale))
        images = [image.resize(size, Image.Resampling.LANCZOS) for image in images]
        boxes = [_box(images[0], image) for image in images[1:]]
        notes.append(
            f"shown and saved at {size[0]} x {size[1]} pixels; the picture has {width} x {height}, too many for a page"
        )
    source, size = images[0], images[0].size
    layers = [_layer(source, (0, 0, *size), alpha=alpha, quality=quality)]
    for image, box in zip(images[1:], boxes, strict=True):
        layers.append(_layer(image, box, alpha=alpha and _alpha_differs(source, image), quality=quality))
    return Layers(size=size, alpha=alpha, layers=tuple(layers), notes=tuple(notes))


def _deep(pictures: Sequence[Image.Image]) -> str:
    """The mode of a picture with more than eight bits a channel; empty where there is none."""
    return next((picture.mode for picture in pictures if picture.mode[0] in "IF"), "")


def _box(source: Image.Image, image: Image.Image) -> Box:
    """Left, top, width and height of what differs; nothing of it where nothing does."""
    found = ImageChops.difference(source, image).getbbox(alpha_only=False)
    return (0, 0, 0, 0) if found is None else (found[0], found[1], found[2] - found[0], found[3] - found[1])


def _alpha_differs(source: Image.Image, image: Image.Image) -> bool:
    return ImageChops.difference(source.getchannel("A"), image.getchannel("A")).getbbox() is not None


def _layer(image: Image.Image, box: Box, *, alpha: bool, quality: int | None) -> dict[str, Any]:
    left, top, width, height = box
    if not width:
        return {"box": box, "rgb": "", "alpha": ""}
    part = image.crop((left, top, left + width, top + height))
    # Colour and alpha apart: browsers keep colours multiplied by alpha, and lose levels.
    colour = Image.merge("RGB", part.split()[:3])
    opacity = _file(part.getchannel("A"), "PNG") if alpha else ""
    rgb = _file(colour, "PNG") if quality is None else _file(colour, "WEBP", quality=quality)
    return {"box": box, "rgb": rgb, "alpha": opacity}


def _file(image: Image.Image, kind: str, **options: int) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode("ascii")
