"""Matching of vectors, and means of bases, subspaces and rotations, against pymanopt and SciPy."""

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

from latentedit.geometry.means import (
    aligned_basis,
    chordal_mean,
    chordal_rotation,
    karcher_mean,
    karcher_rotation,
    match,
    matched_mean,
)
from latentedit.geometry.subspaces import exp_columns, geodesic_distance, log_columns, orthonormal_columns
from tests.geometry.examples import random_normal, random_orthogonal

seeds = st.integers(0, 1000)


def orthonormal_rows(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return random_orthogonal(size, seed)[:count]


def shuffled(basis: torch.Tensor, seed: int, noise: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The basis in another order, with other signs and noise; also the new position and sign of each vector."""
    generator = torch.Generator().manual_seed(seed)
    positions = torch.randperm(len(basis), generator=generator)
    signs = 2.0 * torch.randint(2, (len(basis),), generator=generator).double() - 1
    other = torch.empty_like(basis)
    other[positions] = signs.reshape(-1, *[1] * (basis.ndim - 1)) * basis
    return other + noise * torch.randn(basis.shape, generator=generator, dtype=torch.float64), positions, signs


@given(st.integers(1, 6), seeds)
def test_match_finds_order_and_signs_under_noise(count: int, seed: int) -> None:
    """Noise of length about 0.3 confuses no orthonormal vectors: matching cosines stay near 0.95."""
    basis = orthonormal_rows(count, 12, seed).reshape(count, 3, 4)
    other, positions, signs = shuffled(basis, seed, noise=0.08)
    result = match(5 * basis, 0.1 * other)
    assert torch.equal(result.order, positions)
    assert torch.equal(result.signs, signs)
    assert torch.allclose(result.applied(other), signs.reshape(-1, 1, 1) * other[positions])
    cosines = torch.nn.functional.cosine_similarity(result.applied(other).flatten(1), basis.flatten(1))
    assert torch.allclose(result.cosines, cosines, atol=1e-12)


@given(seeds)
def test_match_is_the_optimal_assignment(seed: int) -> None:
    """Against all ordered choices of 3 of 5 vectors, far from orthogonal, where a greedy choice can be wrong."""
    reference, basis = random_normal(3, 4, seed=seed), random_normal(5, 4, seed=seed + 5000)
    cosines = torch.nn.functional.cosine_similarity(reference[:, None], basis[None], dim=2).abs()
    best = max(
        sum(float(cosines[k, j]) for k, j in enumerate(choice)) for choice in itertools.permutations(range(5), 3)
    )
    result = match(reference, basis)
    assert float(result.cosines.sum()) == pytest.approx(best, abs=1e-12)
    assert len(set(result.order.tolist())) == 3


def test_more_rounds_improve_a_poor_first_match() -> None:
    """The noise makes the first set a poor reference, so most seeds need more than one round."""
    seeds_with_more_rounds = 0
    for seed in range(4):
        basis = orthonormal_rows(6, 12, seed)
        samples = [shuffled(basis, 50 * seed + index, noise=0.3)[0] for index in range(12)]
        one_round, many_rounds = matched_mean(samples, rounds=1), matched_mean(samples, rounds=50)
        assert many_rounds.converged
        total, total_of_one_round = (
            sum(float(matching.cosines.sum()) for matching in mean.matchings) for mean in (many_rounds, one_round)
        )
        assert total >= total_of_one_round - 1e-12
        assert one_round.converged == torch.equal(one_round.vectors, many_rounds.vectors)
        seeds_with_more_rounds += not one_round.converged
    assert seeds_with_more_rounds


def perturbed(center: torch.Tensor, count: int, noise: float, seed: int = 0) -> list[torch.Tensor]:
    return [center + noise * random_normal(*center.shape, seed=1000 * seed + index + 1) for index in range(count)]


def paired_rotations(rank: int, count: int, size: float, seed: int = 0) -> list[torch.Tensor]:
    """Rotations and their inverses, so that their Karcher mean is the identity."""
    generators = [size * random_normal(rank, rank, seed=100 * seed + index) for index in range(count // 2)]
    return [torch.linalg.matrix_exp(sign * (generator - generator.T)) for generator in generators for sign in (1, -1)]


@given(seeds)
def test_the_mean_of_two_subspaces_is_the_geodesic_midpoint(seed: int) -> None:
    """For both means; a gradient of 1e-10 is about the distance from the Karcher mean. Angles reach 1.3."""
    a = random_normal(3, 2, 4, seed=seed)
    b = a + 0.8 * random_normal(3, 2, 4, seed=seed + 2000)
    start, end = orthonormal_columns(a), orthonormal_columns(b)
    middle = exp_columns(start, 0.5 * log_columns(start, end)).T.reshape(a.shape)
    result = karcher_mean([a, b])
    assert result.converged
    assert result.basis.shape == a.shape
    assert geodesic_distance(result.basis, middle) < 1e-8
    assert geodesic_distance(chordal_mean([a, b]), middle) < 1e-8


def test_the_chordal_mean_spans_the_top_eigenvectors_of_the_projector_sum() -> None:
    """Also with repeated vectors, and with more vectors than dimensions."""
    for count in (2, 5):
        bases = perturbed(random_orthogonal(8)[:3], count, 0.3) + perturbed(random_orthogonal(8)[:3], 1, 0.3)
        total = sum(orthonormal_columns(basis) @ orthonormal_columns(basis).T for basis in bases)
        top = torch.linalg.eigh(total)[1][:, -3:]
        result = chordal_mean([basis.reshape(3, 2, 4) for basis in bases])
        assert result.shape == (3, 2, 4)
        assert geodesic_distance(result.flatten(1), top.T) < 1e-12
        assert torch.allclose(result.flatten(1) @ result.flatten(1).T, torch.eye(3, dtype=torch.float64), atol=1e-13)
        assert torch.allclose((result.flatten(1) @ total).norm(dim=1), torch.linalg.eigvalsh(total)[-3:].flip(0))
        assert bool((result.flatten(1).amax(1) == result.flatten(1).abs().amax(1)).all())


def test_the_karcher_mean_matches_pymanopt() -> None:
    """The gradient by pymanopt vanishes there, and its solver, started at a sample, ends there at no lower cost."""
    bases = perturbed(random_orthogonal(9)[:2], 5, 0.35)
    points = [orthonormal_columns(basis).numpy() for basis in bases]
    result = karcher_mean(bases)
    mean = orthonormal_columns(result.basis).numpy()
    manifold = pymanopt.manifolds.Grassmann(9, 2)

    @pymanopt.function.numpy(manifold)
    def cost(x: np.ndarray) -> float:
        return sum(manifold.dist(x, point) ** 2 for point in points) / (2 * len(points))

    @pymanopt.function.numpy(manifold)
    def gradient(x: np.ndarray) -> np.ndarray:
        return -sum(manifold.log(x, point) for point in points) / len(points)

    assert result.converged
    assert result.gradient_norm <= 1e-10
    assert np.linalg.norm(gradient(mean)) < 2e-10
    problem = pymanopt.Problem(manifold, cost, riemannian_gradient=gradient)
    solver = pymanopt.optimizers.ConjugateGradient(verbosity=0, min_gradient_norm=1e-8, max_iterations=100)
    solved = solver.run(problem, initial_point=points[0])
    assert cost(mean) <= solved.cost + 1e-12
    # The cost has curvature about 1 near its minimum, so a gradient of 1e-6 means a distance of that order.
    assert geodesic_distance(result.basis, torch.from_numpy(solved.point.T.copy())) < 1e-5
    # The chordal mean, where the iteration starts, is another subspace.
    assert geodesic_distance(result.basis, chordal_mean(bases)) > 1e-4


def test_the_karcher_mean_of_one_subspace_and_the_step_limit() -> None:
    base = random_normal(3, 8)
    single = karcher_mean([base])
    assert (single.steps, single.converged) == (0, True)
    assert geodesic_distance(single.basis, base) < 1e-13
    assert (
        geodesic_distance(karcher_mean([random_orthogonal(3), random_normal(3, 3)]).basis, random_orthogonal(3)) < 1e-13
    )
    bases = perturbed(random_orthogonal(9)[:2], 5, 0.35)
    stopped = karcher_mean(bases, most_steps=1)
    assert (stopped.steps, stopped.converged) == (1, False)
    assert 1e-10 < stopped.gradient_norm < karcher_mean(bases, most_steps=0).gradient_norm


def test_the_chordal_mean_of_rotations_matches_scipy() -> None:
    rotations = Rotation.from_rotvec(0.6 * random_normal(7, 3).numpy()) * Rotation.from_euler("z", 2.0)
    result = chordal_rotation(torch.from_numpy(rotations.as_matrix()))
    assert np.allclose(result.numpy(), rotations.mean().as_matrix(), atol=1e-12)


def test_the_karcher_mean_of_rotations_is_a_critical_point() -> None:
    """SciPy's logm of general matrices decides; one size has a fixed axis, the other has none."""
    for size in (4, 5):
        rotations = torch.stack([random_orthogonal(size) @ small for small in paired_rotations(size, 6, 0.25)])[:5]
        result = karcher_rotation(rotations)
        logs = [scipy.linalg.logm((result.basis.T @ item).numpy()) for item in rotations]
        assert result.converged
        assert np.linalg.norm(sum(logs)) < 1e-9
        assert float((result.basis - chordal_rotation(rotations)).norm()) > 1e-4
    angles = [0.1, 0.4, 1.2]
    planar = torch.tensor([[[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]] for t in angles]).double()
    middle = karcher_rotation(planar)
    assert math.atan2(middle.basis[1, 0], middle.basis[0, 0]) == pytest.approx(sum(angles) / 3)


def test_samples_outside_the_mean_are_projected_onto_it() -> None:
    """Rotations are the polar factors of the samples' coordinates in the mean, after matching."""
    mean = random_orthogonal(12)[:3]
    samples = perturbed(mean, 8, 0.05)
    result = aligned_basis(mean, samples)
    for sample, sample_rotation in zip(samples, result.rotations, strict=True):
        unit = orthonormal_columns(sample).T
        polar = torch.from_numpy(scipy.linalg.polar((unit @ mean.T).numpy())[0])
        assert torch.allclose(match(sample_rotation, polar).applied(polar), sample_rotation, atol=1e-12)
    assert geodesic_distance(result.vectors, mean) < 1e-12
    # Each of 8 samples has an error of 0.05 per entry; the mean has less.
    matched = match(result.vectors, mean)
    assert float((result.vectors - matched.applied(mean)).norm(dim=1).max()) < 0.1
    assert torch.allclose(result.vectors @ result.vectors.T, torch.eye(3, dtype=torch.float64), atol=1e-12)
