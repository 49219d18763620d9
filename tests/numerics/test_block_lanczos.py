import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.errors import ConfigError, ConvergenceError, ShapeError
from latentedit.geometry.subspaces import principal_angles
from latentedit.numerics.block_lanczos import TruncatedSVD, truncated_svd
from tests.numerics.dense import DenseBlock, matrix_with_spectrum, random_vectors


def svd_of(matrix: Tensor, rank: int, *, seed: int = 0, **settings: object) -> TruncatedSVD:
    generator = torch.Generator().manual_seed(seed)
    return truncated_svd(DenseBlock(matrix), rank, generator=generator, **settings)  # type: ignore[arg-type]


def largest_angle(a: Tensor, b: Tensor) -> float:
    """The largest principal angle, in degrees."""
    return math.degrees(float(principal_angles(a, b).max()))


def check_result(result: TruncatedSVD, matrix: Tensor, atol: float = 1e-10) -> None:
    """Check the properties that `TruncatedSVD` documents; the residuals are recomputed."""
    u, s, v = result.u, result.singular_values, result.v
    eye = torch.eye(len(s), dtype=s.dtype)
    assert torch.allclose(v @ v.T, eye, atol=atol)
    assert torch.allclose(u @ u.T, eye, atol=atol)
    scale = float(torch.linalg.matrix_norm(matrix, 2)) or 1.0
    assert torch.allclose(v @ matrix.T, s[:, None] * u, atol=atol * scale)
    assert bool((s[:-1] >= s[1:]).all())
    assert bool((v.gather(1, v.abs().argmax(1, keepdim=True)) > 0).all())
    residuals = torch.linalg.vector_norm(u @ matrix - s[:, None] * v, dim=1) / scale
    assert torch.allclose(result.residuals, residuals, atol=atol)


@given(
    st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(0, 3), st.integers(0, 99)
)
def test_small_matrices_agree_with_lapack(
    outputs: int, inputs: int, rank: int, block: int, deficiency: int, seed: int
) -> None:
    """Every shape and rank occurs, zero included; subspaces are compared where the singular values are separated."""
    full_rank = min(outputs, inputs)
    rank, inner_size = min(rank, full_rank), max(0, full_rank - deficiency)
    matrix = random_vectors(outputs, inner_size, seed=seed) @ random_vectors(inner_size, inputs, seed=seed + 1)
    result = svd_of(matrix, rank, block=block, seed=seed, tolerance_degrees=1e-6)
    check_result(result, matrix)
    _, s, vh = torch.linalg.svd(matrix)
    assert torch.allclose(result.singular_values, s[:rank], atol=1e-8 * max(1.0, float(s[0])))
    if rank == len(s) or float(s[rank - 1] - s[rank]) > 1e-3 * float(s[0]):
        assert result.converged
        if rank < inputs and float(s[rank - 1]) > 1e-6:
            assert largest_angle(result.v, vh[:rank]) < 1e-4


@pytest.mark.parametrize("rank", [2, 10])
def test_slowly_decaying_spectra_need_few_products(rank: int) -> None:
    """For ``s_k = k^-1/2``, at most a fifth of the products of 50 power iterations."""
    values = torch.arange(1, 301, dtype=torch.float64) ** -0.5
    matrix, _, right = matrix_with_spectrum(values, 320, 400)
    result = svd_of(matrix, rank)
    assert result.converged
    assert largest_angle(result.v, right[:rank]) <= 0.25
    assert result.products <= 100 * rank / 5
    check_result(result, matrix)


def test_restarts_keep_accuracy_and_bound_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The spectrum decays so slowly that the basis fills several times."""
    values = torch.linspace(1, 0, 300, dtype=torch.float64)
    matrix, _, right = matrix_with_spectrum(values, 300, 310)
    widths: list[int] = []
    torch_svd = torch.linalg.svd

    def recording_svd(a: Tensor, *args: object, **kwargs: object) -> object:
        widths.append(max(a.shape))
        return torch_svd(a, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.linalg, "svd", recording_svd)
    result = svd_of(matrix, 3, most_products=1000, tolerance_degrees=0.01)
    monkeypatch.undo()
    assert result.products > 2 * max(widths), "no restart happened, so nothing is tested"
    assert max(widths) == 2 * (3 + 10) + 20, "twice what a restart keeps, plus 20"
    assert result.converged
    assert largest_angle(result.v, right[:3]) <= 0.01
    check_result(result, matrix)


@pytest.mark.parametrize("repeated", [2, 3])
def test_repeated_singular_values_are_all_found(repeated: int) -> None:
    """The block has that many rows; only the subspace of their vectors is unique."""
    values = torch.tensor([3.0] * repeated + [2.0, 1.0, 0.5, 0.2], dtype=torch.float64)
    matrix, _, right = matrix_with_spectrum(values, 30, 40)
    result = svd_of(matrix, repeated, block=repeated)
    assert result.converged
    assert result.singular_values.tolist() == pytest.approx([3.0] * repeated)
    assert largest_angle(result.v, right[:repeated]) < 0.25


def test_an_ambiguous_subspace_does_not_converge() -> None:
    """Rank 2 of three equal values: singular vectors are found, but they are not unique."""
    values = torch.cat([torch.full((3,), 3.0), torch.linspace(1, 0.1, 100)]).double()
    matrix, _, right = matrix_with_spectrum(values, 150, 160)
    result = svd_of(matrix, 2, block=3, most_products=60)
    assert not result.converged
    assert largest_angle(result.v, right[:3]) < 1e-6


def test_gaps_below_float32_rounding_do_not_converge() -> None:
    """The iteration stops early instead of spending all its products."""
    values = torch.linspace(1, 0.5, 40, dtype=torch.float64)
    values[2] = values[1] - 1e-9
    matrix = matrix_with_spectrum(values, 50, 60)[0].float()
    result = svd_of(matrix, 2, most_products=2000)
    assert not result.converged
    assert result.products < 200
    check_result(result, matrix, atol=1e-5)


def test_a_wrong_transpose_does_not_converge() -> None:
    """Residuals taken from the recurrence would hide it."""

    class WrongTranspose(DenseBlock):  # type: ignore[misc]
        def _rmatmat(self, u: Tensor) -> Tensor:
            return super()._rmatmat(u) + 0.1 * u[:, :40]

    values = torch.linspace(2, 0.1, 40, dtype=torch.float64)
    result = truncated_svd(
        WrongTranspose(matrix_with_spectrum(values, 40, 40)[0]), 2, generator=torch.Generator().manual_seed(0)
    )
    assert not result.converged
    assert float(result.residuals.max()) > 0.01


def test_a_good_start_saves_products_and_a_bad_one_does_no_harm() -> None:
    """Good: the singular vectors of a nearby matrix. Bad: smaller ones of the same matrix, as random rows are added."""
    values = torch.arange(1, 201, dtype=torch.float64) ** -0.5
    matrix, _, right = matrix_with_spectrum(values, 220, 240)
    cold = svd_of(matrix, 5)
    perturbed = matrix + 2e-4 * random_vectors(220, 240, seed=7)
    warm = svd_of(perturbed, 5, start=cold.v)
    assert warm.converged
    assert warm.products < svd_of(perturbed, 5).products
    misled = svd_of(matrix, 5, start=right[5:10])
    assert misled.converged
    assert largest_angle(misled.v, right[:5]) <= 0.25


def test_results_depend_on_the_seed_and_products_are_blocked() -> None:
    matrix = random_vectors(30, 40)
    first, same_seed, other_seed = svd_of(matrix, 3), svd_of(matrix, 3), svd_of(matrix, 3, seed=1)
    assert torch.equal(first.v, same_seed.v)
    assert torch.allclose(first.v, other_seed.v, atol=0.02)
    assert not torch.equal(first.v, other_seed.v)
    operator = DenseBlock(matrix)
    result = truncated_svd(operator, 3, generator=torch.Generator(), block=5)
    assert max(operator.batch_sizes) == 5
    assert result.products == operator.products == sum(operator.batch_sizes)


def test_shapes_and_progress_reports() -> None:
    reports: list[tuple[str, int, int]] = []
    operator = DenseBlock(random_vectors(6, 8), in_shape=(2, 4), out_shape=(3, 2))
    result = truncated_svd(operator, 2, generator=torch.Generator(), progress=lambda *stage: reports.append(stage))
    assert result.u.shape == (2, 3, 2)
    assert result.v.shape == (2, 2, 4)
    assert reports[-1] == ("basis", 100, 100)
    assert len(reports) == result.iterations
    reports.clear()
    result = svd_of(random_vectors(30, 30), 2, block=3, most_products=16, progress=lambda *stage: reports.append(stage))
    assert not result.converged
    assert result.products > 16, "the last block exceeds the limit"
    assert reports[-1] == ("basis", 16, 16) == max(reports)


def test_invalid_arguments_are_rejected() -> None:
    matrix = random_vectors(4, 6)
    for rank in (0, 5):
        with pytest.raises(ConfigError):
            svd_of(matrix, rank)
    with pytest.raises(ConfigError):
        svd_of(matrix, 2, block=0)
    with pytest.raises(ShapeError):
        svd_of(matrix, 2, start=random_vectors(1, 4))
    with pytest.raises(ConvergenceError):
        svd_of(matrix * torch.nan, 2)
