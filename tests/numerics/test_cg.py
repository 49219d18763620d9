"""Truncated conjugate gradients against SciPy's iterates, direct solutions, and matrices with known spectra."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import cg
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.numerics.cg import Solution, conjugate_gradient
from tests.numerics.dense import Dense, random_matrices, random_vectors, symmetric_matrices
from tests.testing.tolerances import relative_error


def scipy_iterate(matrix: Tensor, rhs: Tensor, steps: int) -> Tensor:
    value, _ = cg(matrix.numpy(), rhs.numpy(), rtol=0.0, atol=0.0, maxiter=steps)
    return torch.from_numpy(np.asarray(value))


def random_spectra(batch: int, size: int, condition: float, seed: int) -> Tensor:
    """Random eigenvalues from 1 to the condition number, both included."""
    exponents = torch.rand(batch, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    exponents[:, 0], exponents[:, -1] = 0, 1
    return condition**exponents


@given(size=st.integers(3, 8), steps=st.integers(1, 3), seed=st.integers(0, 2**31 - 1))
def test_iterates_match_scipy(size: int, steps: int, seed: int) -> None:
    matrices, rhs = symmetric_matrices(random_spectra(2, size, 30.0, seed), seed), random_vectors(2, size, seed=seed)
    solution = conjugate_gradient(Dense(matrices), rhs, iterations=steps, tolerance=1e-14)
    for index in range(2):
        expected = scipy_iterate(matrices[index], rhs[index], steps)
        # both are exact after as many steps as eigenvalues, where rounding dominates: well below 1e-8
        assert relative_error(solution.value[index], expected) <= 1e-8
        true_residual = (rhs[index] - matrices[index] @ solution.value[index]).norm() / rhs[index].norm()
        assert float(solution.residual[index]) == pytest.approx(float(true_residual), rel=1e-6, abs=1e-12)
    assert solution.iterations.tolist() == [steps, steps]


def test_the_number_of_iterations_matters_up_to_the_dimension() -> None:
    """Another number gives another iterate; beyond the dimension, nothing changes."""
    matrices, rhs = symmetric_matrices(random_spectra(1, 6, 30.0, 0)), random_vectors(1, 6)
    two_steps = conjugate_gradient(Dense(matrices), rhs, iterations=2).value
    assert relative_error(two_steps[0], scipy_iterate(matrices[0], rhs[0], 3)) > 1e-3
    matrices, rhs = symmetric_matrices(random_spectra(3, 5, 50.0, 1)).float(), random_vectors(3, 5).float()
    solution = conjugate_gradient(Dense(matrices), rhs, iterations=60, tolerance=0.0)
    assert not bool(solution.negative_curvature.any())
    assert int(solution.iterations.max()) <= 10, "five directions span the space; more would be rounding errors"
    expected = torch.linalg.solve(matrices.double(), rhs.double())
    assert relative_error(solution.value, expected) <= 50 * 1e-6  # condition number times float32 rounding


def test_batch_elements_are_independent() -> None:
    """An element with k distinct eigenvalues needs k steps, whatever the others need."""
    spectrum = torch.tensor([[2.0, 2, 2, 2], [1, 3, 3, 3], [1, 2, 3, 4]], dtype=torch.float64)
    operator = Dense(symmetric_matrices(spectrum))
    solution = conjugate_gradient(operator, random_vectors(3, 4), iterations=10)
    assert solution.iterations.tolist() == [1, 2, 4]
    assert operator.products == 10, "the cost does not depend on the data"
    assert bool((solution.residual <= 1e-6).all())
    together = solve_mixed_batch()
    for index in range(5):
        alone = solve_mixed_batch(slice(index, index + 1))
        for name in ("value", "residual", "iterations", "negative_curvature"):
            left, right = getattr(together, name)[index].double(), getattr(alone, name)[0].double()
            assert torch.allclose(left, right, rtol=1e-9, atol=1e-12, equal_nan=True), name


@given(lowest=st.floats(-5.0, -0.05), seed=st.integers(0, 2**31 - 1))
def test_indefinite_elements_keep_the_last_iterate_before_negative_curvature(lowest: float, seed: int) -> None:
    spectrum = torch.tensor([[lowest, 1.0, 2.0, 3.0], [0.5, 1.0, 2.0, 3.0]], dtype=torch.float64)
    matrices, rhs = symmetric_matrices(spectrum, seed), random_vectors(2, 4, seed=seed)
    solution = conjugate_gradient(Dense(matrices), rhs, iterations=4)
    # four directions span the space, and a matrix with a negative eigenvalue is not positive on all of them
    assert solution.negative_curvature.tolist() == [True, False]
    iterations_done = int(solution.iterations[0])
    expected = scipy_iterate(matrices[0], rhs[0], iterations_done) if iterations_done else rhs[0]
    assert relative_error(solution.value[0], expected) <= 1e-8
    assert relative_error(solution.value[1], torch.linalg.solve(matrices[1], rhs[1])) <= 1e-8


@pytest.mark.parametrize("curvature", [-2.0, 0.0])
def test_negative_curvature_at_the_first_step_returns_the_right_hand_side(curvature: float) -> None:
    matrices = torch.diag_embed(torch.tensor([[curvature, 1.0, 5.0]], dtype=torch.float64))
    rhs = torch.tensor([[3.0, 0.0, 0.0]], dtype=torch.float64)
    solution = conjugate_gradient(Dense(matrices), rhs, iterations=5)
    assert relative_error(solution.value, rhs) <= 1e-15
    assert solution.iterations.tolist() == [0]
    assert solution.negative_curvature.tolist() == [True]
    assert float(solution.residual) == pytest.approx(abs(1 - curvature), rel=1e-12), "the residual of x = b"


def solve_mixed_batch(rows: slice = slice(None)) -> Solution:
    """Elements: definite, indefinite, zero right-hand side, NaN right-hand side, definite."""
    spectrum = torch.tensor([[1.0, 2, 3], [-1, 2, 3], [1, 2, 3], [1, 2, 3], [4, 5, 60]], dtype=torch.float64)
    rhs = random_vectors(5, 3)
    rhs[2] = 0
    rhs[3, 1] = torch.nan
    return conjugate_gradient(Dense(symmetric_matrices(spectrum)[rows]), rhs[rows], iterations=6)


def test_zero_and_nan_inputs_stay_in_their_elements() -> None:
    solution = solve_mixed_batch()
    assert bool((solution.value[2] == 0).all())
    assert (float(solution.residual[2]), int(solution.iterations[2])) == (0, 0)
    assert bool(solution.value[3].isnan().all())
    assert bool(solution.residual[3].isnan())
    assert bool(solution.value[[0, 1, 4]].isfinite().all())
    matrices = symmetric_matrices(torch.ones(2, 3, dtype=torch.float64))
    matrices[0, 0, 0] = torch.nan
    solution = conjugate_gradient(Dense(matrices), random_vectors(2, 3), iterations=3)
    assert bool(solution.value[0].isnan().all())
    assert bool(solution.residual[0].isnan())
    assert relative_error(solution.value[1], random_vectors(2, 3)[1]) <= 1e-12


@pytest.mark.parametrize("scale", [1e-17, 1e17])
def test_the_scale_of_the_right_hand_side_does_not_matter(scale: float) -> None:
    """The squared residuals, times a tolerance, would be 0 or infinite in float32."""
    operator, rhs = Dense(symmetric_matrices(random_spectra(2, 4, 10.0, 0)).float()), random_vectors(2, 4).float()
    plain, scaled = (conjugate_gradient(operator, factor * rhs, iterations=3) for factor in (1.0, scale))
    assert relative_error(scaled.value / scale, plain.value) <= 1e-5  # rounding errors times the condition number, 10
    assert scaled.iterations.tolist() == plain.iterations.tolist() == [3, 3]


def test_bfloat16_and_multidimensional_latents() -> None:
    operator = Dense(torch.diag_embed(torch.tensor([[1.0, 2.0, 4.0], [2.0, 2.0, 8.0]], dtype=torch.bfloat16)))
    rhs = torch.tensor([[1.0, 2.0, 3.0], [1.0, 0.5, -1.0]], dtype=torch.bfloat16)
    solution = conjugate_gradient(operator, rhs, iterations=3)
    assert (solution.value.dtype, solution.residual.dtype) == (torch.bfloat16, torch.float32)
    expected = rhs.double() / operator.matrices.double().diagonal(dim1=1, dim2=2)
    assert relative_error(solution.value, expected) <= 2 * torch.finfo(torch.bfloat16).eps
    matrices, rhs = symmetric_matrices(random_spectra(2, 6, 5.0, 3)), random_vectors(2, 1, 2, 3)
    solution = conjugate_gradient(Dense(matrices, (1, 2, 3)), rhs, iterations=8, tolerance=1e-12)
    assert solution.value.shape == rhs.shape
    assert relative_error(solution.value.flatten(1), torch.linalg.solve(matrices, rhs.flatten(1))) <= 1e-10


def test_invalid_arguments_are_rejected() -> None:
    operator, rhs = Dense(random_matrices(2, 3)), random_vectors(2, 3)
    with pytest.raises(ConfigError):
        conjugate_gradient(operator, rhs, iterations=0)
    for tolerance in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError):
            conjugate_gradient(operator, rhs, iterations=1, tolerance=tolerance)
    with pytest.raises(ShapeError):
        conjugate_gradient(operator, rhs[:1], iterations=1)
