"""The contract of one linear map between two spaces, applied to many vectors at once."""

import abc
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, DeviceError, ShapeError


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

    Args:
        in_shape: of one vector that A is applied to.
        out_shape: of one product.
        dtype: of arguments and products.
        device: of both.
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
        """The most singular values that A can have: the smaller of the numbers of dimensions of its two spaces."""
        return min(math.prod(self.in_shape), math.prod(self.out_shape))

    def matmat(self, v: Float[Tensor, "k *in"]) -> Float[Tensor, "k *out"]:
        """``A v`` of each row.

        Raises:
            ShapeError: rows of another shape than ``in_shape``.
            ConfigError: of another dtype.
            DeviceError: on another device.

        Cost:
            k products.
        """
        self._check(v, self.in_shape)
        self.products += len(v)
        return self._matmat(v)

    def rmatmat(self, u: Float[Tensor, "k *out"]) -> Float[Tensor, "k *in"]:
        """``A^T u`` of each row.

        Raises:
            ShapeError: rows of another shape than ``out_shape``; and what `matmat` raises.

        Cost:
            k products.
        """
        self._check(u, self.out_shape)
        self.products += len(u)
        return self._rmatmat(u)

    @abc.abstractmethod
    def _matmat(self, v: Float[Tensor, "k *in"]) -> Float[Tensor, "k *out"]:
        """The products; the argument is already checked."""

    @abc.abstractmethod
    def _rmatmat(self, u: Float[Tensor, "k *out"]) -> Float[Tensor, "k *in"]:
        """The products with the transpose; the argument is already checked."""

    def _check(self, rows: Tensor, shape: tuple[int, ...]) -> None:
        if tuple(rows.shape[1:]) != shape:
            raise ShapeError(f"expected rows of shape {list(shape)}; got {list(rows.shape[1:])}")
        if rows.dtype != self.dtype:
            raise ConfigError(f"expected rows in the operator's {self.dtype}; got {rows.dtype}. Cast them with .to()")
        if rows.device != self.device:
            raise DeviceError(f"expected rows on {self.device}; got some on {rows.device}. Move them with .to()")
