"""The contract catches operators that break its laws."""

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import UnsupportedDerivativeError
from latentedit.core.linalg.operator import LinearOperator
from latentedit.testing.contracts.operator import OperatorContract
from tests.core.linalg.dense import random_matrices, vectors

MATRICES = random_matrices(3, 4)


class Broken(LinearOperator):
    def __init__(self, fault: str) -> None:
        super().__init__(shape=(3, 4), dtype=torch.float64, device=torch.device("cpu"))
        self.fault = fault

    def _matvec(self, u: Tensor) -> Tensor:
        product = torch.einsum("bij,bj->bi", MATRICES, u)
        if self.fault == "bent":
            product = product + 1e-3 * u**2
        if self.fault == "neighbours":
            product = product + 1e-3 * u.sum(0)
        if self.fault == "constant":
            product = product + 1e-3
        return product.nan_to_num() if self.fault == "hides nan" else product

    def _rmatvec(self, u: Tensor) -> Tensor:
        if self.fault == "no transpose":
            raise UnsupportedDerivativeError("no")
        return torch.einsum("bij,bj->bi" if self.fault == "not transposed" else "bji,bj->bi", MATRICES, u)

    def matvec(self, u: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._matvec(u) if self.fault == "unchecked" else super().matvec(u)


CHECKS = {
    "bent": "test_law_1_linearity",
    "not transposed": "test_law_2_adjoint",
    "neighbours": "test_law_3_elements_are_independent",
    "hides nan": "test_law_3_elements_are_independent",
    "constant": "test_law_4_zero_to_zero",
}


@pytest.mark.parametrize("fault", CHECKS)
def test_a_broken_law_is_caught(fault: str) -> None:
    check = getattr(OperatorContract(), CHECKS[fault])
    arguments = {4: (vectors(3, 4),)}.get(int(CHECKS[fault][9]), (vectors(3, 4), vectors(3, 4, seed=1)))
    check(Broken(""), *arguments)
    with pytest.raises(AssertionError):
        check(Broken(fault), *arguments)


def test_operators_that_check_nothing_are_caught() -> None:
    OperatorContract().test_law_5_wrong_arguments_are_refused(Broken(""), vectors(3, 4))
    # either nothing is raised, or what PyTorch or the run-time checks of annotations say about shapes comes through
    with pytest.raises((pytest.fail.Exception, RuntimeError, TypeError)):
        OperatorContract().test_law_5_wrong_arguments_are_refused(Broken("unchecked"), vectors(3, 4))


def test_a_missing_transpose_must_be_declared_and_must_say_what_to_do() -> None:
    class Declared(OperatorContract):
        transpose = False

    u, w = vectors(3, 4), vectors(3, 4, seed=1)
    with pytest.raises(UnsupportedDerivativeError):
        OperatorContract().test_law_2_adjoint(Broken("no transpose"), u, w)
    with pytest.raises(AssertionError, match="Regex pattern did not match"):
        Declared().test_law_2_adjoint(Broken("no transpose"), u, w)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        Declared().test_law_2_adjoint(Broken(""), u, w)
