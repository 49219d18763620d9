import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.errors import ShapeError
from latentedit.core.geometry.angles import principal_angles
from latentedit.core.geometry.curves import curve_energy, curve_length, semantic_lengths, speeds


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
    with pytest.raises(ShapeError, match="two points"):
        speeds(torch.zeros(1, 3))
    with pytest.raises(ShapeError, match="two tangent spaces"):
        semantic_lengths([torch.zeros(1, 3)])


def test_features_of_any_shape_and_all_angles_count() -> None:
    a, b = (torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    angles = principal_angles(a, b)
    assert float(semantic_lengths([a, b])) == pytest.approx(float(angles.norm()), rel=1e-9)
