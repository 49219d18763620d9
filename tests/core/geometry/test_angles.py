import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.geometry.angles import orthonormal_columns, principal_angles


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(size: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(gaussian(size, size, seed=seed))[0]


@given(st.floats(0, math.pi / 2), st.floats(0, math.pi / 2), st.integers(0, 20))
def test_planes_at_known_angles(one: float, other: float, seed: int) -> None:
    """Two planes in five dimensions turned by two angles; any orthogonal map and any bases of them."""
    a = torch.eye(5, dtype=torch.float64)[:2]
    b = torch.zeros(2, 5, dtype=torch.float64)
    b[0, 0], b[0, 2], b[1, 1], b[1, 3] = math.cos(one), math.sin(one), math.cos(other), math.sin(other)
    turn = rotation(5, seed)
    mixed = (torch.eye(2, dtype=torch.float64) + 0.3 * gaussian(2, 2, seed=seed).tanh()) @ b
    found = principal_angles(7.0 * a @ turn, mixed @ turn)
    assert found.tolist() == pytest.approx(sorted([one, other]), abs=1e-13)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-9, 1e-6, math.pi / 2 - 1e-9, math.pi / 2])
def test_angles_near_both_ends_are_exact(angle: float) -> None:
    """A cosine alone would lose everything below 1e-8."""
    a = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    b = torch.tensor([[math.cos(angle), math.sin(angle), 0.0]], dtype=torch.float64)
    assert float(principal_angles(a, b)[0]) == pytest.approx(angle, abs=1e-15)


def test_a_subspace_of_another_is_at_no_angle_and_order_does_not_matter() -> None:
    b = gaussian(4, 3, 5)
    a = torch.stack([b[0] - b[2], b[1] + 2 * b[3]])
    assert float(principal_angles(a, b).max()) < 1e-13
    c = gaussian(3, 3, 5, seed=1)
    assert torch.allclose(principal_angles(c, b), principal_angles(b, c), atol=1e-13)


def test_the_complement_is_at_right_angles() -> None:
    turn = rotation(6)
    assert principal_angles(turn[:2], turn[2:]).tolist() == pytest.approx([math.pi / 2] * 2, abs=1e-15)


def test_bad_vectors_are_refused() -> None:
    vectors = gaussian(2, 4)
    with pytest.raises((ShapeError, TypeError)):
        principal_angles(vectors, gaussian(2, 5))
    for bad in (gaussian(0, 4), gaussian(5, 4), torch.zeros(1, 4), torch.stack([vectors[0], 2 * vectors[0]])):
        with pytest.raises(ConfigError, match="expected"):
            principal_angles(bad, vectors)


@given(st.integers(1, 5), st.integers(0, 20))
def test_orthonormal_columns_are_those_of_gram_and_schmidt(count: int, seed: int) -> None:
    """Column j is vector j less its part along those before; what is orthonormal stays, with its signs."""
    vectors = gaussian(count, 2, 3, seed=seed)
    found = orthonormal_columns(100 * vectors)
    before: list[torch.Tensor] = []
    for vector in vectors.flatten(1):
        left = vector - sum((before[index] @ vector) * before[index] for index in range(len(before)))
        before.append(left / left.norm())
    assert torch.allclose(found, torch.stack(before, dim=1), atol=1e-10)
    assert torch.allclose(orthonormal_columns(-found.T), -found, atol=1e-13)
