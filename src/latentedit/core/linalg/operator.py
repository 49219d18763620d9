"""The contract of a linear operator: a batch of square maps on latents, one an element, given by products only."""

import abc
from collections.abc import Sequence

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
        if not shape:
            raise ShapeError("expected latents with a batch, [b, *latent]; got a single number")
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
        self._check(u)
        return self._matvec(u)

    def rmatvec(self, u: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *latent"]:
        """``A^T u``.

        Raises:
            UnsupportedDerivativeError: an operator that has no transpose; and what `matvec` raises.
        """
        self._check(u)
        return self._rmatvec(u)

    @abc.abstractmethod
    def _matvec(self, u: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *latent"]:
        """The product; the argument is already checked."""

    @abc.abstractmethod
    def _rmatvec(self, u: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *latent"]:
        """The product with the transpose, or an UnsupportedDerivativeError that says how to get one."""

    def _check(self, u: Tensor) -> None:
        if tuple(u.shape) != self.shape:
            raise ShapeError(f"expected a vector of the operator's shape, {list(self.shape)}; got {list(u.shape)}")
        if u.dtype != self.dtype:
            raise ConfigError(f"expected a vector in the operator's {self.dtype}; got {u.dtype}. Cast it with .to()")
        if u.device != self.device:
            raise DeviceError(f"expected a vector on {self.device}; got one on {u.device}. Move it with .to()")
