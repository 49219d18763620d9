"""Surfaces whose geodesics are known, as feature maps of two numbers, for the tests of curves."""

import torch
from torch import Tensor

from latentedit.core.geometry.shooting import TangentBasis


def sphere(z: Tensor) -> Tensor:
    """Stereographic chart of the unit sphere: ``[l, 2]`` to ``[l, 3]``; its geodesics are great circles."""
    square = z.square().sum(-1, keepdim=True)
    return torch.cat([2 * z, 1 - square], -1) / (1 + square)


def sphere_point(vector: Tensor) -> Tensor:
    """The chart's place of a vector, ``[2]``."""
    unit = vector / vector.norm()
    return unit[:2] / (1 + unit[2])


def sphere_basis(z: Tensor, _before: TangentBasis | None = None) -> TangentBasis:
    """From the whole Jacobian of the chart stretched along one axis, so that its singular values differ."""
    jacobian = torch.autograd.functional.jacobian(lambda one: sphere(stretched(one)), z)
    assert isinstance(jacobian, Tensor)
    u, s, vh = torch.linalg.svd(jacobian, full_matrices=False)
    return TangentBasis(u=u.T, singular_values=s, v=vh)


def stretched(z: Tensor) -> Tensor:
    """The first number counts three times."""
    return z * torch.tensor([3.0, 1.0], dtype=z.dtype)
