import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.errors import ConfigError, ConvergenceError, ShapeError
from latentedit.core.linalg.block_lanczos import TruncatedSVD, truncated_svd
from latentedit.geometry.subspaces import principal_angles
from tests.core.linalg.dense import DenseBlock, vectors, with_spectrum


def search(matrix: Tensor, rank: int, *, seed: int = 0, **settings: object) -> TruncatedSVD:
    generator = torch.Generator().manual_seed(seed)
    return truncated_svd(DenseBlock(matrix), rank, generator=generator, **settings)  # type: ignore[arg-type]


def largest_angle(a: Tensor, b: Tensor) -> float:
    """In degrees."""
    return math.degrees(float(principal_angles(a, b).max()))


def check_laws(found: TruncatedSVD, matrix: Tensor, close: float = 1e-10) -> None:
    """Those of `TruncatedSVD`, and the residuals as they are when computed again."""
    u, s, v = found.u, found.singular_values, found.v
    eye = torch.eye(len(s), dtype=s.dtype)
    assert torch.allclose(v @ v.T, eye, atol=close)
    assert torch.allclose(u @ u.T, eye, atol=close)
    scale = float(torch.linalg.matrix_norm(matrix, 2)) or 1.0
    assert torch.allclose(v @ matrix.T, s[:, None] * u, atol=close * scale)
    assert bool((s[:-1] >= s[1:]).all())
    assert bool((v.gather(1, v.abs().argmax(1, keepdim=True)) > 0).all())
    residuals = torch.linalg.vector_norm(u @ matrix - s[:, None] * v, dim=1) / scale
    assert torch.allclose(found.residuals, residuals, atol=close)


@pytest.mark.slow
@given(
    st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(0, 3), st.integers(0, 99)
)
def test_small_matrices_agree_with_lapack(
    outputs: int, inputs: int, rank: int, block: int, deficiency: int, seed: int
) -> None:
    """Of every shape and rank, singular ones and zero ones included; subspaces where the values are apart."""
    most = min(outputs, inputs)
    rank, full = min(rank, most), max(0, most - deficiency)
    matrix = vectors(outputs, full, seed=seed) @ vectors(full, inputs, seed=seed + 1)
    found = search(matrix, rank, block=block, seed=seed, tolerance_degrees=1e-6)
    check_laws(found, matrix)
    _, s, vh = torch.linalg.svd(matrix)
    assert torch.allclose(found.singular_values, s[:rank], atol=1e-8 * max(1.0, float(s[0])))
    if rank == len(s) or float(s[rank - 1] - s[rank]) > 1e-3 * float(s[0]):
        assert found.converged
        if rank < inputs and float(s[rank - 1]) > 1e-6:
            assert largest_angle(found.v, vh[:rank]) < 1e-4


@pytest.mark.parametrize("rank", [2, 10])
def test_a_slow_spectrum_takes_few_products(rank: int) -> None:
    """At ``s_k = k^-1/2``, to the tolerance that was asked, for at most a fifth of what 50 power iterations take."""
    values = torch.arange(1, 301, dtype=torch.float64) ** -0.5
    matrix, _, right = with_spectrum(values, 320, 400)
    found = search(matrix, rank)
    assert found.converged
    assert largest_angle(found.v, right[:rank]) <= 0.25
    assert found.products <= 100 * rank / 5
    check_laws(found, matrix)


def test_restarts_change_no_law_and_bound_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spectrum so slow that the space is full several times."""
    values = torch.linspace(1, 0, 300, dtype=torch.float64)
    matrix, _, right = with_spectrum(values, 300, 310)
    widths: list[int] = []
    solve = torch.linalg.svd

    def watched(a: Tensor, *arguments: object, **named: object) -> object:
        widths.append(max(a.shape))
        return solve(a, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.linalg, "svd", watched)
    found = search(matrix, 3, most_products=1000, tolerance_degrees=0.01)
    monkeypatch.undo()
    assert found.products > 2 * max(widths), "there was no restart, so nothing is tested"
    assert max(widths) == 2 * (3 + 10) + 20, "what a restart keeps, twice, and some room"
    assert found.converged
    assert largest_angle(found.v, right[:3]) <= 0.01
    check_laws(found, matrix)


@pytest.mark.parametrize("repeated", [2, 3])
def test_repeated_singular_values_are_all_found(repeated: int) -> None:
    """With a block of that many rows; only their space is defined."""
    values = torch.tensor([3.0] * repeated + [2.0, 1.0, 0.5, 0.2], dtype=torch.float64)
    matrix, _, right = with_spectrum(values, 30, 40)
    found = search(matrix, repeated, block=repeated)
    assert found.converged
    assert found.singular_values.tolist() == pytest.approx([3.0] * repeated)
    assert largest_angle(found.v, right[:repeated]) < 0.25


def test_a_space_that_is_not_defined_does_not_converge() -> None:
    """Rank 2 of three equal values: the vectors are singular vectors, but which is by chance."""
    values = torch.cat([torch.full((3,), 3.0), torch.linspace(1, 0.1, 100)]).double()
    matrix, _, right = with_spectrum(values, 150, 160)
    found = search(matrix, 2, block=3, most_products=60)
    assert not found.converged
    assert largest_angle(found.v, right[:3]) < 1e-6


def test_float32_products_bound_what_can_be_reached() -> None:
    """A gap below the rounding of the products ends the search soon, unconverged."""
    values = torch.linspace(1, 0.5, 40, dtype=torch.float64)
    values[2] = values[1] - 1e-9
    matrix = with_spectrum(values, 50, 60)[0].float()
    found = search(matrix, 2, most_products=2000)
    assert not found.converged
    assert found.products < 200
    check_laws(found, matrix, close=1e-5)


def test_a_disagreement_of_transpose_and_map_is_no_convergence() -> None:
    """The transpose of another matrix: residuals that the recurrence takes for granted would hide it."""

    class Wrong(DenseBlock):  # type: ignore[misc]
        def _rmatmat(self, u: Tensor) -> Tensor:
            return super()._rmatmat(u) + 0.1 * u[:, :40]

    values = torch.linspace(2, 0.1, 40, dtype=torch.float64)
    found = truncated_svd(Wrong(with_spectrum(values, 40, 40)[0]), 2, generator=torch.Generator().manual_seed(0))
    assert not found.converged
    assert float(found.residuals.max()) > 0.01


def test_a_start_near_the_truth_saves_products() -> None:
    """From the vectors of a matrix next to it; and random rows find what a start does not see."""
    values = torch.arange(1, 201, dtype=torch.float64) ** -0.5
    matrix, _, right = with_spectrum(values, 220, 240)
    cold = search(matrix, 5)
    near = matrix + 2e-4 * vectors(220, 240, seed=7)
    warm = search(near, 5, start=cold.v)
    assert warm.converged
    assert warm.products < search(near, 5).products
    misled = search(matrix, 5, start=right[5:10])
    assert misled.converged
    assert largest_angle(misled.v, right[:5]) <= 0.25


def test_the_seed_determines_everything_and_products_come_in_blocks() -> None:
    matrix = vectors(30, 40)
    first, again, other = search(matrix, 3), search(matrix, 3), search(matrix, 3, seed=1)
    assert torch.equal(first.v, again.v)
    assert torch.allclose(first.v, other.v, atol=0.02)
    assert not torch.equal(first.v, other.v)
    operator = DenseBlock(matrix)
    found = truncated_svd(operator, 3, generator=torch.Generator(), block=5)
    assert max(operator.rows) == 5
    assert found.products == operator.products == sum(operator.rows)


def test_shapes_and_progress() -> None:
    report: list[tuple[str, int, int]] = []
    operator = DenseBlock(vectors(6, 8), in_shape=(2, 4), out_shape=(3, 2))
    found = truncated_svd(
        operator, 2, generator=torch.Generator(), progress=lambda what, done, total: report.append((what, done, total))
    )
    assert found.u.shape == (2, 3, 2)
    assert found.v.shape == (2, 2, 4)
    assert report[-1] == ("basis", 100, 100)
    assert len(report) == found.iterations
    report.clear()
    found = search(vectors(30, 30), 2, block=3, most_products=16, progress=lambda *what: report.append(what))
    assert not found.converged
    assert found.products > 16, "the last block goes beyond what was granted"
    assert report[-1] == ("basis", 16, 16) == max(report)


def test_bad_requests_are_refused() -> None:
    matrix = vectors(4, 6)
    for rank in (0, 5):
        with pytest.raises(ConfigError):
            search(matrix, rank)
    with pytest.raises(ConfigError):
        search(matrix, 2, block=0)
    with pytest.raises(ShapeError):
        search(matrix, 2, start=vectors(1, 4))
    with pytest.raises(ConvergenceError):
        search(matrix * torch.nan, 2)
