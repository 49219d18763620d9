"""Conventions of masks from other tools."""

import cv2
import numpy as np
import pytest
from PIL import Image

from latentedit.core.errors import ImageError
from latentedit.photo.images import read_pixels
from latentedit.photo.warp import smoothed
from latentedit.pixels.masks import _word, bounds_of, mask_plane, opaque_bounds
from tests.keep.pairs import SIDE, WHERE, as_jpeg, scene

BLACK = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)


def layer(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.dstack([np.broadcast_to(colors, (*alpha.shape, 3)), alpha]).astype(np.uint8)


BLURRED, SOFT = (np.rint(smoothed(WHERE.astype(np.float32), sigma)).astype(np.uint8) for sigma in (4.0, 8.0))
CORE = np.zeros((SIDE, SIDE), dtype=bool)
CORE[10:-10, 10:-10] = True


def paint(ground: np.ndarray, color: tuple[int, int, int] = (255, 0, 0), where: np.ndarray = WHERE) -> np.ndarray:
    opacity = where[..., None] / 255
    return np.rint(ground * (1 - opacity) + opacity * np.array(color)).astype(np.uint8)


STARK = (4.0 * scene().astype(np.float32) - 380).clip(0, 255).astype(np.uint8)  # has black and white pixels


CONVENTIONS = {
    "white": (WHERE, ""),
    "blurred": (BLURRED, ""),
    "widely blurred": (SOFT, ""),
    "white on a clear layer": (layer(BLACK + 255, WHERE), ""),
    "soft paint on a clear layer": (layer(BLACK + 255, BLURRED), ""),
    "hole in a photograph": (layer(scene(), 255 - WHERE), "hole"),
    "hole in black": (layer(BLACK, 255 - WHERE), "hole"),
    "hole in white": (layer(BLACK + 255, 255 - WHERE), "hole"),
    "classes 0 and 1": (WHERE // 255, "two levels"),
    "red on black": (paint(BLACK), "red"),
    "red on white": (paint(BLACK + 255), "red"),
    "red on gray": (paint(BLACK + 128), "red"),
    "dark blue on white": (paint(BLACK + 255, (0, 0, 120)), "blue"),
    "orange in a JPEG": (as_jpeg(paint(BLACK + 255, (255, 150, 0)), 80), "yellow"),
    "red on a clear layer": (layer(np.array((255, 0, 0)), WHERE), "red"),
    "soft red on a clear layer": (layer(np.array((255, 0, 0)), BLURRED), "red"),
    "black on a clear layer": (layer(BLACK, WHERE), "black"),
    "green around a clear ring": (layer(np.array((0, 90, 0)), np.maximum(WHERE, 255 * ~CORE)), "green"),
}


@pytest.mark.parametrize(("mask", "named"), CONVENTIONS.values(), ids=CONVENTIONS)
def test_mask_conventions_are_recognized_and_reported(mask: np.ndarray, named: str) -> None:
    plane, convention = mask_plane(read_pixels(Image.fromarray(mask)), (SIDE, SIDE))
    assert (plane[60:80, 80:100] > 0.5).all()
    assert plane[CORE & (WHERE == 0) & (BLURRED == 0)].max() < 0.1
    assert named in convention
    assert bool(named) == bool(convention)


@pytest.mark.parametrize(
    ("color", "word"),
    [
        ((30, 30, 30), "black"), ((128, 120, 130), "gray"), ((230, 235, 228), "white"), ((250, 10, 20), "red"),
        ((240, 240, 0), "yellow"), ((10, 200, 0), "green"), ((0, 220, 210), "cyan"), ((20, 0, 120), "blue"),
        ((200, 0, 210), "magenta"),
    ],
)  # fmt: skip
def test_colors_have_a_word(color: tuple[int, int, int], word: str) -> None:
    assert _word(np.array(color, dtype=float)) == word


@pytest.mark.parametrize("ground", [BLACK, BLACK + 255, BLACK + 90])
@pytest.mark.parametrize("soft", [BLURRED, SOFT])
def test_soft_paint_of_any_color_equals_soft_white(ground: np.ndarray, soft: np.ndarray) -> None:
    planes = [
        mask_plane(read_pixels(Image.fromarray(mask)), (SIDE, SIDE))[0]
        for mask in (soft, paint(ground, (170, 20, 40), soft))
    ]
    assert np.abs(planes[0] / planes[0].max() - planes[1])[soft > 16].max() < 0.05
    assert not planes[1][soft == 0].any()


UNCLEAR = {
    "red and blue": paint(paint(BLACK + 255), (0, 0, 255), WHERE[::-1]),
    "white and red": paint(paint(BLACK, (255, 255, 255)), (255, 0, 0), np.roll(WHERE, 60, axis=0)),
    "blue and yellow": paint(np.array((0, 0, 255)), (255, 255, 0)),
    "on a photo": paint(scene()),
    "on a gray photo": paint(scene()[..., :1] + BLACK),
    "two paints on a clear layer": layer(paint(np.array((255, 0, 0)), (0, 0, 255), np.roll(WHERE, 22, axis=0)), WHERE),
}


@pytest.mark.parametrize("mask", UNCLEAR.values(), ids=UNCLEAR)
def test_a_mask_whose_meaning_is_unclear_is_rejected(mask: np.ndarray) -> None:
    with pytest.raises(ImageError, match="unclear"):
        mask_plane(read_pixels(Image.fromarray(mask)), (SIDE, SIDE))


@pytest.mark.parametrize("size", [(80, 80), (80, 81), (320, 320), (321, 320)])
def test_a_mask_of_the_same_shape_is_scaled(size: tuple[int, int]) -> None:
    plane, convention = mask_plane(read_pixels(Image.fromarray(cv2.resize(WHERE, size))), (SIDE, SIDE))
    assert plane.shape == WHERE.shape
    assert np.abs(plane - WHERE / 255).mean() < 0.02
    assert "scaled" in convention


def test_a_mask_of_another_shape_is_rejected() -> None:
    """One side of the smaller size may be off by a rounded pixel, not by two; turned by 90 degrees is another shape."""
    for other in ((80, 82), (324, 320)):
        with pytest.raises(ImageError):
            mask_plane(read_pixels(Image.fromarray(cv2.resize(WHERE, other))), (SIDE, SIDE))
    for rows in (80, 40):
        with pytest.raises(ImageError, match="Turn"):
            mask_plane(read_pixels(Image.fromarray(WHERE[:rows, : 2 * rows])), (80, SIDE))


SMOOTH = np.rint(smoothed(scene().astype(np.float32), 6.0)).astype(np.uint8)


@pytest.mark.parametrize("image", [scene(), scene()[..., 0], STARK, SMOOTH, BLACK[..., 0] + 100])
def test_an_image_is_rejected_as_a_mask(image: np.ndarray) -> None:
    with pytest.raises(ImageError):
        mask_plane(read_pixels(Image.fromarray(image)), (SIDE, SIDE))


def test_masks_of_thin_lines_or_of_another_size_are_rejected() -> None:
    """The soft edges of both sides of a line meet, so it allows nothing; without a fade, it allows itself."""
    thin = np.zeros((500, 600), dtype=np.uint8)
    thin[250:258, 100:500] = 255
    opaque, _ = opaque_bounds(read_pixels(Image.fromarray(thin)), (600, 500))
    np.testing.assert_array_equal(opaque, thin > 0)
    for mask, size in ((thin, (600, 500)), (thin, (100, 100)), (0 * thin, (600, 500))):
        with pytest.raises(ImageError):
            bounds_of(read_pixels(Image.fromarray(mask)), size)


@pytest.mark.parametrize("strip", [5, 6, 9, 30])
@pytest.mark.parametrize("quarters", range(4))
def test_a_mask_at_the_border_fades_as_if_the_image_went_on(strip: int, quarters: int) -> None:
    wide = np.zeros((400, 560), dtype=np.uint8)
    wide[:, : 60 + strip], wide[180:, 60 + strip : 90] = 255, 255
    shown, whole = (
        bounds_of(read_pixels(Image.fromarray(np.rot90(one, quarters))), np.rot90(one, quarters).shape[1::-1])[0]
        for one in (wide[:, 60:], wide)
    )
    np.testing.assert_allclose(np.rot90(shown, -quarters), np.rot90(whole, -quarters)[:, 60:], atol=1e-6)


def test_around_a_cut_out_part_of_a_photograph_the_image_may_change() -> None:
    plane, convention = mask_plane(read_pixels(Image.fromarray(layer(scene(), WHERE))), (SIDE, SIDE))
    assert "hole" in convention
    np.testing.assert_array_equal(plane, WHERE == 0)
