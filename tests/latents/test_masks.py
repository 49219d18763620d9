"""Masks of all formats: no change outside, the full change inside, and a known ramp between."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentedit.core.errors import ImageError
from latentedit.latents.images import open_mask

Levels = NDArray[np.uint8]


def square(size: int = 40, value: int = 255) -> Levels:
    """A centered white square, half as wide as the black image."""
    levels = np.zeros((size, size), dtype=np.uint8)
    levels[size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = value
    return levels


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


@pytest.mark.parametrize(("width", "height", "seed"), [(30, 40, 1), (160, 90, 2), (250, 260, 5)])
def test_masks_are_softened_inward(width: int, height: int, seed: int) -> None:
    levels = random_rectangles(width, height, seed)
    allowed = open_levels(levels)
    assert allowed.dtype == np.uint8
    assert not allowed[levels == 0].any()
    assert (allowed <= levels).all()
    assert abs(allowed - softened(levels, round(min(width, height) / 100))).max() <= 1  # rounded along each axis


@pytest.mark.parametrize("size", [(1000, 600), (600, 1000)])
def test_the_ramp_is_a_fiftieth_of_the_shorter_side_except_at_the_image_border(size: tuple[int, int]) -> None:
    radius = min(size) // 100
    levels = np.zeros((size[1], size[0]), dtype=np.uint8)
    levels[:, 300:] = 255
    allowed = open_levels(levels)
    depth = np.arange(1, size[0] - 299)
    assert not allowed[:, :300].any()
    assert abs(allowed[:, 300:] - 255 * np.minimum(1, depth / (2 * radius + 1))).max() <= 1
    assert (allowed[:, 300 + 2 * radius :] == 255).all()
    assert allowed[0, 299 + 2 * radius] < 255


def test_paint_counts_whatever_its_color_and_transparent_parts_are_black() -> None:
    levels = square()
    with pytest.warns(UserWarning, match="red"):
        painted = open_levels(np.where(levels[..., None] > 0, (255, 0, 0), 255).astype(np.uint8))
    assert np.array_equal(painted, levels)
    half = np.dstack([np.full((40, 40, 3), 255), levels]).astype(np.uint8)
    half[:5, :, 3] = 100
    assert abs(open_levels(half) - half[..., 3].astype(float)).max() <= 1


def test_noisy_gray_masks_do_not_warn() -> None:
    noise = np.random.default_rng(0).integers(0, 5, (200, 200, 3), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_levels(np.where(square(200)[..., None] > 0, 255 - noise, noise))


def mask_formats() -> dict[str, Image.Image]:
    """The same mask, white in the center, in all formats of Pillow."""
    levels = square()
    alpha = Image.fromarray(levels)
    white = Image.new("L", alpha.size, 255)
    palette = Image.fromarray(levels // 255, "P")
    palette.putpalette([0, 0, 0, 255, 255, 255])
    transparent_palette = Image.fromarray(levels // 255, "P")
    transparent_palette.putpalette([255, 255, 255, 255, 255, 255])
    transparent_palette.info["transparency"] = 0
    return {
        "L": alpha,
        "1": alpha.convert("1"),
        "RGB": alpha.convert("RGB"),
        "RGBA": Image.merge("RGBA", (white, white, white, alpha)),
        "LA": Image.merge("LA", (white, alpha)),
        "P": palette,
        "P, transparent": transparent_palette,
        "I;16": Image.fromarray(levels.astype(np.uint16) * 257),
        "I": Image.fromarray(levels.astype(np.int32) * 257),
        "F": Image.fromarray(levels.astype(np.float32) / 255),
    }


@pytest.mark.parametrize("kind", mask_formats())
def test_masks_of_all_formats_are_equivalent(kind: str, tmp_path: Path) -> None:
    image = mask_formats()[kind]
    original = image.copy()
    assert np.array_equal(open_mask(image, (40, 40)), square())
    assert image.mode == original.mode
    assert image.tobytes() == original.tobytes()
    suffix = "tiff" if kind in ("I", "F") else "png"
    image.save(tmp_path / f"mask.{suffix}")
    assert np.array_equal(open_mask(str(tmp_path / f"mask.{suffix}"), (40, 40)), square())


@pytest.mark.parametrize("as_file", [True, False])
def test_masks_follow_their_exif_orientation(as_file: bool, tmp_path: Path) -> None:
    """Orientation 6: to be rotated by 90 degrees clockwise."""
    stored = np.zeros((20, 30), dtype=np.uint8)
    stored[:5, :10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "mask.png", exif=exif)
    mask = tmp_path / "mask.png" if as_file else Image.open(tmp_path / "mask.png")
    assert np.array_equal(open_mask(mask, (20, 30)), np.rot90(stored, -1))
    with pytest.raises(ImageError, match=r"20x30.*30x20"):
        open_mask(mask, (30, 20))


def stripe(width: int) -> Levels:
    levels = np.zeros((300, 400), dtype=np.uint8)
    levels[:, 100 : 100 + width] = 255
    return levels


@pytest.mark.parametrize(
    "levels",
    [
        np.zeros((300, 300), dtype=np.uint8),
        np.full((300, 300), 255, dtype=np.uint8),
        np.full((300, 300, 4), (255, 255, 255, 0), dtype=np.uint8),
        stripe(1),
        stripe(6),
    ],
)
def test_empty_full_and_narrow_masks_are_rejected(levels: Levels) -> None:
    """In an image of 300 pixels, the ramp takes 3 on either side, so a stripe must be at least 7 wide."""
    with pytest.raises(ImageError):
        open_levels(levels)
    assert open_levels(stripe(7)).any()


def test_damaged_open_masks_are_rejected(tmp_path: Path) -> None:
    Image.fromarray(square(400)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:-60])
    with pytest.raises(ImageError):
        open_mask(Image.open(tmp_path / "cut.png"), (400, 400))
