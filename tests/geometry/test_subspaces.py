"""Principal angles and the Grassmann manifold, against known angles and pymanopt."""

import math

import numpy as np
import pymanopt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentedit.geometry.subspaces import (
    exp_columns,
    geodesic_distance,
    log_columns,
    orthonormal_columns,
    principal_angles,
    random_level,
)
from tests.geometry.examples import random_normal, random_orthogonal


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-9, 1e-6, math.pi / 2 - 1e-9, math.pi / 2])
def test_angles_near_zero_and_pi_over_2_are_exact(angle: float) -> None:
    """Cosines alone would lose angles below 1e-8."""
    a = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    b = torch.tensor([[math.cos(angle), math.sin(angle), 0.0]], dtype=torch.float64)
    assert float(principal_angles(a, b)[0]) == pytest.approx(angle, abs=1e-15)


def test_nested_and_orthogonal_subspaces() -> None:
    b = random_normal(4, 3, 5)
    a = torch.stack([b[0] - b[2], b[1] + 2 * b[3]])
    assert float(principal_angles(a, b).max()) < 1e-13
    c = random_normal(3, 3, 5, seed=1)
    assert torch.allclose(principal_angles(c, b), principal_angles(b, c), atol=1e-13)
    axes = random_orthogonal(6)
    assert principal_angles(axes[:2], axes[2:]).tolist() == pytest.approx([math.pi / 2] * 2, abs=1e-15)
    assert geodesic_distance(axes[:2], axes[2:4]) == pytest.approx(math.pi / 2 * 2**0.5, abs=1e-12)


@given(st.integers(1, 5), st.integers(0, 20))
def test_orthonormal_columns_match_gram_schmidt(count: int, seed: int) -> None:
    """Orthonormal vectors are kept, with their signs."""
    vectors = random_normal(count, 2, 3, seed=seed)
    result = orthonormal_columns(100 * vectors)
    previous: list[torch.Tensor] = []
    for vector in vectors.flatten(1):
        remainder = vector - sum((previous[index] @ vector) * previous[index] for index in range(len(previous)))
        previous.append(remainder / remainder.norm())
    assert torch.allclose(result, torch.stack(previous, dim=1), atol=1e-10)
    assert torch.allclose(orthonormal_columns(-result.T), -result, atol=1e-13)


angle = st.floats(0, math.pi / 2 - 1e-3)
seeds = st.integers(0, 1000)


def subspaces_at_angles(angles: list[float], dimension: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Orthonormal rows of two subspaces at known angles: ``b_k = cos a_k + sin e_(r + k)``, randomly rotated."""
    rank = len(angles)
    theta = torch.tensor(angles, dtype=torch.float64)
    axes = random_orthogonal(dimension, seed)
    first, orthogonal = axes[:rank], axes[rank : 2 * rank]
    return first, theta.cos().unsqueeze(1) * first + theta.sin().unsqueeze(1) * orthogonal


@given(st.lists(angle, min_size=1, max_size=3), seeds)
def test_distances_of_subspaces_at_known_angles(angles: list[float], seed: int) -> None:
    """For any basis and feature shape. Angles are exact to about 1e-15."""
    a, b = subspaces_at_angles(angles, 8, seed)
    mixed = (
        torch.eye(len(angles), dtype=torch.float64) + 0.3 * random_normal(len(angles), len(angles), seed=seed).tanh()
    ) @ b
    spaces = (3 * a).reshape(-1, 2, 4), mixed.reshape(-1, 2, 4)
    assert geodesic_distance(*spaces) == pytest.approx(math.hypot(*angles), abs=1e-12)
    assert principal_angles(*spaces).tolist() == pytest.approx(sorted(angles), abs=1e-13)


def test_small_distances_and_angles_are_exact() -> None:
    """Cosines alone would give 0. ``b = a + theta e`` up to theta^2, so the logarithm is ``b - a``."""
    assert geodesic_distance(*subspaces_at_angles([1e-9, 2e-9, 2e-9], 40)) == pytest.approx(3e-9, rel=1e-5)
    for scale in (1e-9, 1e-6):
        a, b = (rows.T for rows in subspaces_at_angles([scale, 2 * scale, 3 * scale], 10))
        assert float((log_columns(a, b) - (b - a)).norm()) < 1e-5 * scale
    full_space = random_orthogonal(4, 1)
    assert float(log_columns(full_space, random_orthogonal(4)).norm()) < 1e-13  # the only subspace of its dimension


def test_distance_logarithm_and_exponential_match_pymanopt() -> None:
    manifold = pymanopt.manifolds.Grassmann(9, 3)
    for seed in range(5):
        a, b = (orthonormal_columns(random_normal(3, 9, seed=2 * seed + index)) for index in range(2))
        start, end = a.numpy(), b.numpy()
        assert geodesic_distance(a.T, b.T) == pytest.approx(manifold.dist(start, end), abs=1e-7)
        tangent = log_columns(a, b)
        assert np.allclose(tangent.numpy(), manifold.log(start, end), atol=1e-9)
        expected = torch.from_numpy(manifold.exp(start, 0.7 * tangent.numpy()))
        assert geodesic_distance(exp_columns(a, 0.7 * tangent).T, expected.T) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize(("dimension", "rank"), [(6, 2), (7, 3), (5, 4), (9, 1)])
def test_random_level_matches_sampled_subspaces(dimension: int, rank: int) -> None:
    """Against spans of normal vectors, which are uniform."""
    result = random_level(dimension, rank, draws=2000, seed=3)
    pairs = zip(random_normal(1000, rank, dimension, seed=1), random_normal(1000, rank, dimension, seed=2), strict=True)
    sampled = torch.tensor([geodesic_distance(a, b) for a, b in pairs], dtype=torch.float64)
    error = float(sampled.std()) * (1 / 1000 + 1 / 2000) ** 0.5
    assert result.mean == pytest.approx(float(sampled.mean()), abs=4 * error)
    for bound, share in ((result.low, 0.025), (result.high, 0.975)):
        assert float((sampled <= bound).double().mean()) == pytest.approx(share, abs=0.025)
