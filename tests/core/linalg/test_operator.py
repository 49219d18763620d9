"""The contract of an operator, on operators with known matrices."""

import pytest
import torch

from latentedit.core.errors import ConfigError, DeviceError, ShapeError
from latentedit.core.linalg.operator import LinearOperator
from latentedit.testing.contracts.operator import OperatorContract
from tests.core.linalg.dense import Dense, DenseBlock, random_matrices, vectors


class TestDense(OperatorContract):
    @pytest.fixture
    def operator(self) -> LinearOperator:
        return Dense(random_matrices(3, 4))


class TestDenseOnPictures(OperatorContract):
    @pytest.fixture
    def operator(self) -> LinearOperator:
        return Dense(random_matrices(2, 6).float(), latent=(1, 2, 3))


def test_the_operator_says_what_it_acts_on() -> None:
    operator = Dense(random_matrices(2, 6), latent=(2, 3))
    assert (operator.shape, operator.dtype, operator.device) == ((2, 2, 3), torch.float64, torch.device("cpu"))


def test_a_batch_is_needed() -> None:
    class Scalar(LinearOperator):
        def _matvec(self, u: torch.Tensor) -> torch.Tensor:
            return u

        _rmatvec = _matvec

    with pytest.raises(ShapeError, match="batch"):
        Scalar(shape=(), dtype=torch.float32, device=torch.device("cpu"))


def test_refusals_say_what_to_do() -> None:
    operator = Dense(random_matrices(2, 6), latent=(2, 3))
    with pytest.raises(ShapeError, match=r"\[2, 2, 3\]; got \[2, 6\]"):
        operator.matvec(torch.zeros(2, 6, dtype=torch.float64))


def test_products_are_those_of_the_matrix_and_rows_are_counted() -> None:
    matrix = vectors(6, 4)
    operator = DenseBlock(matrix, in_shape=(2, 2), out_shape=(3, 2))
    v, u = vectors(5, 2, 2, seed=1), vectors(2, 3, 2, seed=2)
    assert torch.equal(operator.matmat(v), (v.flatten(1) @ matrix.T).reshape(5, 3, 2))
    assert torch.equal(operator.rmatmat(u), (u.flatten(1) @ matrix).reshape(2, 2, 2))
    assert operator.products == 7
    assert operator.largest_rank == 4


def test_wrong_rows_are_refused_and_not_counted() -> None:
    operator = DenseBlock(vectors(6, 4))
    for product, size in ((operator.matmat, 4), (operator.rmatmat, 6)):
        with pytest.raises(ShapeError, match="the operator's shape"):
            product(vectors(2, size + 1))
        with pytest.raises(ConfigError, match=r"float64.*\.to"):
            product(vectors(2, size).float())
        with pytest.raises(DeviceError):
            product(torch.empty(2, size, dtype=torch.float64, device="meta"))
    assert operator.products == 0
