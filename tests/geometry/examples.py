"""Random matrices, and a surface with known geodesics."""

import torch
from torch import Tensor

RANK, FEATURE = 3, (2, 4)  # rank and shape of the features in `random_svd`


def random_normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_orthogonal(size: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(random_normal(size, size, seed=seed))[0]


def sphere(z: Tensor) -> Tensor:
    """Stereographic chart of the unit sphere: ``[l, 2]`` to ``[l, 3]``; its geodesics are great circles."""
    square = z.square().sum(-1, keepdim=True)
    return torch.cat([2 * z, 1 - square], -1) / (1 + square)


def sphere_point(vector: Tensor) -> Tensor:
    """The chart coordinates ``[2]`` of the point in the direction of a vector ``[3]``."""
    unit = vector / vector.norm()
    return unit[:2] / (1 + unit[2])


def random_svd(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """u, s and v of a random J from 5 numbers to 2 x 4, and J."""
    jacobian = random_normal(8, 5, seed=seed)
    u, s, vh = torch.linalg.svd(jacobian, full_matrices=False)
    return u.T[:RANK].reshape(RANK, *FEATURE), s[:RANK], vh[:RANK], jacobian
