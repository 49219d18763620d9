"""Through the autoencoder of a bundled model and back: what every editor that works on latents does to a picture."""

import functools

import numpy as np
import torch

from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit_bench.known_pairs.photographs import Pixels

AUTOENCODERS = ("portraits", "portraits-unet")
"""Models whose autoencoders are bundled. They were trained on drawn portraits, and lose more on photographs."""

_TILE_PX = 256
_MARGIN_PX = 16
"""Of a tile, so much at each side is not used: the edge of a picture is decoded less well."""


@functools.cache
def _model(name: str) -> Backbone:
    return load(name, device="cpu")


def through_autoencoder(pixels: Pixels, name: str) -> Pixels:
    """Encoded and decoded, in tiles that overlap where the picture is larger than the autoencoder takes.

    Args:
        pixels: of any size.
        name: of `AUTOENCODERS`.

    Cost:
        About a second for a tile of 256 pixels on one core.
    """
    height, width = pixels.shape[:2]
    core = _TILE_PX - 2 * _MARGIN_PX
    rows, columns = (-(-side // core) for side in (height, width))
    pads = [(_MARGIN_PX, count * core - side + _MARGIN_PX) for count, side in ((rows, height), (columns, width))]
    padded = np.pad(pixels, [*pads, (0, 0)], mode="symmetric")
    result = np.empty((rows * core, columns * core, 3), dtype=np.uint8)
    inner = np.s_[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX]
    for top in range(0, rows * core, core):
        for left in range(0, columns * core, core):
            tile = padded[top : top + _TILE_PX, left : left + _TILE_PX]
            result[top : top + core, left : left + core] = _round_trip(tile, name)[inner]
    return result[:height, :width]


def _round_trip(tile: Pixels, name: str) -> Pixels:
    model = _model(name)
    x = torch.from_numpy(tile.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.no_grad():
        y = model.decode(model.encode(x))
    return np.rint((y[0].permute(1, 2, 0).numpy() + 1) * 127.5).clip(0, 255).astype(np.uint8)
