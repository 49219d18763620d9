"""Surfaces whose geodesics are known, as feature maps of two numbers, for the tests of curves."""

import torch
from torch import Tensor


def sphere(z: Tensor) -> Tensor:
    """Stereographic chart of the unit sphere: ``[l, 2]`` to ``[l, 3]``; its geodesics are great circles."""
    square = z.square().sum(-1, keepdim=True)
    return torch.cat([2 * z, 1 - square], -1) / (1 + square)


def sphere_point(vector: Tensor) -> Tensor:
    """The chart's place of a vector, ``[2]``."""
    unit = vector / vector.norm()
    return unit[:2] / (1 + unit[2])
