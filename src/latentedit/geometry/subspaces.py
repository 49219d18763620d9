"""Subspaces: angles and distances between them, geodesics, and the distance of random ones.

A point of the Grassmann manifold is an r-dimensional subspace, given by r vectors that span it. A tangent at a subspace
says for each vector of its orthonormal basis how it moves out of the subspace; its Frobenius norm is the length.
"""

import dataclasses
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.setting import Count, check_value
from latentedit.numerics.block_lanczos import TruncatedSVD
from latentedit.numerics.rng import stream

Vectors = Tensor | TruncatedSVD  # a basis stands for its ``u``, changes of the feature in the space that images share
_DEPENDENT = 1e-10  # distance of a unit vector from the span of those before it that is rounding
_RIGHT_ANGLE = 1e-12  # cosine below which a principal angle is a right angle, up to float64 rounding


def principal_angles(a: Vectors, b: Vectors) -> Float[Tensor, " k"]:
    """The principal angles between the spans of two sets of vectors, rising, in radians from 0 to pi / 2.

    ``cos = svd(Q_a^T Q_b)`` is exact for large angles, ``sin = svd(Q_b - Q_a Q_a^T Q_b)`` for small ones; each is used
    where it is exact, so angles near 0 are not lost in the rounding of a cosine near 1.

    Args:
        a: linearly independent vectors, one a row; they need not be orthonormal. Or a basis of `local_basis`.
        b: the other set.

    Returns:
        min(p, q) angles, in float64 on the CPU.

    Raises:
        ShapeError: vectors of different shapes.
        ConfigError: no vectors, more vectors than dimensions, or linearly dependent vectors.

    Source:
        Bjorck & Golub 1973.
    """
    a, b = vectors_of(a), vectors_of(b)
    if a.shape[1:] != b.shape[1:]:
        raise ShapeError(f"both sets must have vectors of one shape; got {list(a.shape[1:])} and {list(b.shape[1:])}")
    first, second = orthonormal_columns(a), orthonormal_columns(b)
    if first.shape[1] < second.shape[1]:
        first, second = second, first
    overlap = first.T @ second
    cosines = torch.linalg.svdvals(overlap).clamp(0, 1)
    sines = torch.linalg.svdvals(second - first @ overlap).clamp(0, 1).flip(0)
    return torch.where(cosines**2 > 0.5, torch.asin(sines), torch.acos(cosines))


def vectors_of(basis: Vectors) -> Tensor:
    """The vectors of a basis, its ``u``; vectors as they are."""
    return basis.u if isinstance(basis, TruncatedSVD) else basis


def orthonormal_columns(vectors: Float[Tensor, "k *shape"]) -> Float[Tensor, "n k"]:
    """Gram-Schmidt in the order given, one vector a column, in float64 on the CPU; orthonormal vectors stay."""
    columns = vectors.detach().cpu().double().flatten(1).T
    size, count = columns.shape
    basis, triangle = torch.linalg.qr(columns / torch.linalg.vector_norm(columns, dim=0))
    if not 1 <= count <= size or not float(triangle.diagonal().abs().min()) > _DEPENDENT:
        raise ConfigError(
            f"a basis needs 1 to {size} linearly independent vectors; got {count}, dependent or zero ones"
        )
    return basis * triangle.diagonal().sign()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RandomLevel:
    """Mean, 2.5th and 97.5th percentile of the geodesic distance of two random subspaces, in radians."""

    mean: float
    low: float
    high: float


def geodesic_distance(a: Vectors, b: Vectors) -> float:
    """Geodesic distance of two subspaces in radians: ``sqrt(sum theta_k^2)`` of their principal angles.

    At most ``pi / 2 * sqrt(min(p, q))``. Subspaces of different ranks have ``min(p, q)`` angles; the value is then the
    distance of the smaller one to the nearest subspace of the larger (0 if it is inside), which is not a metric.

    Args:
        a: linearly independent vectors, one a row; they need not be orthonormal. Or a basis of `local_basis`.
        b: the other set.

    Raises:
        ShapeError: vectors of different shapes.
        ConfigError: no vectors, more vectors than dimensions, or linearly dependent vectors.

    Source:
        Edelman, Arias & Smith 1998, section 4.3; Ye & Lim 2016 (arXiv 1407.0900) for different ranks.
    """
    return float(torch.linalg.vector_norm(principal_angles(a, b)))


def log_columns(base: Vectors, point: Vectors) -> Float[Tensor, "*b n r"]:
    """The tangent at a subspace along which the shortest geodesic reaches another in unit time.

    ``Q_p W - Q_b Q_b^T Q_p W = N`` with ``Q_b^T Q_p = P cos(theta) W^T``, and ``N theta / sin(theta) P^T``. The factor
    ``theta / sin(theta)`` is a smooth function of the cosine at 1, so that small angles lose nothing.

    Args:
        base: orthonormal columns ``[n, r]`` in float64, or a basis of `local_basis`.
        point: orthonormal columns, ``[n, r]``, of one subspace or of several at once.

    Returns:
        How each column of the base moves, in radians: orthogonal to the base, with the geodesic distance as its
        Frobenius norm.

    Raises:
        ConfigError: a principal angle of pi / 2, where the geodesic is not unique.

    Source:
        Absil, Mahony & Sepulchre 2004, section 3.8; the form that is smooth in the cosine is derived here.
    """
    base, point = (orthonormal_columns(one.u) if isinstance(one, TruncatedSVD) else one for one in (base, point))
    left, cosines, right = torch.linalg.svd(base.T @ point)
    if not float(cosines.min()) > _RIGHT_ANGLE:
        raise ConfigError("the geodesic between the subspaces is not unique: a principal angle is pi / 2")
    turned = point @ right.mT
    cosines = cosines.clamp(max=1).unsqueeze(-2)
    sines = ((1 - cosines) * (1 + cosines)).sqrt()
    stretch = torch.where(sines > 0, cosines.acos() / sines, 1.0)
    return (turned - base @ (base.T @ turned)) * stretch @ left.mT


def exp_columns(base: Vectors, tangent: Float[Tensor, "n r"]) -> Float[Tensor, "n r"]:
    """The subspace that a geodesic with a given start and velocity reaches in unit time.

    ``Q_b V cos(S) V^T + U sin(S) V^T`` with ``tangent = U S V^T``.

    Args:
        base: orthonormal columns ``[n, r]`` in float64, or a basis of `local_basis`.
        tangent: orthogonal to them, as `log_columns` gives it.

    Returns:
        Orthonormal columns: those of the base carried along without turning inside the subspace.

    Source:
        Edelman, Arias & Smith 1998, theorem 2.3.
    """
    base = orthonormal_columns(base.u) if isinstance(base, TruncatedSVD) else base
    left, angles, right = torch.linalg.svd(tangent, full_matrices=False)
    columns = (base @ right.T * angles.cos() + left * angles.sin()) @ right
    # QR removes rounding only; the signs of its columns are free, those of the geodesic are not.
    basis, triangle = torch.linalg.qr(columns)
    return basis * triangle.diagonal().sign()


def random_level(dimension: int, rank: int, *, draws: int = 200, seed: int = 0) -> RandomLevel:
    """Geodesic distance of independent uniformly random subspaces: a distance as large as this means nothing.

    Subspaces of small rank in a large space are nearly orthogonal, so it tends to ``pi / 2 * sqrt(rank)``.

    Args:
        dimension: of the space.
        rank: of the subspaces.
        draws: number of pairs.
        seed: random seed.

    Raises:
        ConfigError: a rank below 1 or above the dimension, or fewer than one draw.

    Cost:
        QR of ``draws`` matrices of ``dimension`` by ``rank``.
    """
    check_value(Annotated[int, Field(ge=1, le=dimension)], rank=rank)
    check_value(Count, draws=draws)
    # Only their relative position matters, so one of the two is spanned by the first axes.
    generator, cosines = stream(seed, "random subspaces"), list[Tensor]()
    for _ in range(draws):
        normal = torch.randn(dimension, rank, generator=generator, dtype=torch.float64)
        cosines.append(torch.linalg.svdvals(torch.linalg.qr(normal)[0][:rank]))
    distances = torch.linalg.vector_norm(torch.stack(cosines).clamp(max=1).acos(), dim=1)
    low, high = torch.quantile(distances, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return RandomLevel(mean=float(distances.mean()), low=low, high=high)
