"""Interpolation, lengths of curves and shortest curves, against closed forms and SciPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import geometric_slerp
from torch import Tensor

from latentedit.geometry.curves import curve_energy, curve_length, lerp, semantic_lengths, shortest_curve, slerp, speeds
from tests.geometry.examples import random_normal, sphere, sphere_point


def vectors_at_angle(angle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two unit vectors ``[3]`` at this angle, in a random plane."""
    plane = torch.linalg.qr(random_normal(3, 3))[0]
    return plane[0], math.cos(angle) * plane[0] + math.sin(angle) * plane[1]


def test_a_list_of_weights_gives_a_point_for_each() -> None:
    """It gave the first one alone."""
    a, b = random_normal(2, 8)
    for curve in (lerp, slerp):
        points = curve(a, b, [0.0, 0.5, 1.0])  # type: ignore[arg-type]
        assert points.shape == (3, 8)
        assert torch.equal(points[1], curve(a, b, 0.5))


@pytest.mark.parametrize("interpolate", [lerp, slerp])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_ends_are_exact_and_the_dtype_is_kept(interpolate, dtype: torch.dtype) -> None:
    a, b = random_normal(2, 3, 4).to(dtype), random_normal(2, 3, 4, seed=1).to(dtype)
    a[0, 0, 0] = -0.0
    points = interpolate(a, b, torch.tensor([0.0, 0.5, 1.0]))
    assert points.shape == (3, 2, 3, 4)
    assert points.dtype == dtype
    for point, end in ((points[0], a), (points[2], b), (interpolate(a, b, 0.0), a), (interpolate(a, b, 1.0), b)):
        assert point.shape == a.shape
        assert torch.equal(point, end)
        assert torch.equal(point.signbit(), end.signbit())
    assert torch.equal(points[1], interpolate(a, b, 0.5))


def test_lerp_is_the_straight_line() -> None:
    a, b = random_normal(5), random_normal(5, seed=1)
    assert torch.allclose(lerp(a, b, 0.25), 0.75 * a + 0.25 * b, atol=1e-15)
    assert torch.allclose(lerp(a, b, -1.0), 2 * a - b, atol=1e-15)


@given(st.floats(1e-3, math.pi - 1e-2), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_slerp_of_unit_vectors_matches_scipy(angle: float, weights: list[float]) -> None:
    """Division by sin(angle) amplifies rounding errors, up to 1,000 times here."""
    a, b = vectors_at_angle(angle)
    result = slerp(a, b, torch.tensor(weights, dtype=torch.float64))
    assert np.allclose(result.numpy(), geometric_slerp(a.numpy(), b.numpy(), np.array(weights)), atol=1e-12)


def test_slerp_of_vectors_of_different_lengths() -> None:
    a = random_normal(6)
    assert torch.allclose(slerp(a, 3 * a, 0.5), 2 * a, atol=1e-14)
    assert torch.allclose(slerp(a, a, 0.7), a, atol=1e-15)
    plane = torch.linalg.qr(random_normal(4, 4))[0]  # for orthogonal vectors the weights are cos and sin
    expected = 2 * math.cos(math.pi / 6) * plane[0] + 5 * math.sin(math.pi / 6) * plane[1]
    assert torch.allclose(slerp(2 * plane[0], 5 * plane[1], 1 / 3), expected, atol=1e-14)


def rotated_plane(angle: float) -> Tensor:
    """A plane in R^4, rotated by an angle about one of its axes; its basis is not orthonormal and changes, too."""
    plane = torch.zeros(2, 4, dtype=torch.float64)
    plane[0, 0], plane[0, 1], plane[1, 2] = math.cos(angle), math.sin(angle), 1
    change_of_basis = torch.tensor([[1.0, 0.3 * angle], [-0.7, 1.0]], dtype=torch.float64)
    return change_of_basis @ plane


def test_lengths_of_a_staircase() -> None:
    """Orthogonal steps of 3, 4 and 12, with features of shape 2 x 2 in float32."""
    points = torch.tensor([[0.0, 0, 0, 0], [3, 0, 0, 0], [3, 4, 0, 0], [3, 4, 12, 0]]).reshape(4, 2, 2)
    assert speeds(points).tolist() == [3, 4, 12]
    assert speeds(points).dtype == torch.float64
    assert curve_length(points) == 19
    assert curve_energy(points) == 9 + 16 + 144


def test_semantic_lengths_are_additive_angles() -> None:
    """A plane that rotates about one axis: the angle of each step, for any basis."""
    angles = [0.0, 0.1, 0.3, 0.35, 1.2]
    result = semantic_lengths([rotated_plane(angle) for angle in angles])
    assert result.tolist() == pytest.approx([0.1, 0.2, 0.05, 0.85], abs=1e-9)
    direct = semantic_lengths([rotated_plane(0.0), rotated_plane(1.2)])
    assert float(result.sum()) == pytest.approx(float(direct.sum()), abs=1e-9)
    coarse = semantic_lengths([rotated_plane(angle) for angle in angles[::2]])
    assert float(coarse.sum()) == pytest.approx(float(result.sum()), abs=1e-9)


def line_between(a: Tensor, b: Tensor, count: int) -> Tensor:
    weights = torch.linspace(0, 1, count, dtype=a.dtype).reshape(-1, *[1] * a.ndim)
    return torch.lerp(a, b, weights)


def chord_lengths(features: Tensor) -> Tensor:
    return features.diff(dim=0).flatten(1).norm(dim=1)


def paraboloid(z: Tensor) -> Tensor:
    return torch.cat([z, 2 * z.square().sum(-1, keepdim=True)], -1)


@pytest.fixture
def arc() -> tuple[Tensor, float]:
    """A straight line in the chart between two points of the sphere, and the angle between them."""
    a, b = (torch.tensor(values, dtype=torch.float64) for values in ([0.9, 0.1, 0.4], [-0.3, 0.9, 0.3]))
    angle = math.acos(float(a @ b / a.norm() / b.norm()))
    return line_between(sphere_point(a), sphere_point(b), 9), angle


def test_the_shortest_curve_on_a_sphere_is_the_great_circle(arc: tuple[Tensor, float]) -> None:
    """Each of 8 chords of an arc of angle a has length 2 sin(a / 16).

    The remaining gradient, 1e-3 of the energy, changes the energy by less than 1e-4 of itself, the length by half of
    that, and single points a little more.
    """
    line, angle = arc
    result = shortest_curve(sphere, line)
    on_sphere = sphere(result.points)
    chord = 2 * math.sin(angle / 16)
    assert result.converged
    assert chord_lengths(on_sphere).sum().item() == pytest.approx(8 * chord, rel=5e-5)
    assert chord_lengths(on_sphere).tolist() == pytest.approx([chord] * 8, rel=5e-3)
    normal = torch.linalg.cross(on_sphere[0], on_sphere[-1])
    assert float((on_sphere @ (normal / normal.norm())).abs().max()) < 2e-3
    assert result.energy[1] == pytest.approx(float(chord_lengths(on_sphere).square().sum()))
    assert result.energy[1] == pytest.approx((8 * chord) ** 2 / 8, rel=1e-4)
    assert result.energy[0] == pytest.approx(float(chord_lengths(sphere(line)).square().sum()))
    assert result.energy[1] < 0.97 * result.energy[0]


@given(seed=st.integers(0, 1000), perturbation=st.floats(0, 2))
def test_shortest_curves_of_linear_maps_are_straight(seed: int, perturbation: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.linalg.qr(torch.randn(6, 3, generator=generator, dtype=torch.float64))[0]
    ends = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    line = line_between(ends[0], ends[1], 6)
    start = line.clone()
    start[1:-1] += perturbation * torch.randn(4, 3, generator=generator, dtype=torch.float64)
    result = shortest_curve(lambda z: z @ matrix.T, start, steps=100)
    assert torch.equal(result.points[[0, -1]], start[[0, -1]])
    assert result.energy[1] <= result.energy[0]
    distance = float((ends[1] - ends[0]).norm())
    assert result.energy[1] <= distance**2 / 5 + 1e-3 * result.energy[0]
    if perturbation == 0:
        assert torch.allclose(result.points, line, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_shortest_curve_is_never_longer_than_its_start(steps: int) -> None:
    """For any number of steps; the start follows a circle of latitude at constant speed, the long way around."""
    angles = torch.linspace(0, 4.0, 12, dtype=torch.float64)
    start = 1.6 * torch.stack([angles.cos(), angles.sin()], 1)
    result = shortest_curve(sphere, start, steps=steps)
    assert result.energy[1] <= result.energy[0]
    assert float(chord_lengths(sphere(result.points)).sum()) <= float(chord_lengths(sphere(start)).sum()) * (1 + 1e-12)
    assert result.steps >= steps or result.converged


def test_two_points_and_constant_features_converge_at_once() -> None:
    points = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    result = shortest_curve(paraboloid, points)
    assert torch.equal(result.points, points)
    assert result.converged
    constant = shortest_curve(lambda z: torch.zeros(len(z), 1), torch.ones(4, 2).cumsum(0))
    assert constant.energy == (0.0, 0.0)
    assert constant.converged
