"""Every filter against dense linear algebra, on random matrices and on the exact Hessian of a mixture."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.directions.hsds import HSDS, Filter, apply_filter, levenberg_marquardt, newton
from latentedit.testing.tolerances import relative_error, tolerance
from tests.core.linalg.dense import Dense, random_vectors, symmetric_matrices
from tests.directions.mixtures import batch_matvec, dense_solve

DERIVATIVE = tolerance("derivative", torch.float64)
SOLVED = 1e-9
"""Conjugate gradients stop at rounding, times condition numbers of up to 1e3 or so."""

DEFINITE = torch.linspace(0.1, 1.0, 6, dtype=torch.float64).expand(3, 6)
INDEFINITE = torch.tensor([-2.0, -0.4, 0.1, 0.3, 0.7, 1.0], dtype=torch.float64).expand(3, 6)
EYE = torch.eye(6, dtype=torch.float64)
ITERATIONS = 12
"""Twice the dimension, so that conjugate gradients have converged."""

KINDS: tuple[Filter, ...] = ("gamma", "newton", "levenberg-marquardt")


def residuals(noises: int = 1, *, seed: int = 0) -> Tensor:
    return random_vectors(noises, 3, 6, seed=seed)


@pytest.mark.parametrize("gamma", [-1.0, 0.0, 0.7])
def test_the_gamma_filter_uses_the_hessian_of_each_noise(gamma: float) -> None:
    matrices, r = symmetric_matrices(INDEFINITE.repeat(2, 1)), residuals(2)
    rows = r.flatten(0, 1)
    filtered = apply_filter("gamma", r, Dense(matrices), gamma=gamma, damping=0.0, iterations=1)[0]
    expected = (rows + gamma * (rows - batch_matvec(matrices, rows))).reshape(2, 3, 6).mean(0)
    assert relative_error(filtered, expected) < DERIVATIVE
    averaged = r.mean(0) + gamma * (r.mean(0) - batch_matvec(matrices.reshape(2, 3, 6, 6).mean(0), r.mean(0)))
    assert relative_error(filtered, averaged) > 1e-2 or not gamma


@pytest.mark.parametrize("damping", [0.0, 0.1, 1.0])
def test_newton_solves_the_damped_system(damping: float) -> None:
    matrices, r = symmetric_matrices(DEFINITE), residuals()[0]
    found, fell_back = newton(r, Dense(matrices), damping=damping, iterations=ITERATIONS)
    assert relative_error(found, dense_solve(matrices + damping * EYE, r)) < SOLVED
    assert relative_error(found, dense_solve(matrices + (damping + 0.05) * EYE, r)) > 1e-3
    assert not fell_back.any()


@pytest.mark.parametrize("spectrum", [DEFINITE, INDEFINITE])
@pytest.mark.parametrize("damping", [0.0, 0.3, 1.0])
def test_levenberg_marquardt_solves_its_system_even_if_indefinite(spectrum: Tensor, damping: float) -> None:
    matrices, r = symmetric_matrices(spectrum), residuals()[0]
    found, fell_back = levenberg_marquardt(r, Dense(matrices), damping=damping, iterations=ITERATIONS)
    expected = dense_solve(matrices @ matrices + damping**2 * EYE, batch_matvec(matrices, r))
    assert relative_error(found, expected) < (SOLVED if damping else 1e-6)  # squared condition numbers
    assert not fell_back.any()


@pytest.mark.parametrize("kind", ["newton", "levenberg-marquardt"])
def test_solvers_average_over_noises_before_solving(kind: Filter) -> None:
    matrices, r = symmetric_matrices(DEFINITE.repeat(2, 1)), residuals(2)
    settings: dict[str, Any] = {"gamma": 0.0, "damping": 0.3, "iterations": ITERATIONS}

    def found(residual: Tensor, hessian: Tensor) -> Tensor:
        return apply_filter(kind, residual, Dense(hessian), **settings)[0]

    mean = matrices.reshape(2, 3, 6, 6).mean(0)
    assert relative_error(found(r, matrices), found(r.mean(0, keepdim=True), mean)) < SOLVED
    solved_separately = (found(r[:1], matrices[:3]) + found(r[1:], matrices[3:])) / 2
    assert relative_error(found(r, matrices), solved_separately) > 1e-2


def test_newton_returns_the_residual_at_initial_negative_curvature() -> None:
    """The second element's residual lies along its negative direction; the others are solved."""
    matrices, r = symmetric_matrices(INDEFINITE), residuals()[0]
    matrices[0], matrices[2] = symmetric_matrices(DEFINITE)[0], symmetric_matrices(DEFINITE)[2]
    r[1] = torch.linalg.eigh(matrices[1]).eigenvectors[:, 0]
    found, fell_back = newton(r, Dense(matrices), damping=0.1, iterations=ITERATIONS)
    assert fell_back.tolist() == [False, True, False]
    assert torch.equal(found[1], r[1])
    assert relative_error(found[::2], dense_solve(matrices + 0.1 * EYE, r)[::2]) < SOLVED
    strongly_damped, _ = newton(r, Dense(matrices), damping=2.5, iterations=ITERATIONS)
    assert relative_error(strongly_damped, dense_solve(matrices + 2.5 * EYE, r)) < SOLVED


def test_newton_keeps_the_iterate_at_later_negative_curvature() -> None:
    """Only a later search direction has negative curvature: the iterate before it is returned."""
    spectrum = torch.tensor([[-0.2, 0.5, 0.6, 0.7, 0.8, 1.0]], dtype=torch.float64)
    vector = torch.linalg.eigh(symmetric_matrices(spectrum)[0]).eigenvectors
    r = (vector @ torch.tensor([0.05, 1, 1, 1, 1, 1], dtype=torch.float64))[None]
    found, fell_back = newton(r, Dense(symmetric_matrices(spectrum)), damping=0.0, iterations=ITERATIONS)
    assert not fell_back.any()
    assert bool(torch.isfinite(found).all())
    assert float((found * r).sum()) > 0
    steps = [
        newton(r, Dense(symmetric_matrices(spectrum)), damping=0.0, iterations=count)[0]
        for count in range(1, ITERATIONS)
    ]
    assert any(torch.equal(found, step) for step in steps[:-1])
    assert not torch.equal(found, steps[0])


def test_levenberg_marquardt_falls_back_to_the_residual_and_not_to_its_product() -> None:
    """A rotation by 90 degrees has ``A^2 = -I``, so the damped system has negative curvature everywhere."""
    rotation = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]], dtype=torch.float64)
    r = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    found, fell_back = levenberg_marquardt(r, Dense(rotation), damping=0.5, iterations=2)
    assert fell_back.tolist() == [True]
    assert torch.equal(found, r)


@given(st.sampled_from(KINDS), st.integers(1, 5), st.sampled_from([-1.0, 0.0, 0.5]))
def test_products_are_counted_exactly(kind: Filter, iterations: int, gamma: float) -> None:
    operator = Dense(symmetric_matrices(INDEFINITE.repeat(2, 1)))
    apply_filter(kind, residuals(2), operator, gamma=gamma, damping=0.1, iterations=iterations)
    assert operator.products == HSDS(filter=kind, iterations=iterations).products(gamma)
