"""The operator contract, and composed operators against the same operations on matrices."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.errors import ConfigError, DeviceError, ShapeError
from latentedit.numerics.operator import Affine, LinearOperator, Mean, Product
from latentedit.testing.contracts.operator import OperatorContract
from tests.numerics.dense import Dense, DenseBlock, batch_matvec, random_matrices, random_vectors
from tests.testing.tolerances import relative_error


class TestOperators(OperatorContract):
    @pytest.fixture(
        params=[
            Dense(random_matrices(2, 6).float(), latent=(1, 2, 3)),
            Affine(Dense(random_matrices(3, 4), (2, 2)), -1.5, 0.3),
            Mean(Dense(random_matrices(6, 4), (2, 2)), 3),
            Product(Dense(random_matrices(2, 4)), Dense(random_matrices(2, 4, seed=1))),
        ],
        ids=lambda operator: type(operator).__name__,
    )
    def operator(self, request: pytest.FixtureRequest) -> LinearOperator:
        return request.param


def test_operators_report_their_shapes_and_count_products() -> None:
    operator = Dense(random_matrices(2, 6), latent=(2, 3))
    assert (operator.shape, operator.dtype, operator.device) == ((2, 2, 3), torch.float64, torch.device("cpu"))
    matrix = random_vectors(6, 4)
    operator = DenseBlock(matrix, in_shape=(2, 2), out_shape=(3, 2))
    v, u = random_vectors(5, 2, 2, seed=1), random_vectors(2, 3, 2, seed=2)
    assert torch.equal(operator.matmat(v), (v.flatten(1) @ matrix.T).reshape(5, 3, 2))
    assert torch.equal(operator.rmatmat(u), (u.flatten(1) @ matrix).reshape(2, 2, 2))
    assert operator.products == 7
    assert operator.largest_rank == 4


def test_invalid_inputs_are_rejected_and_not_counted() -> None:
    with pytest.raises(ShapeError):
        Dense(random_matrices(2, 6), latent=(2, 3)).matvec(torch.zeros(2, 6, dtype=torch.float64))
    operator = DenseBlock(random_vectors(6, 4))
    for product, size in ((operator.matmat, 4), (operator.rmatmat, 6)):
        with pytest.raises(ShapeError):
            product(random_vectors(2, size + 1))
        with pytest.raises(ConfigError):
            product(random_vectors(2, size).float())
        with pytest.raises(DeviceError):
            product(torch.empty(2, size, dtype=torch.float64, device="meta"))
    assert operator.products == 0


TOLERANCE = 1e-13  # the same sums in another order: about a hundred rounding errors of float64


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_affine_is_scale_times_the_operator_plus_shift(scale: float, shift: float) -> None:
    matrices, u = random_matrices(2, 6), random_vectors(2, 2, 3)
    operator = Affine(Dense(matrices, (2, 3)), scale, shift)
    full_matrix = scale * matrices + shift * torch.eye(6, dtype=torch.float64)
    # relative to the summands, as the sum may cancel
    size = (abs(scale) * matrices.norm() + abs(shift) * 6**0.5) * u.norm()
    assert float((operator.matvec(u) - batch_matvec(full_matrix, u)).norm()) <= TOLERANCE * float(size)
    assert float((operator.rmatvec(u) - batch_matvec(full_matrix.mT, u)).norm()) <= TOLERANCE * float(size)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_mean_averages_over_noise_samples(groups: int) -> None:
    matrices, batch = random_matrices(6, 4), 6 // groups
    u = random_vectors(batch, 2, 2)
    operator = Mean(Dense(matrices, (2, 2)), groups)
    assert operator.shape == (batch, 2, 2)
    averages = torch.stack([matrices[image::batch].mean(0) for image in range(batch)])
    assert relative_error(operator.matvec(u), batch_matvec(averages, u)) <= TOLERANCE
    assert relative_error(operator.rmatvec(u), batch_matvec(averages.mT, u)) <= TOLERANCE
    if 1 < groups < 6:
        other_order = torch.stack([block.mean(0) for block in matrices.split(groups)])
        assert relative_error(operator.matvec(u), batch_matvec(other_order, u)) > 0.1, (
            "the test does not depend on the order of the rows"
        )


def test_operators_compose() -> None:
    a, b, u = random_matrices(2, 4), random_matrices(2, 4, seed=1), random_vectors(2, 4)
    operator = Product(Dense(a), Dense(b))
    assert relative_error(operator.matvec(u), batch_matvec(a @ b, u)) <= TOLERANCE
    assert relative_error(operator.rmatvec(u), batch_matvec((a @ b).mT, u)) <= TOLERANCE
    assert relative_error(operator.matvec(u), batch_matvec(b @ a, u)) > 0.1
    a, u = random_matrices(4, 3), random_vectors(2, 3)
    inner = Mean(Dense(a), 2)
    operator = Affine(Product(inner, inner), 1.0, 0.25)
    mean = (a[:2] + a[2:]) / 2
    assert relative_error(operator.matvec(u), batch_matvec(mean @ mean, u) + 0.25 * u) <= TOLERANCE
