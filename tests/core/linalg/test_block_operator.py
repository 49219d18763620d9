import pytest
import torch

from latentedit.core.errors import ConfigError, DeviceError, ShapeError
from tests.core.linalg.dense import DenseBlock, vectors


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
        with pytest.raises(ShapeError, match="expected rows of shape"):
            product(vectors(2, size + 1))
        with pytest.raises(ConfigError, match=r"float64.*\.to"):
            product(vectors(2, size).float())
        with pytest.raises(DeviceError):
            product(torch.empty(2, size, dtype=torch.float64, device="meta"))
    assert operator.products == 0
