import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import geometric_slerp

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.geometry.interpolation import lerp, slerp
from tests.core.geometry.drawn import gaussian


def at_angle(angle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two unit vectors in space, in a plane that no axis lies in."""
    plane = torch.linalg.qr(gaussian(3, 3))[0]
    return plane[0], math.cos(angle) * plane[0] + math.sin(angle) * plane[1]


@pytest.mark.parametrize("between", [lerp, slerp])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_ends_are_exact_and_the_dtype_stays(between, dtype: torch.dtype) -> None:
    a, b = gaussian(2, 3, 4).to(dtype), gaussian(2, 3, 4, seed=1).to(dtype)
    a[0, 0, 0] = -0.0
    points = between(a, b, torch.tensor([0.0, 0.5, 1.0]))
    assert points.shape == (3, 2, 3, 4)
    assert points.dtype == dtype
    for point, end in ((points[0], a), (points[2], b), (between(a, b, 0.0), a), (between(a, b, 1.0), b)):
        assert point.shape == a.shape
        assert torch.equal(point, end)
        assert torch.equal(point.signbit(), end.signbit())
    assert torch.equal(points[1], between(a, b, 0.5))


def test_lerp_is_the_straight_line() -> None:
    a, b = gaussian(5), gaussian(5, seed=1)
    assert torch.allclose(lerp(a, b, 0.25), 0.75 * a + 0.25 * b, atol=1e-15)
    assert torch.allclose(lerp(a, b, -1.0), 2 * a - b, atol=1e-15)


@given(st.floats(1e-3, math.pi - 1e-2), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_slerp_of_unit_vectors_is_that_of_scipy(angle: float, weights: list[float]) -> None:
    """Its sines lose up to 1 / sin(angle), 1,000 here, of the rounding."""
    a, b = at_angle(angle)
    found = slerp(a, b, torch.tensor(weights, dtype=torch.float64))
    assert np.allclose(found.numpy(), geometric_slerp(a.numpy(), b.numpy(), np.array(weights)), atol=1e-12)


@given(st.floats(0, math.pi - 1e-3), st.floats(-1, 2), st.floats(1e-3, 1e3))
def test_equal_lengths_are_kept_and_angles_are_even(angle: float, weight: float, length: float) -> None:
    """Rounding grows like 1 / (pi - angle), 1,000 here. Angles are told by chords, which are exact near 0."""
    a, b = at_angle(angle)
    point = slerp(length * a, length * b, weight)
    assert float(point.norm()) == pytest.approx(length, rel=1e-11)
    chord = float((point / length - a).norm())
    assert chord == pytest.approx(abs(2 * math.sin(weight * angle / 2)), abs=1e-11)


@given(st.floats(-12, 0).map(lambda exponent: 10**exponent))
def test_small_angles_pass_into_the_straight_line_without_a_jump(angle: float) -> None:
    """In the middle slerp has length 1 and lerp cos(angle / 2), in one direction."""
    a, b = at_angle(angle)
    middle, straight = slerp(a, b, 0.5), lerp(a, b, 0.5)
    assert float((middle - straight).norm()) == pytest.approx(1 - math.cos(angle / 2), abs=1e-15)
    assert torch.allclose(slerp(a, b, 0.3), lerp(a, b, 0.3), rtol=0, atol=angle**2 / 8 + 1e-15)


def test_vectors_of_different_lengths() -> None:
    a = gaussian(6)
    assert torch.allclose(slerp(a, 3 * a, 0.5), 2 * a, atol=1e-14)
    assert torch.allclose(slerp(a, a, 0.7), a, atol=1e-15)
    plane = torch.linalg.qr(gaussian(4, 4))[0]  # at a right angle the weights are cos and sin
    want = 2 * math.cos(math.pi / 6) * plane[0] + 5 * math.sin(math.pi / 6) * plane[1]
    assert torch.allclose(slerp(2 * plane[0], 5 * plane[1], 1 / 3), want, atol=1e-14)


def test_what_has_no_arc_is_refused() -> None:
    a = gaussian(8)
    with pytest.raises(ConfigError, match="opposite"):
        slerp(a, -2 * a, 0.5)
    with pytest.raises(ConfigError, match="opposite"):
        slerp(a.float(), -0.3 * a.float(), 0.5)
    for bad in (torch.zeros(8), torch.full((8,), math.nan)):
        with pytest.raises(ConfigError, match="points nowhere"):
            slerp(a, bad.double(), 0.5)
    with pytest.raises((ShapeError, TypeError)):
        lerp(a, gaussian(7), 0.5)
    for between in (lerp, slerp):
        with pytest.raises(ConfigError, match="weights must be finite"):
            between(a, a, math.nan)
