"""Training images of the pixel-space models: portraits at 64 pixels, and plain discs, which are far simpler."""

import colorsys
import random

import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""Side of an image, in pixels."""

_SHARPNESS = 4
"""Samples per pixel and axis, for smooth edges of discs."""


def draw_discs(count: int, *, seed: int) -> NDArray[np.uint8]:
    """Discs of one pure hue each on white, ``[count, 64, 64, 3]``: four numbers per image (x, y, radius and hue).

    Args:
        count: number of images.
        seed: random seed; the first images do not depend on ``count``.
    """
    generator = random.Random(f"portraits/discs/{seed}")
    fine = (np.arange(SIDE * _SHARPNESS) + 0.5) / (SIDE * _SHARPNESS)
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for image in images:
        x, y, radius = (generator.uniform(*bounds) for bounds in ((0.25, 0.75), (0.25, 0.75), (0.1, 0.2)))
        color = 255 * np.array(colorsys.hsv_to_rgb(generator.random(), 1, 1))
        inside = (fine[:, None] - y) ** 2 + (fine - x) ** 2 <= radius**2
        share = inside.reshape(SIDE, _SHARPNESS, SIDE, _SHARPNESS).mean((1, 3))[..., None]
        image[:] = np.round(share * color + (1 - share) * 255)
    return images


def shrink(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images ``[n, k * 64, k * 64, 3]`` downscaled to 64 pixels by a box filter."""
    count, side = images.shape[:2]
    cells = images.reshape(count, SIDE, side // SIDE, SIDE, side // SIDE, 3)
    return np.round(cells.mean((2, 4), dtype=np.float32)).astype(np.uint8)
