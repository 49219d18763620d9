"""The laws of `LinearOperator` as a pytest class: subclass it, give it an operator, and inherit its tests."""

from typing import ClassVar

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, DeviceError, ShapeError, UnsupportedDerivativeError
from latentedit.numerics.operator import LinearOperator
from latentedit.numerics.rng import draw
from latentedit.testing.contracts.closeness import relative_error, tolerance


class OperatorContract:
    """Duties of every operator; numbers are those of the laws in `latentedit.numerics.operator.LinearOperator`.

    A subclass named ``Test...`` gives the fixture `operator`, with two elements or more.

    Example:
        class TestMine(OperatorContract):
            @pytest.fixture
            def operator(self):
                return MyOperator(...)
    """

    transpose: ClassVar[bool] = True
    """The operator has a transpose."""

    quantity: ClassVar[str] = "derivative"
    """The tolerance of laws 1 and 2: "difference" for products by finite differences."""

    @pytest.fixture
    def operator(self) -> LinearOperator:
        """The operator under test, given by the subclass."""
        raise NotImplementedError("a subclass of OperatorContract gives the fixture `operator`")

    @pytest.fixture
    def u(self, operator: LinearOperator) -> Float[Tensor, "b *latent"]:
        """A vector."""
        return draw(operator.shape, seed=0, purpose="contract").to(operator.device, operator.dtype)

    @pytest.fixture
    def w(self, operator: LinearOperator) -> Float[Tensor, "b *latent"]:
        """Another vector."""
        return draw(operator.shape, seed=1, purpose="contract").to(operator.device, operator.dtype)

    def test_law_1_linearity(self, operator: LinearOperator, u: Tensor, w: Tensor) -> None:
        """``A (3 u - w / 2) = 3 A u - A w / 2``, in the shape and dtype of the operator; arguments stay as they are."""
        before = u.clone()
        first = operator.matvec(u)
        assert (tuple(first.shape), first.dtype, first.device) == (operator.shape, operator.dtype, operator.device)
        assert torch.equal(u, before), "the argument was changed"
        assert relative_error(first, torch.zeros_like(first)) > 0, "the operator is zero, so nothing is tested"
        close = tolerance(self.quantity, operator.dtype)
        assert relative_error(operator.matvec(3 * u - w / 2), 3 * first - operator.matvec(w) / 2) <= close
        assert relative_error(operator.matvec(u), first) <= tolerance("batch", operator.dtype)

    def test_law_2_adjoint(self, operator: LinearOperator, u: Tensor, w: Tensor) -> None:
        """``<w, A u> = <A^T w, u>`` for each element, or a refusal that says what to do."""
        if not self.transpose:
            with pytest.raises(UnsupportedDerivativeError, match=r"\. Use "):
                operator.rmatvec(w)
            return
        product, transposed = operator.matvec(u), operator.rmatvec(w)
        assert (tuple(transposed.shape), transposed.dtype) == (operator.shape, operator.dtype)
        for index in range(len(u)):
            left, right = (w[index] * product[index]).sum(), (transposed[index] * u[index]).sum()
            scale = float(w[index].norm() * product[index].norm() + transposed[index].norm() * u[index].norm())
            close = tolerance(self.quantity, operator.dtype) * scale
            assert float(left) == pytest.approx(float(right), abs=close)

    def test_law_3_elements_are_independent(self, operator: LinearOperator, u: Tensor, w: Tensor) -> None:
        """Neighbors do not matter, nor what is not a number in them; an element's own nan is not lost."""
        assert len(u) > 1, "one element cannot show that elements are independent"
        together = operator.matvec(u)
        for index in range(len(u)):
            mixed = w.clone()
            mixed[index] = u[index]
            assert relative_error(operator.matvec(mixed)[index], together[index]) <= tolerance("batch", u.dtype)
        spoilt = u.clone()
        spoilt[0] = torch.nan
        product = operator.matvec(spoilt)
        assert not bool(product[0].isfinite().any())
        assert relative_error(product[1:], together[1:]) <= tolerance("batch", u.dtype)

    def test_law_4_zero_to_zero(self, operator: LinearOperator, u: Tensor) -> None:
        """Exactly."""
        assert bool((operator.matvec(torch.zeros_like(u)) == 0).all())
        if self.transpose:
            assert bool((operator.rmatvec(torch.zeros_like(u)) == 0).all())

    def test_law_5_wrong_arguments_are_refused(self, operator: LinearOperator, u: Tensor) -> None:
        """An error names the argument, in both products."""
        other = torch.float32 if operator.dtype == torch.float64 else torch.float64
        for product in (operator.matvec, operator.rmatvec):
            with pytest.raises(ShapeError):
                product(u[:1])
            with pytest.raises(ShapeError):
                product(u.flatten())
            with pytest.raises(ConfigError):
                product(u.to(other))
            with pytest.raises(DeviceError):
                product(torch.empty_like(u, device="meta"))
