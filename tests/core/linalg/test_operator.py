"""The contract of an operator, on operators with known matrices."""

import pytest
import torch

from latentedit.core.errors import ShapeError
from latentedit.core.linalg.operator import LinearOperator
from latentedit.testing.contracts.operator import OperatorContract
from tests.core.linalg.dense import Dense, random_matrices


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
