"""Random matrices, and a surface whose geodesics are known, for the tests of geometry."""

import torch


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(size: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(gaussian(size, size, seed=seed))[0]


def sphere(z: torch.Tensor) -> torch.Tensor:
    """Stereographic chart of the unit sphere: ``[l, 2]`` to ``[l, 3]``; its geodesics are great circles."""
    square = z.square().sum(-1, keepdim=True)
    return torch.cat([2 * z, 1 - square], -1) / (1 + square)


def sphere_point(vector: torch.Tensor) -> torch.Tensor:
    """The chart's place of a vector, ``[2]``."""
    unit = vector / vector.norm()
    return unit[:2] / (1 + unit[2])
