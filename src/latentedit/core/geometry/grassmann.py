"""The manifold of subspaces: distances, geodesics, and how far apart subspaces lie that have nothing in common.

A point of the Grassmann manifold is an r-dimensional subspace, given by r vectors, one a row, that span it. A tangent
at a subspace says for each vector of its orthonormal basis (`orthonormal_columns` of the vectors given) how it moves
out of the subspace; its Frobenius norm is the length of the way.
"""

import dataclasses

import scipy.special
import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.geometry.angles import orthonormal_columns, principal_angles
from latentedit.core.rng import stream

_RIGHT_ANGLE = 1e-12
"""Cosine below which a principal angle is a right angle, up to the rounding of float64."""

_INSIDE = 1e-5
"""Share of a tangent that may lie within its subspace, by the rounding of float32."""

_NO_TANGENT = 1e-12
"""Length, in radians, of a tangent that is nothing but the rounding of float64."""


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


def chordal_distance(a: Float[Tensor, "p *shape"], b: Float[Tensor, "q *shape"]) -> float:
    """``sqrt(sum sin^2 theta_k) = |P_a - P_b|_F / sqrt(2)``, the last for equal ranks; P projects onto the subspace.

    Subspaces of different ranks have ``min(p, q)`` angles, as in `geodesic_distance`.

    Args:
        a: linearly independent vectors, one a row; they need not be orthonormal.
        b: likewise.

    Raises:
        ShapeError: vectors of different shapes.
        ConfigError: no vectors, more than dimensions, or vectors that depend on one another.

    Source:
        Edelman, Arias & Smith 1998, section 4.3; Ye & Lim 2016 (arXiv 1407.0900) for different ranks.
    """
    return float(torch.linalg.vector_norm(principal_angles(a, b).sin()))


def projection_distance(a: Float[Tensor, "p *shape"], b: Float[Tensor, "q *shape"]) -> float:
    """Sine of the largest principal angle: ``|P_a - P_b|_2`` for equal ranks; P projects onto the subspace.

    Subspaces of different ranks have ``min(p, q)`` angles, as in `geodesic_distance`; there ``|P_a - P_b|_2`` is 1.

    Args:
        a: linearly independent vectors, one a row; they need not be orthonormal.
        b: likewise.

    Raises:
        ShapeError: vectors of different shapes.
        ConfigError: no vectors, more than dimensions, or vectors that depend on one another.

    Source:
        Edelman, Arias & Smith 1998, section 4.3; Ye & Lim 2016 (arXiv 1407.0900) for different ranks.
    """
    return float(principal_angles(a, b)[-1].sin())


def logarithm(base: Float[Tensor, "r *shape"], point: Float[Tensor, "r *shape"]) -> Float[Tensor, "r *shape"]:
    """The tangent at a subspace along which the shortest geodesic reaches another in unit time.

    ``Q_p W - Q_b Q_b^T Q_p W = N`` with ``Q_b^T Q_p = P cos(theta) W^T``, and ``N theta / sin(theta) P^T``. The factor
    ``theta / sin(theta)`` is a smooth function of the cosine at 1, so that small angles lose nothing.

    Args:
        base: linearly independent vectors, one a row.
        point: likewise, as many.

    Returns:
        In float64 on the CPU: row k is how row k of the orthonormal basis of ``base`` moves. All rows are orthogonal
        to the span of ``base``, and the Frobenius norm is the geodesic distance.

    Raises:
        ShapeError: vectors of different shapes or numbers.
        ConfigError: a principal angle of pi / 2, to which there is more than one shortest way; vectors that depend on
            one another.

    Source:
        Absil, Mahony & Sepulchre 2004, section 3.8; the form that is smooth in the cosine is derived here.
    """
    if base.shape != point.shape:
        raise ShapeError(f"expected subspaces of one rank and shape; got {list(base.shape)} and {list(point.shape)}")
    tangent = log_columns(orthonormal_columns(base), orthonormal_columns(point))
    return tangent.T.reshape(base.shape)


def exponential(base: Float[Tensor, "r *shape"], tangent: Float[Tensor, "r *shape"]) -> Float[Tensor, "r *shape"]:
    """The subspace that a geodesic with a given start and velocity reaches in unit time.

    ``Q_b V cos(S) V^T + U sin(S) V^T`` with ``tangent = U S V^T``, vectors as columns.

    Args:
        base: linearly independent vectors, one a row.
        tangent: for each row of the orthonormal basis of ``base``, how it moves, in radians; see `logarithm`.

    Returns:
        An orthonormal basis, in float64 on the CPU: that of ``base`` carried along without turning inside the subspace.

    Raises:
        ShapeError: a tangent that does not fit.
        ConfigError: a tangent of which a part lies within the span of ``base``.

    Source:
        Edelman, Arias & Smith 1998, theorem 2.3.
    """
    if base.shape != tangent.shape:
        raise ShapeError(
            f"expected a tangent of the shape of its base; got {list(tangent.shape)} at {list(base.shape)}"
        )
    start, velocity = orthonormal_columns(base), tangent.detach().to("cpu", torch.float64).flatten(1).T
    inside = start.T @ velocity
    if not float(inside.norm()) <= _INSIDE * float(velocity.norm()) + _NO_TANGENT:
        raise ConfigError("expected a tangent orthogonal to the subspace that it starts from; take it from logarithm")
    return exp_columns(start, velocity - start @ inside).T.reshape(base.shape)


def geodesic(a: Float[Tensor, "r *shape"], b: Float[Tensor, "r *shape"], t: float) -> Float[Tensor, "r *shape"]:
    """The subspace a share of the shortest way from one to another: the span of a at 0, of b at 1.

    Args:
        a: linearly independent vectors, one a row.
        b: likewise, as many.
        t: the share; below 0 and above 1 the geodesic goes on.

    Returns:
        An orthonormal basis, in float64 on the CPU; see `exponential`.

    Raises:
        ShapeError: vectors of different shapes or numbers.
        ConfigError: a principal angle of pi / 2, to which there is more than one shortest way; vectors that depend on
            one another.
    """
    return exponential(a, t * logarithm(a, b))


def log_columns(base: Float[Tensor, "n r"], point: Float[Tensor, "*b n r"]) -> Float[Tensor, "*b n r"]:
    """`logarithm` of orthonormal columns in float64, for one point or for several at once."""
    left, cosines, right = torch.linalg.svd(base.T @ point)
    if not float(cosines.min()) > _RIGHT_ANGLE:
        raise ConfigError("expected principal angles below pi / 2; got one of pi / 2: no way there is the shortest")
    turned = point @ right.mT
    cosines = cosines.clamp(max=1).unsqueeze(-2)
    sines = ((1 - cosines) * (1 + cosines)).sqrt()
    stretch = torch.where(sines > 0, cosines.acos() / sines, 1.0)
    return (turned - base @ (base.T @ turned)) * stretch @ left.mT


def exp_columns(base: Float[Tensor, "n r"], tangent: Float[Tensor, "n r"]) -> Float[Tensor, "n r"]:
    """`exponential` from orthonormal columns in float64 along a tangent orthogonal to them."""
    left, angles, right = torch.linalg.svd(tangent, full_matrices=False)
    moved = (base @ right.T * angles.cos() + left * angles.sin()) @ right
    basis, triangle = torch.linalg.qr(moved)
    return basis * triangle.diagonal().sign()


def random_angles(
    dimension: int, rank: int, other_rank: int | None = None, *, draws: int = 200, seed: int = 0
) -> Float[Tensor, "draws k"]:
    """Principal angles of pairs of independent uniformly random subspaces of R^dimension, rising, in radians.

    The squared cosines are the eigenvalues of ``(A + B)^-1 A`` with Wishart matrices A and B of ``other_rank`` and
    ``dimension - other_rank`` degrees of freedom. Their triangular factors are drawn entry by entry, so that nothing
    has the size of the dimension, and the angles come out of the factors without forming A or B.

    Args:
        dimension: of the space.
        rank: of one subspace.
        other_rank: of the other; None is the same.
        draws: pairs.
        seed: of the draws.

    Returns:
        ``min(rank, other_rank)`` angles for each pair, in float64.

    Raises:
        ConfigError: a rank below 1 or above the dimension, or fewer than one draw.

    Source:
        Absil, Edelman & Koev 2006 (the law of the angles); Bartlett's decomposition of a Wishart matrix.
    """
    ranks = sorted((rank, rank if other_rank is None else other_rank))
    if not 1 <= ranks[0] <= ranks[1] <= dimension:
        raise ConfigError(f"expected ranks from 1 to the dimension, {dimension}; got {ranks[0]} and {ranks[1]}")
    if draws < 1:
        raise ConfigError(f"expected at least one draw; got {draws}")
    generator = stream(seed, "random subspaces")
    inside = _bartlett(ranks[0], ranks[1], draws, generator)
    outside = _bartlett(ranks[0], dimension - ranks[1], draws, generator)
    joint = torch.linalg.qr(torch.cat([inside, outside], dim=1))[0]
    cosines = torch.linalg.svdvals(joint[:, : inside.shape[1]])
    sines = torch.zeros_like(cosines)
    if outside.shape[1]:
        sines[:, -outside.shape[1] :] = torch.linalg.svdvals(joint[:, inside.shape[1] :]).flip(1)
    return torch.atan2(sines, cosines)


def random_level(
    dimension: int, rank: int, other_rank: int | None = None, *, draws: int = 200, seed: int = 0
) -> RandomLevel:
    """Geodesic distance of random subspaces: what a distance means nothing beyond.

    Subspaces of small rank in a large space are nearly orthogonal, so it tends to ``pi / 2 * sqrt(rank)``.

    Args:
        dimension: of the space.
        rank: of one subspace.
        other_rank: of the other; None is the same.
        draws: pairs of subspaces.
        seed: of the draws.

    Raises:
        ConfigError: a rank below 1 or above the dimension, or fewer than one draw.

    Cost:
        QR of ``draws`` matrices of ``2 * rank`` by ``rank``, whatever the dimension.
    """
    angles = random_angles(dimension, rank, other_rank, draws=draws, seed=seed)
    distances = torch.linalg.vector_norm(angles, dim=1)
    low, high = torch.quantile(distances, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return RandomLevel(mean=float(distances.mean()), low=low, high=high)


def _bartlett(size: int, freedom: int, draws: int, generator: torch.Generator) -> Float[Tensor, "draws k size"]:
    """Upper triangular T with ``T^T T`` a Wishart matrix: ``min(freedom, size)`` rows, the others being 0.

    T is the triangle of the QR decomposition of a ``freedom x size`` normal matrix: standard normal above the diagonal,
    and on it the square roots of chi-squared numbers with freedom, freedom - 1, ... degrees of freedom.
    """
    rows = min(freedom, size)
    above = torch.randn(draws, rows, size, generator=generator, dtype=torch.float64).triu(1)
    shares = torch.rand(draws, rows, generator=generator, dtype=torch.float64).numpy()
    halves = [0.5 * (freedom - row) for row in range(rows)]
    diagonal = torch.from_numpy(scipy.special.gammaincinv(halves, shares)).mul(2).sqrt()
    above.diagonal(dim1=1, dim2=2).copy_(diagonal)
    return above
