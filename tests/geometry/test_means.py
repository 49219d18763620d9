"""Vectors that match, and means of bases, subspaces and rotations, against pymanopt and scipy."""

import itertools
import math

import numpy as np
import pymanopt
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.geometry.means import (
    aligned_basis,
    chordal_mean,
    chordal_rotation,
    karcher_mean,
    karcher_rotation,
    match,
    matched_mean,
    unit_rows,
)
from latentedit.geometry.subspaces import exp_columns, geodesic_distance, log_columns, orthonormal_columns
from tests.geometry.drawn import gaussian, rotation

seeds = st.integers(0, 1000)


def rows(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return rotation(size, seed)[:count]


def shuffled(basis: torch.Tensor, seed: int, noise: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The basis in another order and with other signs, with where each of its vectors went and with what sign."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.randperm(len(basis), generator=generator)
    signs = 2.0 * torch.randint(2, (len(basis),), generator=generator).double() - 1
    other = torch.empty_like(basis)
    other[place] = signs.reshape(-1, *[1] * (basis.ndim - 1)) * basis
    return other + noise * torch.randn(basis.shape, generator=generator, dtype=torch.float64), place, signs


@given(st.integers(1, 6), seeds)
def test_order_and_signs_are_found_under_noise(count: int, seed: int) -> None:
    """Noise of length about 0.3 turns no orthonormal vector past another: the right cosines stay near 0.95."""
    basis = rows(count, 12, seed).reshape(count, 3, 4)
    other, place, signs = shuffled(basis, seed, noise=0.08)
    found = match(5 * basis, 0.1 * other)
    assert torch.equal(found.order, place)
    assert torch.equal(found.signs, signs)
    assert torch.allclose(found.applied(other), signs.reshape(-1, 1, 1) * other[place])
    cosines = torch.nn.functional.cosine_similarity(found.applied(other).flatten(1), basis.flatten(1))
    assert torch.allclose(found.cosines, cosines, atol=1e-12)


@given(seeds)
def test_no_other_assignment_is_better(seed: int) -> None:
    """Against all ways to choose 3 of 5 vectors in order; far from orthogonal, where the greedy choice can be wrong."""
    reference, basis = gaussian(3, 4, seed=seed), gaussian(5, 4, seed=seed + 5000)
    cosines = torch.nn.functional.cosine_similarity(reference[:, None], basis[None], dim=2).abs()
    best = max(sum(float(cosines[k, j]) for k, j in enumerate(way)) for way in itertools.permutations(range(5), 3))
    found = match(reference, basis)
    assert float(found.cosines.sum()) == pytest.approx(best, abs=1e-12)
    assert len(set(found.order.tolist())) == 3


def test_what_does_not_match_is_refused() -> None:
    basis = rows(3, 5)
    for bad in (torch.zeros(3, 5), torch.full((3, 5), torch.nan), torch.zeros(0, 5)):
        with pytest.raises(ConfigError):
            unit_rows(bad)
    with pytest.raises(ConfigError):
        match(basis, torch.cat([basis[:2], torch.zeros(1, 5, dtype=torch.float64)]))
    with pytest.raises(ShapeError):
        matched_mean([])
    with pytest.raises((ShapeError, TypeError)):
        matched_mean([basis, rows(3, 6)])


def test_sets_that_agree_are_homogeneous_and_one_set_is_its_own_mean() -> None:
    basis = rows(3, 6)
    found = matched_mean([basis, shuffled(basis, 1)[0], shuffled(basis, 2)[0]])
    assert torch.allclose(found.vectors, basis, atol=1e-14)
    cosines = torch.stack([matching.cosines for matching in found.matchings])
    assert torch.allclose(cosines, torch.ones(3, 3, dtype=torch.float64), atol=1e-14)
    assert torch.allclose(matched_mean([2 * basis]).vectors, basis, atol=1e-14)


def test_rounds_improve_what_a_bad_first_set_has_matched() -> None:
    """Sets with so much noise that the first is a poor reference; seeds of which most need more than one round."""
    needed = 0
    for seed in range(4):
        basis = rows(6, 12, seed)
        samples = [shuffled(basis, 50 * seed + index, noise=0.3)[0] for index in range(12)]
        once, often = matched_mean(samples, rounds=1), matched_mean(samples, rounds=50)
        assert often.converged
        total, before = (sum(float(one.cosines.sum()) for one in mean.matchings) for mean in (often, once))
        assert total >= before - 1e-12
        assert once.converged == torch.equal(once.vectors, often.vectors)
        needed += not once.converged
    assert needed


def near(center: torch.Tensor, count: int, noise: float, seed: int = 0) -> list[torch.Tensor]:
    return [center + noise * gaussian(*center.shape, seed=1000 * seed + index + 1) for index in range(count)]


def small_turns(rank: int, count: int, size: float, seed: int = 0) -> list[torch.Tensor]:
    """Rotations in pairs of opposite ones, so that their Karcher mean is the identity."""
    halves = [size * gaussian(rank, rank, seed=100 * seed + index) for index in range(count // 2)]
    return [torch.linalg.matrix_exp(sign * (half - half.T)) for half in halves for sign in (1, -1)]


@pytest.mark.slow
@given(seeds)
def test_the_mean_of_two_spaces_is_the_middle_of_the_way(seed: int) -> None:
    """Both means; gradients within 1e-10 put the Karcher mean within about as much. Angles here reach 1.3."""
    a = gaussian(3, 2, 4, seed=seed)
    b = a + 0.8 * gaussian(3, 2, 4, seed=seed + 2000)
    start, end = orthonormal_columns(a), orthonormal_columns(b)
    middle = exp_columns(start, 0.5 * log_columns(start, end)).T.reshape(a.shape)
    found = karcher_mean([a, b])
    assert found.converged
    assert found.basis.shape == a.shape
    assert geodesic_distance(found.basis, middle) < 1e-8
    assert geodesic_distance(chordal_mean([a, b]), middle) < 1e-8


def test_the_chordal_mean_is_the_top_of_the_sum_of_projectors() -> None:
    """Formed here, of 8 numbers a vector; also with more vectors in all than dimensions, and of vectors that repeat."""
    for count in (2, 5):
        bases = near(rotation(8)[:3], count, 0.3) + near(rotation(8)[:3], 1, 0.3)
        total = sum(orthonormal_columns(basis) @ orthonormal_columns(basis).T for basis in bases)
        top = torch.linalg.eigh(total)[1][:, -3:]
        found = chordal_mean([basis.reshape(3, 2, 4) for basis in bases])
        assert found.shape == (3, 2, 4)
        assert geodesic_distance(found.flatten(1), top.T) < 1e-12
        assert torch.allclose(found.flatten(1) @ found.flatten(1).T, torch.eye(3, dtype=torch.float64), atol=1e-13)
        assert torch.allclose((found.flatten(1) @ total).norm(dim=1), torch.linalg.eigvalsh(total)[-3:].flip(0))
        assert bool((found.flatten(1).amax(1) == found.flatten(1).abs().amax(1)).all())


def test_the_karcher_mean_is_where_pymanopt_ends() -> None:
    """Its gradient, from its logarithms, vanishes there; its solver, from a sample, gets there and no lower."""
    bases = near(rotation(9)[:2], 5, 0.35)
    points = [orthonormal_columns(basis).numpy() for basis in bases]
    found = karcher_mean(bases)
    mean = orthonormal_columns(found.basis).numpy()
    manifold = pymanopt.manifolds.Grassmann(9, 2)

    @pymanopt.function.numpy(manifold)
    def cost(x: np.ndarray) -> float:
        return sum(manifold.dist(x, point) ** 2 for point in points) / (2 * len(points))

    @pymanopt.function.numpy(manifold)
    def gradient(x: np.ndarray) -> np.ndarray:
        return -sum(manifold.log(x, point) for point in points) / len(points)

    assert found.converged
    assert found.gradient_norm <= 1e-10
    assert np.linalg.norm(gradient(mean)) < 2e-10
    problem = pymanopt.Problem(manifold, cost, riemannian_gradient=gradient)
    solver = pymanopt.optimizers.ConjugateGradient(verbosity=0, min_gradient_norm=1e-8, max_iterations=100)
    solved = solver.run(problem, initial_point=points[0])
    assert cost(mean) <= solved.cost + 1e-12
    # The cost curves about like 1 near its minimum: a gradient of 1e-6 at worst leaves a distance of that order.
    assert geodesic_distance(found.basis, torch.from_numpy(solved.point.T.copy())) < 1e-5
    # The chordal mean, from which it starts, is another subspace.
    assert geodesic_distance(found.basis, chordal_mean(bases)) > 1e-4


def test_one_space_is_its_own_mean_and_steps_can_run_out() -> None:
    base = gaussian(3, 8)
    alone = karcher_mean([base])
    assert (alone.steps, alone.converged) == (0, True)
    assert geodesic_distance(alone.basis, base) < 1e-13
    assert geodesic_distance(karcher_mean([rotation(3), gaussian(3, 3)]).basis, rotation(3)) < 1e-13
    bases = near(rotation(9)[:2], 5, 0.35)
    stopped = karcher_mean(bases, most_steps=1)
    assert (stopped.steps, stopped.converged) == (1, False)
    assert 1e-10 < stopped.gradient_norm < karcher_mean(bases, most_steps=0).gradient_norm


def test_the_chordal_mean_of_rotations_is_that_of_scipy() -> None:
    many = Rotation.from_rotvec(0.6 * gaussian(7, 3).numpy()) * Rotation.from_euler("z", 2.0)
    found = chordal_rotation(torch.from_numpy(many.as_matrix()))
    assert np.allclose(found.numpy(), many.mean().as_matrix(), atol=1e-12)


def test_the_karcher_mean_of_rotations_is_a_critical_point() -> None:
    """By scipy's logm, which knows nothing of rotations; of a dimension with and one without a fixed axis."""
    for size in (4, 5):
        rotations = torch.stack([rotation(size) @ turn for turn in small_turns(size, 6, 0.25)])[:5]
        found = karcher_rotation(rotations)
        logs = [scipy.linalg.logm((found.basis.T @ one).numpy()) for one in rotations]
        assert found.converged
        assert np.linalg.norm(sum(logs)) < 1e-9
        assert float((found.basis - chordal_rotation(rotations)).norm()) > 1e-4
    angles = [0.1, 0.4, 1.2]
    flat = torch.tensor([[[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]] for t in angles]).double()
    middle = karcher_rotation(flat)
    assert math.atan2(middle.basis[1, 0], middle.basis[0, 0]) == pytest.approx(sum(angles) / 3)


def test_samples_outside_the_mean_are_projected_onto_it() -> None:
    """Rotations are the polar factors of the samples' coordinates in the mean, after matching."""
    mean = rotation(12)[:3]
    samples = near(mean, 8, 0.05)
    found = aligned_basis(mean, samples)
    for sample, turn in zip(samples, found.rotations, strict=True):
        unit = orthonormal_columns(sample).T
        polar = torch.from_numpy(scipy.linalg.polar((unit @ mean.T).numpy())[0])
        assert torch.allclose(match(turn, polar).applied(polar), turn, atol=1e-12)
    assert geodesic_distance(found.vectors, mean) < 1e-12
    # An error of 0.05 an entry in each of 8 samples, and the mean of them.
    back = match(found.vectors, mean)
    assert float((found.vectors - back.applied(mean)).norm(dim=1).max()) < 0.1
    assert torch.allclose(found.vectors @ found.vectors.T, torch.eye(3, dtype=torch.float64), atol=1e-12)


def test_what_has_no_mean_is_refused() -> None:
    turn = rotation(6)
    for mean in (chordal_mean, karcher_mean):
        with pytest.raises(ConfigError):
            mean([turn[:2], turn[2:4]])
        with pytest.raises(ShapeError):
            mean([])
        with pytest.raises(ShapeError):
            mean([turn[:2], turn[:3]])
    with pytest.raises(ConfigError):  # three lines, of which one is at a right angle to the others
        karcher_mean([turn[:1], turn[:1], turn[1:2]])
    with pytest.raises(ConfigError):
        aligned_basis(turn[:2], [turn[:2], turn[1:3]])
    with pytest.raises(ShapeError):
        aligned_basis(turn[:2], [])
    with pytest.raises(ShapeError):
        aligned_basis(turn[:2], [turn[:3]])
    with pytest.raises(ConfigError):
        karcher_rotation(torch.stack([torch.eye(3), torch.eye(3), torch.diag(torch.tensor([-1.0, -1, 1]))]).double())
