"""The manifold of subspaces: distances, geodesics, and how far apart subspaces lie that have nothing in common.

A point of the Grassmann manifold is an r-dimensional subspace, given by r vectors that span it. A tangent at a subspace
says for each vector of its orthonormal basis how it moves out of the subspace; its Frobenius norm is the length.
"""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.geometry.angles import principal_angles
from latentedit.core.rng import stream
from latentedit.core.settings import Count, check

_RIGHT_ANGLE = 1e-12
"""Cosine below which a principal angle is a right angle, up to the rounding of float64."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RandomLevel:
    """Geodesic distance, in radians, of two random subspaces.

    Args:
        mean: over the draws.
        low: 2.5 % of the draws lie below it.
        high: 2.5 % of the draws lie above it.
    """

    mean: float
    low: float
    high: float


def geodesic_distance(a: Float[Tensor, "p *shape"], b: Float[Tensor, "q *shape"]) -> float:
    """Length of the shortest way between two subspaces in radians: ``sqrt(sum theta_k^2)`` of their principal angles.

    At most ``pi / 2 * sqrt(min(p, q))``. Subspaces of different ranks have ``min(p, q)`` angles: it is then the
    distance of the smaller one to the nearest subspace of the larger, 0 if it lies inside, and no metric.

    Args:
        a: linearly independent vectors, one a row; they need not be orthonormal.
        b: likewise.

    Raises:
        ShapeError: vectors of different shapes.
        ConfigError: no vectors, more than dimensions, or vectors that depend on one another.

    Source:
        Edelman, Arias & Smith 1998, section 4.3; Ye & Lim 2016 (arXiv 1407.0900) for different ranks.
    """
    return float(torch.linalg.vector_norm(principal_angles(a, b)))


def log_columns(base: Float[Tensor, "n r"], point: Float[Tensor, "*b n r"]) -> Float[Tensor, "*b n r"]:
    """The tangent at a subspace along which the shortest geodesic reaches another in unit time.

    ``Q_p W - Q_b Q_b^T Q_p W = N`` with ``Q_b^T Q_p = P cos(theta) W^T``, and ``N theta / sin(theta) P^T``. The factor
    ``theta / sin(theta)`` is a smooth function of the cosine at 1, so that small angles lose nothing.

    Args:
        base: orthonormal columns in float64.
        point: likewise, of one subspace or of several at once.

    Returns:
        How each column of the base moves, in radians: orthogonal to the base, its Frobenius norm is the geodesic
        distance.

    Raises:
        ConfigError: a principal angle of pi / 2, to which there is more than one shortest way.

    Source:
        Absil, Mahony & Sepulchre 2004, section 3.8; the form that is smooth in the cosine is derived here.
    """
    left, cosines, right = torch.linalg.svd(base.T @ point)
    if not float(cosines.min()) > _RIGHT_ANGLE:
        raise ConfigError("no way between the subspaces is the shortest; a principal angle between them is pi / 2")
    turned = point @ right.mT
    cosines = cosines.clamp(max=1).unsqueeze(-2)
    sines = ((1 - cosines) * (1 + cosines)).sqrt()
    stretch = torch.where(sines > 0, cosines.acos() / sines, 1.0)
    return (turned - base @ (base.T @ turned)) * stretch @ left.mT


def exp_columns(base: Float[Tensor, "n r"], tangent: Float[Tensor, "n r"]) -> Float[Tensor, "n r"]:
    """The subspace that a geodesic with a given start and velocity reaches in unit time.

    ``Q_b V cos(S) V^T + U sin(S) V^T`` with ``tangent = U S V^T``.

    Args:
        base: orthonormal columns in float64.
        tangent: orthogonal to them, as `log_columns` gives it.

    Returns:
        Orthonormal columns: those of the base carried along without turning inside the subspace.

    Source:
        Edelman, Arias & Smith 1998, theorem 2.3.
    """
    left, angles, right = torch.linalg.svd(tangent, full_matrices=False)
    moved = (base @ right.T * angles.cos() + left * angles.sin()) @ right
    basis, triangle = torch.linalg.qr(moved)
    return basis * triangle.diagonal().sign()


def random_angles(dimension: int, rank: int, *, draws: int = 200, seed: int = 0) -> Float[Tensor, "draws k"]:
    """Principal angles of pairs of independent uniformly random subspaces of R^dimension, rising, in radians.

    Only their position to each other is random, so one of them is spanned by the first axes; the other is the span of
    normal vectors.

    Returns:
        ``rank`` angles for each pair, in float64; angles below 1e-8 are rounding.

    Raises:
        ConfigError: a rank below 1 or above the dimension, or fewer than one draw.

    Cost:
        QR of ``draws`` matrices of ``dimension`` by ``rank``.
    """
    if not 1 <= rank <= dimension:
        raise ConfigError(f"the rank must lie between 1 and the dimension, {dimension}; got {rank}")
    check(Count, draws=draws)
    generator, cosines = stream(seed, "random subspaces"), list[Tensor]()
    for _ in range(draws):
        normal = torch.randn(dimension, rank, generator=generator, dtype=torch.float64)
        cosines.append(torch.linalg.svdvals(torch.linalg.qr(normal)[0][:rank]))
    return torch.stack(cosines).clamp(max=1).acos()


def random_level(dimension: int, rank: int, *, draws: int = 200, seed: int = 0) -> RandomLevel:
    """Geodesic distance of random subspaces: what a distance means nothing beyond.

    Subspaces of small rank in a large space are nearly orthogonal, so it tends to ``pi / 2 * sqrt(rank)``. Arguments,
    errors and cost are those of `random_angles`.
    """
    distances = torch.linalg.vector_norm(random_angles(dimension, rank, draws=draws, seed=seed), dim=1)
    low, high = torch.quantile(distances, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return RandomLevel(mean=float(distances.mean()), low=low, high=high)
