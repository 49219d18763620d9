"""Angles between subspaces, and the orthonormal bases that all of their geometry starts from."""

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError


def principal_angles(a: Float[Tensor, "p *shape"], b: Float[Tensor, "q *shape"]) -> Float[Tensor, " k"]:
    """The principal angles between the spans of two sets of vectors, rising, in radians from 0 to pi / 2.

    ``cos = svd(Q_a^T Q_b)`` tells large angles exactly and ``sin = svd(Q_b - Q_a Q_a^T Q_b)`` small ones; each is used
    where it is exact, so that angles near 0 are not lost in the rounding of a cosine near 1.

    Args:
        a: linearly independent vectors, one a row; they need not be orthonormal.
        b: likewise.

    Returns:
        min(p, q) angles, in float64 on the CPU.

    Raises:
        ShapeError: vectors of different shapes.
        ConfigError: no vectors, more than dimensions, or vectors that depend on one another.

    Source:
        Bjorck & Golub 1973.
    """
    if a.shape[1:] != b.shape[1:]:
        raise ShapeError(f"two sets of vectors must have one shape; got {list(a.shape[1:])} and {list(b.shape[1:])}")
    first, second = orthonormal_columns(a), orthonormal_columns(b)
    if first.shape[1] < second.shape[1]:
        first, second = second, first
    overlap = first.T @ second
    cosines = torch.linalg.svdvals(overlap).clamp(0, 1)
    sines = torch.linalg.svdvals(second - first @ overlap).clamp(0, 1).flip(0)
    return torch.where(cosines**2 > 0.5, torch.asin(sines), torch.acos(cosines))


def orthonormal_columns(vectors: Float[Tensor, "k *shape"]) -> Float[Tensor, "n k"]:
    """An orthonormal basis of the span, one vector a column: Gram-Schmidt in the order given, by Householder QR.

    Column j lies in the span of the first j vectors, on the side of the j-th. Vectors that are orthonormal already
    stay what they are.

    Args:
        vectors: linearly independent, one a row, of any length above 0.

    Returns:
        In float64 on the CPU; n is the product of the shape.

    Raises:
        ConfigError: no vectors, more than dimensions, or vectors that depend on one another.
    """
    columns = vectors.detach().cpu().double().flatten(1).T
    if not 1 <= columns.shape[1] <= columns.shape[0]:
        raise ConfigError(f"a basis takes 1 to {columns.shape[0]} vectors of this size; got {columns.shape[1]}")
    lengths = torch.linalg.vector_norm(columns, dim=0)
    basis, triangle = torch.linalg.qr(columns / lengths)
    if not float(triangle.diagonal().abs().min()) > 1e-10:
        raise ConfigError("one of the vectors is zero, or a combination of the others")
    return basis * triangle.diagonal().sign()
