"""Operators defined by explicit matrices."""

from typing import final

import torch
from torch import Tensor

from latentedit.numerics.operator import BlockOperator, LinearOperator
from latentedit.numerics.rng import stream


def batch_matvec(matrices: Tensor, vectors: Tensor) -> Tensor:
    """``A u`` of each element, for latents of any shape."""
    return torch.einsum("bij,bj->bi", matrices, vectors.flatten(1)).reshape(vectors.shape)


@final
class Dense(LinearOperator):
    """One matrix per batch element, ``[b, n, n]``, on latents with n entries."""

    def __init__(self, matrices: Tensor, latent: tuple[int, ...] | None = None) -> None:
        shape = (len(matrices), *(latent or matrices.shape[1:2]))
        super().__init__(shape=shape, dtype=matrices.dtype, device=matrices.device)
        self.matrices = matrices
        self.products = 0

    def _matvec(self, u: Tensor) -> Tensor:
        self.products += 1
        return batch_matvec(self.matrices, u)

    def _rmatvec(self, u: Tensor) -> Tensor:
        return batch_matvec(self.matrices.mT, u)


def random_matrices(batch: int, size: int, seed: int = 0) -> Tensor:
    """Random matrices ``[batch, size, size]``, not symmetric."""
    return torch.randn(batch, size, size, generator=stream(seed, "matrices"), dtype=torch.float64)


def symmetric_matrices(spectrum: Tensor, seed: int = 0) -> Tensor:
    """Symmetric matrices with given eigenvalues ``[b, n]`` and random eigenvectors."""
    basis = torch.linalg.qr(random_matrices(*spectrum.shape, seed=seed))[0]
    return (basis * spectrum[:, None]) @ basis.mT


def random_vectors(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=stream(seed, "vectors"), dtype=torch.float64)


@final
class DenseBlock(BlockOperator):
    """One matrix ``[out, in]``, applied to rows of any shape."""

    def __init__(
        self, matrix: Tensor, in_shape: tuple[int, ...] | None = None, out_shape: tuple[int, ...] | None = None
    ) -> None:
        super().__init__(
            in_shape=in_shape or matrix.shape[1:],
            out_shape=out_shape or matrix.shape[:1],
            dtype=matrix.dtype,
            device=matrix.device,
        )
        self.matrix = matrix
        self.batch_sizes: list[int] = []

    def _matmat(self, v: Tensor) -> Tensor:
        self.batch_sizes.append(len(v))
        return (v.flatten(1) @ self.matrix.T).reshape(len(v), *self.out_shape)

    def _rmatmat(self, u: Tensor) -> Tensor:
        self.batch_sizes.append(len(u))
        return (u.flatten(1) @ self.matrix).reshape(len(u), *self.in_shape)


def matrix_with_spectrum(values: Tensor, outputs: int, inputs: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A matrix with given singular values, and its left and right singular vectors as rows."""
    left = torch.linalg.qr(random_vectors(outputs, len(values), seed=seed))[0]
    right = torch.linalg.qr(random_vectors(inputs, len(values), seed=seed + 1))[0]
    return left @ torch.diag(values) @ right.T, left.T, right.T
