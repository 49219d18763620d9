"""Lengths of curves, and the shortest one, where they are known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import geometric_slerp
from torch import Tensor

from latentedit.core.errors import ConfigError, ConvergenceError, ShapeError
from latentedit.geometry.curves import curve_energy, curve_length, lerp, semantic_lengths, shortest_curve, slerp, speeds
from tests.geometry.drawn import gaussian, sphere, sphere_point


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


def test_vectors_of_different_lengths() -> None:
    a = gaussian(6)
    assert torch.allclose(slerp(a, 3 * a, 0.5), 2 * a, atol=1e-14)
    assert torch.allclose(slerp(a, a, 0.7), a, atol=1e-15)
    plane = torch.linalg.qr(gaussian(4, 4))[0]  # at a right angle the weights are cos and sin
    want = 2 * math.cos(math.pi / 6) * plane[0] + 5 * math.sin(math.pi / 6) * plane[1]
    assert torch.allclose(slerp(2 * plane[0], 5 * plane[1], 1 / 3), want, atol=1e-14)


def test_what_has_no_arc_is_refused() -> None:
    a = gaussian(8)
    with pytest.raises(ConfigError):
        slerp(a, -2 * a, 0.5)
    with pytest.raises(ConfigError):
        slerp(a.float(), -0.3 * a.float(), 0.5)
    for bad in (torch.zeros(8), torch.full((8,), math.nan)):
        with pytest.raises(ConfigError):
            slerp(a, bad.double(), 0.5)
    with pytest.raises((ShapeError, TypeError)):
        lerp(a, gaussian(7), 0.5)
    for between in (lerp, slerp):
        with pytest.raises(ConfigError):
            between(a, a, math.nan)


def turning_plane(angle: float) -> Tensor:
    """A plane of four dimensions that has turned by an angle about one of its axes; its basis turns within as well."""
    plane = torch.zeros(2, 4, dtype=torch.float64)
    plane[0, 0], plane[0, 1], plane[1, 2] = math.cos(angle), math.sin(angle), 1
    mix = torch.tensor([[1.0, 0.3 * angle], [-0.7, 1.0]], dtype=torch.float64)
    return mix @ plane


def test_lengths_of_a_staircase() -> None:
    """3, 4 and 12 at right angles, in features of two axes and in single precision."""
    points = torch.tensor([[0.0, 0, 0, 0], [3, 0, 0, 0], [3, 4, 0, 0], [3, 4, 12, 0]]).reshape(4, 2, 2)
    assert speeds(points).tolist() == [3, 4, 12]
    assert speeds(points).dtype == torch.float64
    assert curve_length(points) == 19
    assert curve_energy(points) == 9 + 16 + 144


@given(values=st.lists(st.floats(-10, 10), min_size=2, max_size=8))
def test_energy_is_least_at_constant_speed(values: list[float]) -> None:
    points = torch.tensor(values, dtype=torch.float64)[:, None]
    segments = len(values) - 1
    assert curve_energy(points) >= curve_length(points) ** 2 / segments * (1 - 1e-12)
    even = torch.linspace(0, curve_length(points), segments + 1, dtype=torch.float64)[:, None]
    assert curve_energy(even) == pytest.approx(curve_length(even) ** 2 / segments, rel=1e-9)


def test_semantic_lengths_are_additive_angles() -> None:
    """Of a plane that turns steadily about one axis: the angle of each step, however its basis is chosen."""
    angles = [0.0, 0.1, 0.3, 0.35, 1.2]
    found = semantic_lengths([turning_plane(angle) for angle in angles])
    assert found.tolist() == pytest.approx([0.1, 0.2, 0.05, 0.85], abs=1e-9)
    whole = semantic_lengths([turning_plane(0.0), turning_plane(1.2)])
    assert float(found.sum()) == pytest.approx(float(whole.sum()), abs=1e-9)
    coarse = semantic_lengths([turning_plane(angle) for angle in angles[::2]])
    assert float(coarse.sum()) == pytest.approx(float(found.sum()), abs=1e-9)


def test_no_curve_has_no_semantic_length() -> None:
    plane = turning_plane(0.4)
    turn = torch.tensor([[0.0, 2.0], [-1.0, 0.5]], dtype=torch.float64)
    assert semantic_lengths([plane, turn @ plane, plane]).tolist() == pytest.approx([0, 0], abs=1e-12)


def line_between(a: Tensor, b: Tensor, count: int) -> Tensor:
    weights = torch.linspace(0, 1, count, dtype=a.dtype).reshape(-1, *[1] * a.ndim)
    return torch.lerp(a, b, weights)


def chords(features: Tensor) -> Tensor:
    return features.diff(dim=0).flatten(1).norm(dim=1)


def paraboloid(z: Tensor) -> Tensor:
    return torch.cat([z, 2 * z.square().sum(-1, keepdim=True)], -1)


@pytest.fixture
def arc() -> tuple[Tensor, float]:
    """A straight line in the chart between two points of the sphere, and the angle between them."""
    a, b = (torch.tensor(values, dtype=torch.float64) for values in ([0.9, 0.1, 0.4], [-0.3, 0.9, 0.3]))
    angle = math.acos(float(a @ b / a.norm() / b.norm()))
    return line_between(sphere_point(a), sphere_point(b), 9), angle


def test_on_a_sphere_it_is_the_great_circle(arc: tuple[Tensor, float]) -> None:
    """8 chords of an arc of angle a are each 2 sin(a / 16) long. The gradient left over, 1e-3 of the energy, moves the
    energy by less than 1e-4 of itself, the length by half of that, and single points a little more."""
    line, angle = arc
    found = shortest_curve(sphere, line)
    on_sphere = sphere(found.points)
    chord = 2 * math.sin(angle / 16)
    assert found.converged
    assert chords(on_sphere).sum().item() == pytest.approx(8 * chord, rel=5e-5)
    assert chords(on_sphere).tolist() == pytest.approx([chord] * 8, rel=5e-3)
    normal = torch.linalg.cross(on_sphere[0], on_sphere[-1])
    assert float((on_sphere @ (normal / normal.norm())).abs().max()) < 2e-3
    assert found.energy[1] == pytest.approx(float(chords(on_sphere).square().sum()))
    assert found.energy[1] == pytest.approx((8 * chord) ** 2 / 8, rel=1e-4)
    assert found.energy[0] == pytest.approx(float(chords(sphere(line)).square().sum()))
    assert found.energy[1] < 0.97 * found.energy[0]


@pytest.mark.slow
@given(seed=st.integers(0, 1000), wiggle=st.floats(0, 2))
def test_a_linear_map_has_straight_lines(seed: int, wiggle: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.linalg.qr(torch.randn(6, 3, generator=generator, dtype=torch.float64))[0]
    ends = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    line = line_between(ends[0], ends[1], 6)
    start = line.clone()
    start[1:-1] += wiggle * torch.randn(4, 3, generator=generator, dtype=torch.float64)
    found = shortest_curve(lambda z: z @ matrix.T, start, steps=100)
    assert torch.equal(found.points[[0, -1]], start[[0, -1]])
    assert found.energy[1] <= found.energy[0]
    straight = float((ends[1] - ends[0]).norm())
    assert found.energy[1] <= straight**2 / 5 + 1e-3 * found.energy[0]
    if wiggle == 0:
        assert torch.allclose(found.points, line, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_it_is_never_longer_than_an_even_start(steps: int) -> None:
    """However soon it is broken off; here the start goes evenly along a circle of latitude, the long way round."""
    turn = torch.linspace(0, 4.0, 12, dtype=torch.float64)
    start = 1.6 * torch.stack([turn.cos(), turn.sin()], 1)
    found = shortest_curve(sphere, start, steps=steps)
    assert found.energy[1] <= found.energy[0]
    assert float(chords(sphere(found.points)).sum()) <= float(chords(sphere(start)).sum()) * (1 + 1e-12)
    assert found.steps >= steps or found.converged


def test_nothing_to_do() -> None:
    two = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    found = shortest_curve(paraboloid, two)
    assert torch.equal(found.points, two)
    assert found.converged
    flat = shortest_curve(lambda z: torch.zeros(len(z), 1), torch.ones(4, 2).cumsum(0))
    assert flat.energy == (0.0, 0.0)
    assert flat.converged


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ShapeError):
        shortest_curve(paraboloid, torch.zeros(1, 2))
    with pytest.raises(ConfigError):
        shortest_curve(paraboloid, torch.zeros(3, 2), steps=0)
    with pytest.raises(ConvergenceError):
        shortest_curve(lambda z: z / 0, torch.ones(3, 2))
