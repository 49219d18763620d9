"""Masks: no change outside, the full change inside, and a known ramp between; reading them is tested in keep."""

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentedit.core.errors import ImageError
from latentedit.encoding.images import open_mask

Levels = NDArray[np.uint8]


def open_levels(levels: Levels) -> Levels:
    return open_mask(Image.fromarray(levels), (levels.shape[1], levels.shape[0]))


def random_rectangles(width: int, height: int, seed: int) -> Levels:
    """Overlapping rectangles of several levels on black."""
    generator = np.random.default_rng(seed)
    levels = np.zeros((height, width), dtype=np.uint8)
    for _ in range(generator.integers(1, 6)):
        left, right = np.sort(generator.integers(0, width + 1, 2))
        top, bottom = np.sort(generator.integers(0, height + 1, 2))
        levels[top:bottom, left:right] = generator.choice([0, 128, 255])
    levels[: height // 8] = 255
    return levels


def softened(levels: Levels, radius: int) -> NDArray[np.float64]:
    """The definition: the local mean of the local minimum, at most the pixel itself."""

    def windows(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.lib.stride_tricks.sliding_window_view(np.pad(values, radius, mode="edge"), (2 * radius + 1,) * 2)

    minimum = windows(levels.astype(np.float64)).min((2, 3))
    return np.minimum(levels, windows(minimum).mean((2, 3)))


@pytest.mark.parametrize(("width", "height", "seed"), [(30, 40, 1), (160, 90, 2), (250, 260, 5), (450, 610, 4)])
def test_masks_are_softened_inward(width: int, height: int, seed: int) -> None:
    """The ramp takes a fiftieth of the shorter side, except at the border of the image."""
    levels = random_rectangles(width, height, seed)
    allowed = open_levels(levels)
    assert allowed.dtype == np.uint8
    assert not allowed[levels == 0].any()
    assert (allowed <= levels).all()
    assert abs(allowed - softened(levels, round(min(width, height) / 100))).max() <= 1  # rounded along each axis


def test_other_conventions_are_reported_and_noise_is_none() -> None:
    white = random_rectangles(200, 200, 3)[..., None] == 255
    with pytest.warns(UserWarning, match="red"):
        open_levels(np.where(white, (255, 0, 0), 255).astype(np.uint8))
    noise = np.random.default_rng(0).integers(0, 5, (200, 200, 3), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_levels(np.where(white, 255 - noise, noise))


def stripe(width: int) -> Levels:
    levels = np.zeros((300, 400), dtype=np.uint8)
    levels[:, 100 : 100 + width] = 255
    return levels


def test_empty_and_narrow_masks_are_rejected_and_full_ones_are_none() -> None:
    """In an image of 300 pixels, the ramp takes 3 on either side, so a stripe must be at least 7 wide."""
    full = np.full((300, 300), 255, dtype=np.uint8)
    for levels in (0 * full, np.dstack([full, full, full, 0 * full]), stripe(1), stripe(6)):
        with pytest.raises(ImageError):
            open_levels(levels)
    assert open_levels(stripe(7)).any()
    assert open_mask(Image.fromarray(full), (300, 300)) is None
