"""Operators with known matrices, to compare with."""

from typing import final

import torch
from torch import Tensor

from latentedit.linalg.operator import LinearOperator
from latentedit.noise.rng import stream


@final
class Dense(LinearOperator):
    """One matrix an element, ``[b, n, n]``, on latents of n numbers."""

    def __init__(self, matrices: Tensor, latent: tuple[int, ...] | None = None) -> None:
        shape = (len(matrices), *(latent or matrices.shape[1:2]))
        super().__init__(shape=shape, dtype=matrices.dtype, device=matrices.device)
        self.matrices = matrices
        self.products = 0

    def _matvec(self, u: Tensor) -> Tensor:
        self.products += 1
        return torch.einsum("bij,bj->bi", self.matrices, u.flatten(1)).reshape(u.shape)

    def _rmatvec(self, u: Tensor) -> Tensor:
        return torch.einsum("bji,bj->bi", self.matrices, u.flatten(1)).reshape(u.shape)


def random_matrices(batch: int, size: int, seed: int = 0) -> Tensor:
    """Not symmetric."""
    return torch.randn(batch, size, size, generator=stream(seed, "matrices"), dtype=torch.float64)


def symmetric(spectrum: Tensor, seed: int = 0) -> Tensor:
    """Matrices with given eigenvalues ``[b, n]`` and random eigenvectors."""
    basis = torch.linalg.qr(random_matrices(*spectrum.shape, seed=seed))[0]
    return (basis * spectrum[:, None]) @ basis.mT


def vectors(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=stream(seed, "vectors"), dtype=torch.float64)
