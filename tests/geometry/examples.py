"""Random matrices, and a surface with known geodesics."""

import torch


def random_normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_orthogonal(size: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(random_normal(size, size, seed=seed))[0]


def sphere(z: torch.Tensor) -> torch.Tensor:
    """Stereographic chart of the unit sphere: ``[l, 2]`` to ``[l, 3]``; its geodesics are great circles."""
    square = z.square().sum(-1, keepdim=True)
    return torch.cat([2 * z, 1 - square], -1) / (1 + square)


def sphere_point(vector: torch.Tensor) -> torch.Tensor:
    """The chart coordinates ``[2]`` of the point in the direction of a vector ``[3]``."""
    unit = vector / vector.norm()
    return unit[:2] / (1 + unit[2])
