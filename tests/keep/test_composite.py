"""Compositing, pixel by pixel."""

import numpy as np
import pytest

from latentedit_keep.base.color import levels
from latentedit_keep.composite import composite
from latentedit_keep.tones import Tones
from tests.keep.pairs import scene

EYE = np.eye(3)


def half(side: int) -> np.ndarray:
    mask = np.zeros((side, side), dtype=np.float32)
    mask[:, side // 2 :] = 1
    return mask


def test_the_mismatch_is_subtracted_at_any_size() -> None:
    first, second, mismatch = scene(64, 1), scene(64, 2), np.full((8, 16, 3), 5, dtype=np.float32)
    result = composite(first, second, half(64), matrix=EYE, tones=Tones.none(), mismatch=(mismatch, first.shape[1::-1]))
    np.testing.assert_array_equal(result[:, :32], first[:, :32])
    np.testing.assert_array_equal(result[:, 32:], second[:, 32:] - 5)


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_strength_is_linear_and_zero_returns_the_original(strength: float) -> None:
    first, second = scene(64, 1), scene(64, 2)
    result = composite(first, second, half(64), matrix=EYE, tones=Tones.none(), strength=strength)
    mixed = first[:, 32:] + strength * (second[:, 32:] - first[:, 32:].astype(float))
    np.testing.assert_allclose(result[:, 32:], mixed, atol=0.51)
    np.testing.assert_array_equal(result[:, :32], first[:, :32])
    assert (result is first) == (strength == 0)


def test_16_bits_are_preserved() -> None:
    first = scene(64, 1).astype(np.uint16) * 257 + 77
    second = scene(64, 2)
    result = composite(first, second, half(64), matrix=EYE, tones=Tones.none(), strength=0.5)
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
    result = composite(first, second, half(16), matrix=EYE, tones=Tones.none(), strength=strength)
    np.testing.assert_array_equal(result[:, :8], first[:, :8])
    for ground in (0.0, 255.0):
        here, there, found = (levels(one, None, ground)[:, 8:] for one in (first, second, result))
        np.testing.assert_allclose(found, (1 - strength) * here + strength * there, atol=1.1)


def test_an_opaque_original_gets_the_alpha_of_the_edit() -> None:
    second = np.dstack([scene(64, 1), np.full((64, 64), 255, np.uint8)])
    second[20:30] = 0
    result = composite(scene(64, 1), second, np.ones((64, 64), np.float32), matrix=EYE, tones=Tones.none())
    np.testing.assert_array_equal(result[..., 3], second[..., 3])
    np.testing.assert_array_equal(result[30:, :, :3], scene(64, 1)[30:])


def test_strips_are_seamless() -> None:
    """Strips of 512 rows begin at the first row of the mask."""
    matrix = np.array([[0.9, 0.02, 4.2], [-0.02, 0.9, 3.3], [0, 0, 1.0]])
    first, second = scene(600, 1, width=40), scene(600, 2, width=60)
    mask = np.ones((600, 40), np.float32)
    whole = composite(first, second, mask, matrix=matrix, tones=Tones.none(), sharpening=2.0)
    mask[:60] = 0
    other = composite(first, second, mask, matrix=matrix, tones=Tones.none(), sharpening=2.0)
    assert np.abs(whole[60:].astype(int) - other[60:]).max() <= 1


def test_levels_are_on_a_white_background() -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [100, 100, 100, 51]]], dtype=np.uint8)
    np.testing.assert_allclose(levels(pixels)[0], [[10, 20, 30], [255, 255, 255], [224, 224, 224]], atol=1e-3)
    np.testing.assert_allclose(levels(np.full((1, 1, 3), 65535, np.uint16)), 255)
