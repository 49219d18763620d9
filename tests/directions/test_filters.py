"""Every filter against dense linear algebra, on random matrices and on the exact Hessian of a mixture."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.directions.hsds import Filter, apply_filter, levenberg_marquardt, neumann, newton, products
from latentedit.testing.tolerances import relative_error, tolerance
from tests.core.linalg.dense import Dense, symmetric, vectors
from tests.directions.mixtures import dense_solve, times

DERIVATIVE = tolerance("derivative", torch.float64)
SOLVED = 1e-9
"""Conjugate gradients stop at rounding, times condition numbers of up to 1e3 or so."""

DEFINITE = torch.linspace(0.1, 1.0, 6, dtype=torch.float64).expand(3, 6)
INDEFINITE = torch.tensor([-2.0, -0.4, 0.1, 0.3, 0.7, 1.0], dtype=torch.float64).expand(3, 6)
EYE = torch.eye(6, dtype=torch.float64)
ENOUGH = 12
"""Twice the dimension: conjugate gradients are done, and stay done."""

KINDS: tuple[Filter, ...] = ("gamma", "newton", "levenberg-marquardt", "neumann")


def residuals(noises: int = 1, *, seed: int = 0) -> Tensor:
    return vectors(noises, 3, 6, seed=seed)


@pytest.mark.parametrize("gamma", [-1.0, 0.0, 0.7])
def test_gamma_family_takes_each_noises_own_hessian(gamma: float) -> None:
    matrices, r = symmetric(INDEFINITE.repeat(2, 1)), residuals(2)
    rows = r.flatten(0, 1)
    filtered = apply_filter("gamma", r, Dense(matrices), gamma=gamma, damping=0.0, iterations=1)[0]
    expected = (rows + gamma * (rows - times(matrices, rows))).reshape(2, 3, 6).mean(0)
    assert relative_error(filtered, expected) < DERIVATIVE
    averaged = r.mean(0) + gamma * (r.mean(0) - times(matrices.reshape(2, 3, 6, 6).mean(0), r.mean(0)))
    assert relative_error(filtered, averaged) > 1e-2 or not gamma


@pytest.mark.parametrize("damping", [0.0, 0.1, 1.0])
def test_newton_solves_the_damped_system(damping: float) -> None:
    matrices, r = symmetric(DEFINITE), residuals()[0]
    found, fell_back = newton(r, Dense(matrices), damping=damping, iterations=ENOUGH)
    assert relative_error(found, dense_solve(matrices + damping * EYE, r)) < SOLVED
    assert relative_error(found, dense_solve(matrices + (damping + 0.05) * EYE, r)) > 1e-3
    assert not fell_back.any()


@pytest.mark.parametrize("spectrum", [DEFINITE, INDEFINITE])
@pytest.mark.parametrize("damping", [0.0, 0.3, 1.0])
def test_levenberg_marquardt_solves_its_system_also_where_a_is_indefinite(spectrum: Tensor, damping: float) -> None:
    matrices, r = symmetric(spectrum), residuals()[0]
    found, fell_back = levenberg_marquardt(r, Dense(matrices), damping=damping, iterations=ENOUGH)
    expected = dense_solve(matrices @ matrices + damping**2 * EYE, times(matrices, r))
    assert relative_error(found, expected) < (SOLVED if damping else 1e-6)  # squared condition numbers
    assert not fell_back.any()


@pytest.mark.parametrize("terms", [1, 2, 5])
def test_neumann_is_a_power_sum(terms: int) -> None:
    matrices, r = symmetric(INDEFINITE), residuals()[0]
    expected = sum(times(torch.linalg.matrix_power(EYE - matrices, power), r) for power in range(terms + 1))
    assert isinstance(expected, Tensor)
    assert relative_error(neumann(r, Dense(matrices), terms=terms), expected) < DERIVATIVE


@pytest.mark.parametrize("kind", ["newton", "levenberg-marquardt", "neumann"])
def test_solvers_average_over_noises_before_they_solve(kind: Filter) -> None:
    matrices, r = symmetric(DEFINITE.repeat(2, 1)), residuals(2)
    known: dict[str, Any] = {"gamma": 0.0, "damping": 0.3, "iterations": ENOUGH}

    def found(residual: Tensor, hessian: Tensor) -> Tensor:
        return apply_filter(kind, residual, Dense(hessian), **known)[0]

    mean = matrices.reshape(2, 3, 6, 6).mean(0)
    assert relative_error(found(r, matrices), found(r.mean(0, keepdim=True), mean)) < SOLVED
    each = (found(r[:1], matrices[:3]) + found(r[1:], matrices[3:])) / 2
    assert relative_error(found(r, matrices), each) > 1e-2


def test_negative_curvature_at_once_leaves_the_residual() -> None:
    """The second element's residual lies along its negative direction; the others are solved."""
    matrices, r = symmetric(INDEFINITE), residuals()[0]
    matrices[0], matrices[2] = symmetric(DEFINITE)[0], symmetric(DEFINITE)[2]
    r[1] = torch.linalg.eigh(matrices[1]).eigenvectors[:, 0]
    found, fell_back = newton(r, Dense(matrices), damping=0.1, iterations=ENOUGH)
    assert fell_back.tolist() == [False, True, False]
    assert torch.equal(found[1], r[1])
    assert relative_error(found[::2], dense_solve(matrices + 0.1 * EYE, r)[::2]) < SOLVED
    enough, _ = newton(r, Dense(matrices), damping=2.5, iterations=ENOUGH)
    assert relative_error(enough, dense_solve(matrices + 2.5 * EYE, r)) < SOLVED


def test_negative_curvature_later_keeps_the_iterate() -> None:
    """The first direction is fine, a later one is not: the step before it stays."""
    spectrum = torch.tensor([[-0.2, 0.5, 0.6, 0.7, 0.8, 1.0]], dtype=torch.float64)
    vector = torch.linalg.eigh(symmetric(spectrum)[0]).eigenvectors
    r = (vector @ torch.tensor([0.05, 1, 1, 1, 1, 1], dtype=torch.float64))[None]
    found, fell_back = newton(r, Dense(symmetric(spectrum)), damping=0.0, iterations=ENOUGH)
    assert not fell_back.any()
    assert bool(torch.isfinite(found).all())
    assert float((found * r).sum()) > 0
    steps = [newton(r, Dense(symmetric(spectrum)), damping=0.0, iterations=count)[0] for count in range(1, ENOUGH)]
    assert any(torch.equal(found, step) for step in steps[:-1])
    assert not torch.equal(found, steps[0])


def test_levenberg_marquardt_falls_back_to_the_residual_and_not_to_its_product() -> None:
    """A quarter turn has ``A^2 = -I``: without damping no direction of its square is positive."""
    turn = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]], dtype=torch.float64)
    r = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    found, fell_back = levenberg_marquardt(r, Dense(turn), damping=0.5, iterations=2)
    assert fell_back.tolist() == [True]
    assert torch.equal(found, r)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spectrum", [DEFINITE, INDEFINITE])
def test_nothing_requested_gives_nothing(kind: Filter, spectrum: Tensor) -> None:
    r = residuals(2)
    r[:, 1] = 0
    operator = Dense(symmetric(spectrum.repeat(2, 1)))
    found, fell_back = apply_filter(kind, r, operator, gamma=0.5, damping=0.3, iterations=4)
    assert not found[1].any()
    assert not fell_back[1]


@given(st.sampled_from(KINDS), st.integers(1, 5), st.sampled_from([-1.0, 0.0, 0.5]))
def test_takes_as_many_products_as_it_states(kind: Filter, iterations: int, gamma: float) -> None:
    operator = Dense(symmetric(INDEFINITE.repeat(2, 1)))
    apply_filter(kind, residuals(2), operator, gamma=gamma, damping=0.1, iterations=iterations)
    assert operator.products == products(kind, gamma=gamma, iterations=iterations)


@pytest.mark.parametrize("kind", KINDS)
def test_neighbors_do_not_matter(kind: Filter) -> None:
    matrices, r = symmetric(INDEFINITE.repeat(2, 1)), residuals(2)

    def found(which: slice) -> Tensor:
        rows = torch.arange(6).reshape(2, 3)[:, which].flatten()
        known: dict[str, Any] = {"gamma": 0.5, "damping": 0.1, "iterations": 4}
        return apply_filter(kind, r[:, which], Dense(matrices[rows]), **known)[0]

    together, alone = found(slice(None)), found(slice(1, 2))
    assert relative_error(alone, together[1:2]) < tolerance("batch", torch.float64)
