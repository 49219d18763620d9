"""Compositing, pixel by pixel."""

import numpy as np
import pytest

from latentedit.photo.color import levels
from latentedit.photo.warp import resized, scaling, warped
from latentedit.pixels.composite import composited
from latentedit.pixels.tones import Tones
from tests.keep.pairs import scene

EYE = np.eye(3)


def half(side: int) -> np.ndarray:
    mask = np.zeros((side, side), dtype=np.float32)
    mask[:, side // 2 :] = 1
    return mask


def test_the_mismatch_is_subtracted_at_any_size() -> None:
    first, second, mismatch = scene(64, 1), scene(64, 2), np.full((8, 16, 3), 5, dtype=np.float32)
    result = composited(
        first, second, half(64), matrix=EYE, tones=Tones.none(), mismatch=(mismatch, first.shape[1::-1])
    )
    np.testing.assert_array_equal(result[:, :32], first[:, :32])
    np.testing.assert_array_equal(result[:, 32:], second[:, 32:] - 5)


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_strength_is_linear_and_zero_returns_the_original(strength: float) -> None:
    first, second = scene(64, 1), scene(64, 2)
    result = composited(first, second, half(64), matrix=EYE, tones=Tones.none(), strength=strength)
    mixed = first[:, 32:] + strength * (second[:, 32:] - first[:, 32:].astype(float))
    np.testing.assert_allclose(result[:, 32:], mixed, atol=0.51)
    np.testing.assert_array_equal(result[:, :32], first[:, :32])
    assert (result is first) == (strength == 0)


def test_16_bits_are_preserved() -> None:
    first = scene(64, 1).astype(np.uint16) * 257 + 77
    second = scene(64, 2)
    result = composited(first, second, half(64), matrix=EYE, tones=Tones.none(), strength=0.5)
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result[:, :32], first[:, :32])
    mixed = (first[:, 32:].astype(float) + second[:, 32:].astype(float) * 257) / 2
    np.testing.assert_allclose(result[:, 32:], mixed, atol=1)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_blended_alpha_is_right_on_any_background(depth: type, strength: float) -> None:
    """Blending two layers and placing the result on a background equals blending their appearances there."""
    top, generator = np.iinfo(depth).max, np.random.default_rng(1)
    first, second = (generator.integers(0, top, (16, 16, 4), endpoint=True).astype(depth) for _ in range(2))
    result = composited(first, second, half(16), matrix=EYE, tones=Tones.none(), strength=strength)
    np.testing.assert_array_equal(result[:, :8], first[:, :8])
    for ground in (0.0, 255.0):
        here, there, found = (levels(one, None, ground)[:, 8:] for one in (first, second, result))
        np.testing.assert_allclose(found, (1 - strength) * here + strength * there, atol=1.1)


def test_an_opaque_original_gets_the_alpha_of_the_edit() -> None:
    second = np.dstack([scene(64, 1), np.full((64, 64), 255, np.uint8)])
    second[20:30] = 0
    result = composited(scene(64, 1), second, np.ones((64, 64), np.float32), matrix=EYE, tones=Tones.none())
    np.testing.assert_array_equal(result[..., 3], second[..., 3])
    np.testing.assert_array_equal(result[30:, :, :3], scene(64, 1)[30:])


def test_strips_are_seamless() -> None:
    """Strips of 512 rows begin at the first row of the mask."""
    matrix = np.array([[0.9, 0.02, 4.2], [-0.02, 0.9, 3.3], [0, 0, 1.0]])
    first, second = scene(600, 1, width=40), scene(600, 2, width=60)
    mask = np.ones((600, 40), np.float32)
    whole = composited(first, second, mask, matrix=matrix, tones=Tones.none(), sharpening=2.0)
    mask[:60] = 0
    other = composited(first, second, mask, matrix=matrix, tones=Tones.none(), sharpening=2.0)
    assert np.abs(whole[60:].astype(int) - other[60:]).max() <= 1


def test_levels_are_on_a_white_background() -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [100, 100, 100, 51]]], dtype=np.uint8)
    np.testing.assert_allclose(levels(pixels)[0], [[10, 20, 30], [255, 255, 255], [224, 224, 224]], atol=1e-3)
    np.testing.assert_allclose(levels(np.full((1, 1, 3), 65535, np.uint16)), 255)


@pytest.mark.parametrize(
    "matrix",
    [
        np.array([[2.6, 0.1, 3.3], [-0.1, 2.6, 9.7], [0, 0, 1.0]]),
        np.array([[0, -1, 69.4], [1, 0, 2.2], [0, 0, 1.0]]),
        np.array([[0.3, 0, -2.5], [0, 0.3, 1.5], [0, 0, 1.0]]),
        np.array([[1, 0, 40.0], [0, 1, 40], [0, 0, 1.0]]),
    ],
    ids=["larger", "turned", "smaller", "half outside"],
)
def test_a_part_is_resampled_as_the_whole_is(matrix: np.ndarray) -> None:
    """Only pixels of the edited image that are needed are read; where it ends, it goes on as in a mirror."""
    first, second = scene(64, 1), resized(scene(72, 2), (180, 180) if matrix[0, 0] > 2 else (72, 72))
    mask = np.zeros((64, 64), dtype=np.float32)
    mask[20:50, 8:30] = 1
    result = composited(first, second, mask, matrix=matrix, tones=Tones.none())
    whole = warped(second.astype(np.float32), matrix, (64, 64)).clip(0, 255)
    shown = [(matrix @ [x, y, 1])[:2] for x, y in ((8, 20), (29, 20), (8, 49), (29, 49))]
    covered = all(0 <= at < side for point in shown for at, side in zip(point, second.shape[1::-1], strict=True))
    place = np.s_[20:50, 8:30] if covered else np.s_[20:24, 8:24]
    assert np.abs(result[place] - whole[place]).mean() < 1, "area averages begin at another pixel"
    assert matrix[0, 0] > 2 or np.abs(result[place] - whole[place]).max() < 1
    np.testing.assert_array_equal(result[mask == 0], first[mask == 0])


def test_the_mismatch_lies_where_the_compared_part_does() -> None:
    """A ramp on a part of 40 x 30 pixels, known at a quarter of them."""
    x, y = np.meshgrid(np.arange(10), np.arange(10))
    ramp = np.repeat((2.0 * x + y)[..., None], 3, axis=2).astype(np.float32)
    offset = np.array([[1, 0, -12], [0, 1, -20], [0, 0, 1.0]])
    gray = np.full((64, 64, 3), 100, dtype=np.uint8)
    result = composited(
        gray,
        gray + 50,
        np.ones((64, 64), np.float32),
        matrix=EYE,
        tones=Tones.none(),
        mismatch=(ramp, (40, 30)),
        offset=offset,
    )
    at = scaling((40, 30), (10, 10)) @ offset @ [30, 35, 1]
    assert 150 - int(result[35, 30, 0]) == pytest.approx(2 * at[0] + at[1], abs=0.6)


def test_masks_below_one_level_change_nothing_and_others_do() -> None:
    black, white = np.zeros((8, 8, 3), dtype=np.uint8), np.full((8, 8, 3), 255, dtype=np.uint8)
    mask = np.full((8, 8), 0.9 / 255, dtype=np.float32)
    mask[4] = 1.6 / 255
    result = composited(black, white, mask, matrix=EYE, tones=Tones.none())
    assert result[4].min() == 2
    assert np.delete(result, 4, axis=0).max() == 0


def test_sharpening_goes_on_beyond_a_part_and_is_clipped_before_it_is_blended() -> None:
    second = np.full((40, 40, 3), 20, dtype=np.uint8)
    second[:, 20:] = 250
    whole, mask = np.ones((40, 40), dtype=np.float32), np.zeros((40, 40), dtype=np.float32)
    mask[10:30, 18:24] = 1
    results = [
        composited(second, second, one, matrix=EYE, tones=Tones.none(), sharpening=1.5, strength=strength)
        for one, strength in ((whole, 1.0), (mask, 1.0), (whole, 0.5))
    ]
    np.testing.assert_array_equal(results[1][10:30, 18:24], results[0][10:30, 18:24])
    assert results[0][20, 21].max() == 255
    assert results[2][20, 21].max() == 252, "half of the way to white"
