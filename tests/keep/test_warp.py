"""Resizing and warping against closed forms."""

import cv2
import numpy as np
import pytest

from latentedit.photo.warp import depth_inside, median, moments, quantile, resized, scaling, smoothed, warped


def ramp(width: int, height: int) -> np.ndarray:
    """Three planes that are linear in x and y, so that interpolation is exact."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y, 2 * x + 3 * y + 5], axis=-1)


def test_scaling_maps_corners_to_corners_and_back() -> None:
    matrix = scaling((40, 30), (100, 45))
    np.testing.assert_allclose((matrix @ [-0.5, -0.5, 1])[:2], [-0.5, -0.5])
    np.testing.assert_allclose((matrix @ [39.5, 29.5, 1])[:2], [99.5, 44.5])
    np.testing.assert_allclose(scaling((100, 45), (40, 30)) @ matrix, np.eye(3), atol=1e-12)
    image = ramp(9, 7)
    assert resized(image, (9, 7)) is image


def test_a_warped_ramp_has_the_mapped_coordinates() -> None:
    matrix = np.array([[1.02, 0.03, 4.25], [-0.02, 0.99, 6.5], [0, 0, 1.0]])
    found = warped(ramp(60, 50), matrix, (30, 20))
    x, y = np.meshgrid(np.arange(30), np.arange(20))
    u, v = (matrix @ np.stack([x.ravel(), y.ravel(), np.ones(600)]))[:2]
    # the cubic kernel of OpenCV (a = -0.75) reproduces a ramp to a twentieth of a level
    np.testing.assert_allclose(found[..., 0].ravel(), u, atol=0.08)
    np.testing.assert_allclose(found[..., 1].ravel(), v, atol=0.08)


def test_depth_is_the_distance_to_the_nearest_border() -> None:
    shifted = np.array([[1, 0, -3.0], [0, 1, 2.0], [0, 0, 1]])
    depth = depth_inside(shifted, (20, 10), (20, 10))
    assert depth[5, 0] == -3  # three pixels left of the edited image
    assert depth[0, 3] == 0
    assert depth[9, 10] == -2
    assert (depth_inside(np.eye(3), (20, 10), (20, 10)) >= 0).all()


def test_the_fast_wide_gaussian_agrees_with_a_direct_one() -> None:
    generator = np.random.default_rng(0)
    plane = generator.normal(0, 1, (200, 200)).astype(np.float32)
    direct = cv2.GaussianBlur(plane, (0, 0), 8.0, borderType=cv2.BORDER_REFLECT_101)
    assert (smoothed(plane, 8.0) - direct).std() < 0.2 * direct.std()
    np.testing.assert_allclose(smoothed(np.full((50, 60), 7, np.float32), 9.0), 7, rtol=1e-5)


def test_moments_among_a_mask_are_those_of_its_pixels() -> None:
    """Pixels outside of the mask have no say, however strong: closed form of two planes in proportion."""
    generator = np.random.default_rng(0)
    plane = generator.normal(0, 10, (64, 64)).astype(np.float32)
    among = np.ones((64, 64), dtype=bool)
    among[:, 30:] = False
    other = np.where(among, 2 * plane + 7, 1000).astype(np.float32)
    one, two, together = moments(plane, other, 3.0, among)
    inner = np.s_[8:-8, 8:28]
    np.testing.assert_allclose(two[inner], 4 * one[inner], rtol=2e-3)
    np.testing.assert_allclose(together[inner], 2 * one[inner], rtol=2e-3)


@pytest.mark.parametrize("count", [1, 2, 7, 1000, 60_001])
@pytest.mark.parametrize("share", [0.0, 0.123, 0.5, 0.95, 1.0])
def test_quantiles_are_those_of_numpy_bit_for_bit(count: int, share: float) -> None:
    """Also of sorted and equal values, of which a sample says little."""
    noise = np.random.default_rng(count).normal(size=count).astype(np.float32)
    for values in (noise, np.sort(noise), noise.clip(0, 0.1), noise.astype(np.float64)):
        assert quantile(values, share) == np.quantile(values, share)
        assert median(values) == np.median(values)
