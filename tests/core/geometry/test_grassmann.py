import math

import numpy as np
import pymanopt
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.geometry.angles import orthonormal_columns, principal_angles
from latentedit.core.geometry.grassmann import (
    chordal_distance,
    exponential,
    geodesic,
    geodesic_distance,
    logarithm,
    projection_distance,
    random_angles,
    random_level,
)

angle = st.floats(0, math.pi / 2 - 1e-3)
seeds = st.integers(0, 1000)


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(size: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(gaussian(size, size, seed=seed))[0]


def pair(angles: list[float], dimension: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Orthonormal bases, as rows, of two subspaces at known angles: ``b_k = cos a_k + sin e_(r + k)``, all turned."""
    rank = len(angles)
    theta = torch.tensor(angles, dtype=torch.float64)
    turn = rotation(dimension, seed)
    first, beyond = turn[:rank], turn[rank : 2 * rank]
    return first, theta.cos().unsqueeze(1) * first + theta.sin().unsqueeze(1) * beyond


def dense_projector(basis: torch.Tensor) -> np.ndarray:
    return basis.numpy().T @ np.linalg.pinv(basis.numpy().T)


@given(st.lists(angle, min_size=1, max_size=3), seeds)
def test_distances_of_spaces_at_known_angles(angles: list[float], seed: int) -> None:
    """Bases are mixed, and a common shape is given: neither matters. Angles are exact to about 1e-15."""
    a, b = pair(angles, 8, seed)
    mixed = (
        torch.eye(len(angles), dtype=torch.float64) + 0.3 * gaussian(len(angles), len(angles), seed=seed).tanh()
    ) @ b
    spaces = (3 * a).reshape(-1, 2, 4), mixed.reshape(-1, 2, 4)
    assert geodesic_distance(*spaces) == pytest.approx(math.hypot(*angles), abs=1e-12)
    assert chordal_distance(*spaces) == pytest.approx(math.hypot(*map(math.sin, angles)), abs=1e-12)
    assert projection_distance(*spaces) == pytest.approx(math.sin(max(angles)), abs=1e-12)


@given(seeds)
def test_distances_are_norms_of_the_difference_of_projectors(seed: int) -> None:
    a, b = gaussian(3, 7, seed=seed), gaussian(3, 7, seed=seed + 1)
    difference = dense_projector(a) - dense_projector(b)
    assert projection_distance(a, b) == pytest.approx(np.linalg.norm(difference, 2), abs=1e-10)
    assert chordal_distance(a, b) == pytest.approx(np.linalg.norm(difference) / math.sqrt(2), abs=1e-10)


@pytest.mark.parametrize("distance", [geodesic_distance, chordal_distance, projection_distance])
def test_a_distance_of_a_billionth_is_exact(distance) -> None:
    """The sines are known to 1e-16, so the smallest angle, 1e-9, to 1e-7 of itself; cosines alone would give 0."""
    angles = [1e-9, 2e-9, 2e-9]
    want = 2e-9 if distance is projection_distance else 3e-9
    assert distance(*pair(angles, 40)) == pytest.approx(want, rel=1e-5)


@given(seeds)
def test_the_distance_is_a_metric_and_sees_only_the_subspaces(seed: int) -> None:
    a, b, c = (gaussian(2, 6, seed=3 * seed + index) for index in range(3))
    assert geodesic_distance(a, c) <= geodesic_distance(a, b) + geodesic_distance(b, c) + 1e-12
    turn = rotation(6, seed)
    assert geodesic_distance(a @ turn, rotation(2, seed) @ b @ turn) == pytest.approx(
        geodesic_distance(b, a), abs=1e-12
    )
    assert geodesic_distance(a, 2 * a) < 1e-14


def test_orthogonal_spaces_and_different_ranks() -> None:
    turn = rotation(9)
    assert geodesic_distance(turn[:4], turn[4:8]) == pytest.approx(math.pi / 2 * 2, abs=1e-12)
    assert geodesic_distance(turn[:1], turn[:5]) < 1e-14
    # One of two directions of the plane lies inside, the other at a right angle.
    assert geodesic_distance(turn[3:5], turn[:4]) == pytest.approx(math.pi / 2, abs=1e-12)
    assert chordal_distance(turn[:4], turn[3:5]) == pytest.approx(1, abs=1e-12)
    assert projection_distance(turn[3:5], turn[:4]) == pytest.approx(1, abs=1e-12)


def test_distance_logarithm_and_exponential_are_those_of_pymanopt() -> None:
    manifold = pymanopt.manifolds.Grassmann(9, 3)
    for seed in range(5):
        a, b = (gaussian(3, 9, seed=2 * seed + index) for index in range(2))
        start, end = orthonormal_columns(a).numpy(), orthonormal_columns(b).numpy()
        assert geodesic_distance(a, b) == pytest.approx(manifold.dist(start, end), abs=1e-7)
        tangent = logarithm(a, b)
        assert np.allclose(tangent.numpy().T, manifold.log(start, end), atol=1e-9)
        reached = torch.from_numpy(manifold.exp(start, 0.7 * tangent.numpy().T).T)
        assert geodesic_distance(exponential(a, 0.7 * tangent), reached) < 1e-12


@given(st.lists(angle, min_size=1, max_size=3), seeds, st.floats(-0.5, 1.0))
def test_a_geodesic_is_the_shortest_way_at_constant_speed(angles: list[float], seed: int, t: float) -> None:
    """Up to an angle of pi / 2 from the start, within which no shorter way around exists: 0.5 backwards is enough."""
    a, b = pair(angles, 9, seed)
    a, b = a.reshape(-1, 3, 3), (rotation(len(angles), seed) @ b).reshape(-1, 3, 3)
    length = math.hypot(*angles)
    tangent = logarithm(a, b)
    assert float(tangent.norm()) == pytest.approx(length, abs=1e-12)
    assert float((tangent.flatten(1) @ a.flatten(1).T).abs().max()) < 1e-14
    point = geodesic(a, b, t)
    assert point.shape == a.shape
    assert torch.allclose(
        point.flatten(1) @ point.flatten(1).T, torch.eye(len(angles), dtype=torch.float64), atol=1e-13
    )
    assert geodesic_distance(a, point) == pytest.approx(abs(t) * length, abs=1e-12)
    if t >= 0:
        assert geodesic_distance(point, b) == pytest.approx((1 - t) * length, abs=1e-12)
    assert geodesic_distance(geodesic(a, b, 1.0), b) < 1e-12


def test_the_rows_of_a_tangent_are_the_velocities_of_the_rows_of_the_base() -> None:
    """An orthonormal base is its own basis. Central differences at 1e-5 are wrong by 1e-10 |tangent|^3 and rounding."""
    base = rotation(7)[:3]
    tangent = logarithm(base, gaussian(3, 7, seed=1))
    ahead, behind = exponential(base, 1e-5 * tangent), exponential(base, -1e-5 * tangent)
    assert torch.allclose((ahead - behind) / 2e-5, tangent, atol=1e-8)


def test_the_logarithm_is_exact_at_small_angles() -> None:
    """Angles that no cosine tells apart: ``b = a + theta beyond`` up to theta^2, so the logarithm is ``b - a``."""
    for scale in (1e-9, 1e-6):
        a, b = pair([scale, 2 * scale, 3 * scale], 10)
        assert float((logarithm(a, b) - (b - a)).norm()) < 1e-5 * scale
    assert float(logarithm(a, a).norm()) < 1e-14
    assert geodesic_distance(geodesic(a, a, 0.5), a) < 1e-14


def test_a_whole_space_has_nowhere_to_go() -> None:
    whole = gaussian(4, 4)
    assert float(logarithm(whole, rotation(4)).norm()) < 1e-13
    assert geodesic_distance(geodesic(whole, rotation(4), 0.3), whole) < 1e-13


def test_what_has_no_logarithm_is_refused() -> None:
    turn = rotation(6)
    with pytest.raises(ConfigError, match="pi / 2"):
        logarithm(turn[:2], torch.stack([turn[0], turn[3]]))
    with pytest.raises(ConfigError, match="pi / 2"):
        geodesic(turn[:1], turn[1:2], 0.5)
    with pytest.raises((ShapeError, TypeError)):
        logarithm(turn[:2], turn[:3])
    with pytest.raises((ShapeError, TypeError)):
        exponential(turn[:2], turn[:3])
    with pytest.raises(ConfigError, match="orthogonal to the subspace"):
        exponential(turn[:2], 0.1 * turn[1:3])


@pytest.mark.parametrize(("dimension", "rank", "other"), [(6, 2, 2), (7, 3, 2), (5, 3, 4), (9, 1, 4)])
def test_random_angles_are_those_of_subspaces_drawn_at_random(dimension: int, rank: int, other: int) -> None:
    """Against normal vectors, whose span is uniform. A right law fails one of the tests of a row in 1,000 seeds."""
    found = random_angles(dimension, rank, other, draws=2000, seed=3)
    pairs = zip(gaussian(300, rank, dimension, seed=1), gaussian(300, other, dimension, seed=2), strict=True)
    direct = torch.stack([principal_angles(a, b) for a, b in pairs])
    assert found.shape == (2000, min(rank, other))
    assert bool((found.diff(dim=1) >= -1e-12).all())
    shared = max(0, rank + other - dimension)
    assert float(found[:, :shared].abs().sum()) < 1e-9 * 2000
    for column in range(shared, min(rank, other)):
        assert scipy.stats.ks_2samp(found[:, column], direct[:, column]).pvalue > 1e-3 / min(rank, other)
    lengths, drawn = found.norm(dim=1), direct.norm(dim=1)
    error = math.sqrt(float(lengths.var()) / 2000 + float(drawn.var()) / 300)
    assert abs(float(lengths.mean() - drawn.mean())) < 4 * error


def test_random_lines_have_known_angles() -> None:
    """Uniform in the plane; with a uniform cosine in space."""
    plane, space = random_angles(2, 1, draws=2000)[:, 0], random_angles(3, 1, draws=2000)[:, 0]
    assert scipy.stats.kstest(plane / (math.pi / 2), "uniform").pvalue > 1e-3
    assert scipy.stats.kstest(space.cos(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("dimension", "rank", "other"), [(12, 3, 5), (200_000, 8, 20)])
def test_the_mean_of_all_squared_cosines_is_known(dimension: int, rank: int, other: int) -> None:
    """``E tr(P_a P_b) = p q / n`` for any of the two fixed, for E P = (p / n) I."""
    shared = random_angles(dimension, rank, other, draws=400).cos().square().sum(1)
    assert abs(float(shared.mean()) - rank * other / dimension) < 4 * float(shared.std()) / 20


def test_the_random_level_of_a_large_space_is_nearly_that_of_orthogonal_ones() -> None:
    """It is less by at most the norm of what the angles lack of pi / 2, whose mean square is ``r^2 / n``."""
    level = random_level(200_000, 10, draws=50)
    limit = math.pi / 2 * math.sqrt(10)
    assert limit - 1.2 * math.sqrt(10 * 10 / 200_000) < level.low < level.mean < level.high < limit


def test_the_random_level_holds_95_percent_in_the_middle() -> None:
    level = random_level(10, 3, 4, draws=400, seed=5)
    fresh = random_angles(10, 3, 4, draws=2000, seed=6).norm(dim=1)
    assert 0.91 < float(((fresh > level.low) & (fresh < level.high)).double().mean()) < 0.98
    assert abs(level.mean - float(fresh.mean())) < 5 * float(fresh.std()) / 20
    assert float((fresh < level.low).double().mean()) > 0.005 < float((fresh > level.high).double().mean())
    assert level.mean == random_level(10, 3, 4, draws=400, seed=5).mean != random_level(10, 3, 4, draws=400).mean
    assert random_level(3, 3).high == pytest.approx(0, abs=1e-12)


def test_ranks_that_do_not_fit_are_refused() -> None:
    for bad in ((4, 5), (4, 0), (4, 2, 5)):
        with pytest.raises(ConfigError, match="expected ranks"):
            random_level(*bad)
    with pytest.raises(ConfigError, match="draw"):
        random_level(4, 2, draws=0)
