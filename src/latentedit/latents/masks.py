"""Masks from the user: pictures of the same size, white where a picture may change, black where not."""

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch.nn import functional

from latentedit.core.errors import ImageError
from latentedit_keep.pictures import read_image

MaskLike = str | Path | Image.Image
"""A file or a Pillow image."""

_FEATHER = 1 / 100
"""Half the width of the soft edge as a share of the shorter side."""

_COLOURFUL = 8
"""Mean difference of the channels above which a mask is considered coloured; a grey JPEG has 1 or 2."""


def open_mask(mask: MaskLike, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask as levels ``[height, width]``, 255 where the picture may change and 0 where not; softened inwards.

    No pixel outside the mask ever changes; inside, the change grows to its full size within about a fiftieth of the
    picture's shorter side from the edge, and narrower parts let nothing through. Grey lets a part of the change
    through. The border of the picture is not an edge. Only brightness counts, with a warning for colours; transparent
    parts are black.
    """
    name = "the mask" if isinstance(mask, Image.Image) else f"the mask {mask}"
    image = read_image(mask, name)
    if image.size != size:
        raise ImageError(
            f"{name} has {image.width}x{image.height} pixels, the picture {size[0]}x{size[1]}. Save it at the "
            "picture's size"
        )
    image = _on_black(image)
    if np.ptp(np.asarray(image), axis=2).mean() > _COLOURFUL:
        warnings.warn(
            f"{name} is in colour, and only its brightness counts: the brighter a pixel, the more it may change. Use "
            "white where the picture may change, black elsewhere",
            stacklevel=2,
        )
    levels = np.array(image.convert("L"))
    if not levels.any():
        raise ImageError(f"{name} is black everywhere, so nothing may change. Paint white where the picture may change")
    if levels.min() == 255:
        raise ImageError(f"{name} is white everywhere, so it protects nothing. Leave it out")
    allowed = _softened(levels, round(_FEATHER * min(size)))
    if not allowed.any():
        raise ImageError(f"the white parts of {name} are only a few pixels wide, so nothing may change. Paint more")
    return allowed


def _on_black(image: Image.Image) -> Image.Image:
    if image.mode == "RGBA":
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image.convert("RGB")


def _softened(levels: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Shrunk by half the ramp's width, so that the blurred mask reaches no further than the original."""
    inner = Image.fromarray(np.ascontiguousarray(_darkest(_darkest(levels, radius).T, radius).T))
    return np.minimum(levels, np.asarray(inner.filter(ImageFilter.BoxBlur(radius))))


def _darkest(levels: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """The lowest level within a radius along each row."""
    bright = torch.from_numpy(255.0 - levels)[None]
    return (255 - functional.max_pool1d(bright, 2 * radius + 1, 1, radius)[0]).numpy().astype(np.uint8)
