"""The contracts of linear operators, given by products only: a map for each element of a batch, or one for all rows."""

import abc
import math
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, DeviceError, ShapeError


class LinearOperator(abc.ABC):
    """A map ``u -> A u`` on latents, a square matrix of its own for each element of the batch.

    Laws, up to rounding (and to the error of the differences, for operators made by finite differences):
        1. ``A (a u + b w) = a A u + b A w``.
        2. ``<w, A u> = <A^T w, u>`` for each element, where the operator has a transpose.
        3. Elements are independent: ``(A u)[i]`` depends on ``u[i]`` alone.
        4. ``A 0 = 0``, exactly.
        5. ``matvec`` and ``rmatvec`` refuse shapes, dtypes and devices that are not the operator's, by name.

    Numbers that are not finite are not refused: their own element of the product is not finite either, and the others
    are as they would be. Nothing here says that A is symmetric. Subclasses write the private hooks; the public methods
    check.

    Args:
        shape: of the latents it acts on, batch included.
        dtype: of arguments and products.
        device: of both.
    """

    def __init__(self, *, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype
        self.device = device

    def matvec(self, u: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *latent"]:
        """``A u``.

        Raises:
            ShapeError: u of another shape than the operator's.
            ConfigError: of another dtype.
            DeviceError: on another device.
        """
        _check(u, self.shape, self.dtype, self.device)
        return self._matvec(u)

    def rmatvec(self, u: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *latent"]:
        """``A^T u``.

        Raises:
            UnsupportedDerivativeError: an operator that has no transpose; and what `matvec` raises.
        """
        _check(u, self.shape, self.dtype, self.device)
        return self._rmatvec(u)

    @abc.abstractmethod
    def _matvec(self, u: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *latent"]:
        """The product; the argument is already checked."""

    @abc.abstractmethod
    def _rmatvec(self, u: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *latent"]:
        """The product with the transpose, or an UnsupportedDerivativeError that says how to get one."""


class BlockOperator(abc.ABC):
    """A map A from ``[*in]`` to ``[*out]``, a matrix that is given by its products with rows of vectors.

    Laws, up to rounding (and to the error of the differences, for products by finite differences):
        1. ``A (a u + b w) = a A u + b A w``.
        2. ``<w, A u> = <A^T w, u>``.
        3. Rows are independent: row i of a product depends on row i of the argument alone.
        4. ``products`` grows by the number of rows at each call of `matmat` and `rmatmat`.
        5. ``matmat`` and ``rmatmat`` refuse shapes, dtypes and devices that are not the operator's, by name.

    It differs from `LinearOperator`, which has one square map for each element of a batch. Subclasses write the private
    hooks; the public methods check and count.
    """

    def __init__(
        self, *, in_shape: Sequence[int], out_shape: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> None:
        self.in_shape = tuple(in_shape)
        self.out_shape = tuple(out_shape)
        self.dtype = dtype
        self.device = device
        self.products = 0

    @property
    def largest_rank(self) -> int:
        """The smaller dimension of its two spaces."""
        return min(math.prod(self.in_shape), math.prod(self.out_shape))

    def matmat(self, v: Float[Tensor, "k *in"]) -> Float[Tensor, "k *out"]:
        """``A v`` of each row."""
        _check(v, (len(v), *self.in_shape), self.dtype, self.device)
        self.products += len(v)
        return self._matmat(v)

    def rmatmat(self, u: Float[Tensor, "k *out"]) -> Float[Tensor, "k *in"]:
        """``A^T u`` of each row."""
        _check(u, (len(u), *self.out_shape), self.dtype, self.device)
        self.products += len(u)
        return self._rmatmat(u)

    @abc.abstractmethod
    def _matmat(self, v: Float[Tensor, "k *in"]) -> Float[Tensor, "k *out"]:
        """The products; the argument is already checked."""

    @abc.abstractmethod
    def _rmatmat(self, u: Float[Tensor, "k *out"]) -> Float[Tensor, "k *in"]:
        """The products with the transpose; the argument is already checked."""


def _check(u: Tensor, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    if tuple(u.shape) != shape:
        raise ShapeError(f"a vector must have the operator's shape, {list(shape)}; got {list(u.shape)}")
    if u.dtype != dtype:
        raise ConfigError(f"a vector must be in the operator's {dtype}; got {u.dtype}. Cast it with .to()")
    if u.device != device:
        raise DeviceError(f"a vector must be on {device}; got one on {u.device}. Move it with .to()")


@final
class Affine(LinearOperator):
    """``scale * A + shift * I``."""

    def __init__(self, operator: LinearOperator, scale: float, shift: float) -> None:
        super().__init__(shape=operator.shape, dtype=operator.dtype, device=operator.device)
        self._operator, self._scale, self._shift = operator, scale, shift

    def _matvec(self, u: Tensor) -> Tensor:
        return self._scale * self._operator.matvec(u) + self._shift * u

    def _rmatvec(self, u: Tensor) -> Tensor:
        return self._scale * self._operator.rmatvec(u) + self._shift * u


@final
class Mean(LinearOperator):
    """``(1/m) sum_i A_i`` of the m blocks of rows of A, ``row = noise * b + image``: the average over noises."""

    def __init__(self, operator: LinearOperator, groups: int) -> None:
        rows, *latent = operator.shape
        super().__init__(shape=(rows // groups, *latent), dtype=operator.dtype, device=operator.device)
        self._operator, self._groups = operator, groups

    def _matvec(self, u: Tensor) -> Tensor:
        return self._average(self._operator.matvec(self._spread(u)))

    def _rmatvec(self, u: Tensor) -> Tensor:
        return self._average(self._operator.rmatvec(self._spread(u)))

    def _spread(self, u: Tensor) -> Tensor:
        return u.repeat(self._groups, *[1] * (u.ndim - 1))

    def _average(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, (self._groups, -1)).mean(0)


@final
class Product(LinearOperator):
    """``A B``: first B, then A."""

    def __init__(self, after: LinearOperator, before: LinearOperator) -> None:
        super().__init__(shape=after.shape, dtype=after.dtype, device=after.device)
        self._after, self._before = after, before

    def _matvec(self, u: Tensor) -> Tensor:
        return self._after.matvec(self._before.matvec(u))

    def _rmatvec(self, u: Tensor) -> Tensor:
        return self._before.rmatvec(self._after.rmatvec(u))
