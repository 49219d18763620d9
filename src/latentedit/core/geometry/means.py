"""Means of subspaces, and the one basis inside a mean subspace that is nearest to those of its samples."""

import dataclasses
from collections.abc import Sequence

import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.geometry.angles import orthonormal_columns
from latentedit.core.geometry.grassmann import exp_columns, log_columns
from latentedit.core.geometry.matching import matched_mean

_NO_GAP = 1e-10
"""Difference of two eigenvalues of the mean projector, at most 1 each, that is rounding."""

_HALF_TURN = 1e-7
"""What is left, in radians, of a rotation by pi, to which two shortest ways lead."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KarcherMean:
    """The subspace with the least sum of squared geodesic distances to given ones.

    Args:
        basis: orthonormal, in float64 on the CPU; which basis of the subspace has no meaning: see `aligned_basis`.
        distances: of each subspace to the mean, in radians.
        gradient_norm: length of the mean of the logarithms at the mean, in radians; 0 at a Karcher mean.
        steps: taken from the chordal mean.
        converged: the gradient reached the tolerance.
    """

    basis: Float[Tensor, "r *shape"]
    distances: Float[Tensor, " n"]
    gradient_norm: float
    steps: int
    converged: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedBasis:
    """A basis of a mean subspace whose every vector is a mean of vectors of the samples.

    Args:
        vectors: orthonormal, in float64 on the CPU.
        rotations: of each sample: row k holds its vector that belongs to ``vectors[k]``, in the orthonormal basis of
            the mean (`orthonormal_columns`), moved into the mean and made orthonormal with the others.
        spread: angle between ``vectors`` and each sample's rotated basis: ``sqrt`` of the sum of squares of the
            angles of the rotation between them, in radians.
        converged: the mean rotation reached the tolerance.
    """

    vectors: Float[Tensor, "r *shape"]
    rotations: Float[Tensor, "n r r"]
    spread: Float[Tensor, " n"]
    converged: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RotationMean:
    """The orthogonal matrix R with the least sum of squared distances to given ones.

    Args:
        rotation: R, in float64.
        distances: ``|log(R^T R_i)|_F / sqrt(2)``, in which a turn of one plane counts with its angle in radians.
        converged: the gradient reached the tolerance.
    """

    rotation: Float[Tensor, "r r"]
    distances: Float[Tensor, " n"]
    converged: bool


def chordal_mean(bases: Sequence[Tensor]) -> Tensor:
    """The subspace with the least sum of squared chordal distances: the top eigenvectors of ``sum_i P_i``.

    Args:
        bases: of subspaces of one rank: sets of r linearly independent vectors, ``[r, *shape]`` each.

    Returns:
        An orthonormal basis ``[r, *shape]`` in float64 on the CPU, those first that more samples share; in each vector
        the entry of largest absolute value is positive.

    Raises:
        ShapeError: sets of different shapes or numbers of vectors.
        ConfigError: no sets, dependent vectors, or samples that share no subspace of rank r more than others.

    Cost:
        QR of all ``N r`` vectors of n numbers at once, in float64: ``2 n (N r)^2`` operations and three times the
        memory of the samples.

    Source:
        Edelman, Arias & Smith 1998, section 4.3 (the distance); the mean is the Eckart-Young theorem.
    """
    span, coordinates = _compressed(bases)
    return _rows(span @ _chordal(coordinates), bases[0])


def karcher_mean(bases: Sequence[Tensor], *, tolerance: float = 1e-10, most_steps: int = 200) -> KarcherMean:
    """The Karcher (Frechet) mean of subspaces, by steps along the mean of the logarithms from the chordal mean.

    It is unique when all lie within a geodesic distance of pi / 4 of some subspace. Beyond, what is found is a
    stationary point near the chordal mean, or nothing within the steps.

    Args:
        bases: of subspaces of one rank: sets of r linearly independent vectors, ``[r, *shape]`` each.
        tolerance: of the gradient's length, in radians.
        most_steps: after which it gives up.

    Raises:
        ShapeError: sets of different shapes or numbers of vectors.
        ConfigError: no sets, dependent vectors, samples that share no subspace of rank r more than others, or a
            principal angle of pi / 2 between a sample and the mean.

    Cost:
        QR of all ``N r`` vectors of n numbers at once, in float64: ``2 n (N r)^2`` operations and three times the
        memory of the samples. Every step is free of n: it works in the span of all, of dimension ``N r`` at most.

    Source:
        Karcher 1977; Absil, Mahony & Sepulchre 2004, section 6; Afsari 2011 for uniqueness.
    """
    span, coordinates = _compressed(bases)
    mean, steps = _chordal(coordinates), 0
    logs = log_columns(mean, coordinates)
    while float(logs.mean(0).norm()) > tolerance and steps < most_steps:
        gradient = logs.mean(0)
        mean = exp_columns(mean, gradient - mean @ (mean.T @ gradient))
        logs = log_columns(mean, coordinates)
        steps += 1
    length = float(logs.mean(0).norm())
    return KarcherMean(
        basis=_rows(span @ mean, bases[0]),
        distances=torch.linalg.vector_norm(logs, dim=(1, 2)),
        gradient_norm=length,
        steps=steps,
        converged=length <= tolerance,
    )


def aligned_basis(mean: Float[Tensor, "r *shape"], bases: Sequence[Tensor]) -> AlignedBasis:
    """The basis of a mean subspace that is the mean of the bases of its samples.

    Each basis is projected onto the mean and made orthonormal (the polar factor), which gives an orthogonal matrix;
    the matrices are brought to one order and one set of signs by `matched_mean`; the result is their Karcher mean.
    Where a matrix mirrors the others, which no rotation undoes, its row that fits the mean of all worst changes sign.

    Args:
        mean: r linearly independent vectors, one a row, as `karcher_mean` or `chordal_mean` gives them.
        bases: of the samples: sets of r linearly independent vectors, ``[r, *shape]`` each, whose order and signs do
            not matter.

    Raises:
        ShapeError: sets of different shapes or numbers of vectors.
        ConfigError: no sets, dependent vectors, a sample with a direction orthogonal to the mean, or matrices half a
            turn apart.

    Cost:
        ``N r^2 n`` for n numbers a vector; one sample at a time is in float64.

    Source:
        Choi et al., ICLR 2023 (Frechet mean of local bases of GANs), step 2; matching and mirror images are ours.
    """
    frame = orthonormal_columns(mean)
    moved = [_polar(orthonormal_columns(basis).T @ frame) for basis in _checked(bases, mean)]
    matched = matched_mean(moved)
    turned = torch.stack([matching.applied(basis) for matching, basis in zip(matched.matchings, moved, strict=True)])
    rotations = _unmirrored(turned)
    middle = karcher_rotation(rotations)
    return AlignedBasis(
        vectors=(middle.rotation @ frame.T).reshape(mean.shape),
        rotations=rotations,
        spread=middle.distances,
        converged=middle.converged,
    )


def chordal_rotation(rotations: Float[Tensor, "n r r"]) -> Float[Tensor, "r r"]:
    """The orthogonal matrix with the least sum of squared Frobenius distances: the polar factor of the sum.

    Args:
        rotations: orthogonal matrices of one determinant, in float64. The result has it too if they lie near together;
            if not, the mean among rotations can differ from that among orthogonal matrices, which this is.

    Raises:
        ConfigError: a singular sum, which has no nearest orthogonal matrix.

    Source:
        Moakher 2002, section 3.
    """
    return _polar(rotations.mean(0))


def karcher_rotation(
    rotations: Float[Tensor, "n r r"], *, tolerance: float = 1e-10, most_steps: int = 200
) -> RotationMean:
    """The Karcher mean of orthogonal matrices, by steps along the mean of the logarithms from the chordal mean.

    Args:
        rotations: orthogonal matrices of one determinant, in float64.
        tolerance: of the gradient's Frobenius norm.
        most_steps: after which it gives up.

    Raises:
        ConfigError: a matrix half a turn from the mean, or on the other side of a mirror.

    Source:
        Moakher 2002, section 4.
    """
    mean, steps = chordal_rotation(rotations), 0
    logs = _rotation_logarithms(mean, rotations)
    while float(logs.mean(0).norm()) > tolerance and steps < most_steps:
        mean = _polar(mean @ torch.from_numpy(scipy.linalg.expm(logs.mean(0).numpy())))
        logs = _rotation_logarithms(mean, rotations)
        steps += 1
    return RotationMean(
        rotation=mean,
        distances=torch.linalg.vector_norm(logs, dim=(1, 2)) / 2**0.5,
        converged=float(logs.mean(0).norm()) <= tolerance,
    )


def _checked(bases: Sequence[Tensor], like: Tensor | None = None) -> Sequence[Tensor]:
    if not bases:
        raise ConfigError("there is no basis to take the mean of")
    first = bases[0] if like is None else like
    for basis in bases:
        if basis.shape != first.shape:
            raise ShapeError(f"all bases must have one shape, {list(first.shape)}; got {list(basis.shape)}")
    return bases


def _compressed(bases: Sequence[Tensor]) -> tuple[Float[Tensor, "n k"], Float[Tensor, "count k r"]]:
    """An orthonormal basis of what holds all subspaces, and orthonormal bases of theirs in its coordinates.

    Plain QR is exact here whether or not the subspaces overlap: a column that is spare meets only zeros.
    """
    columns = [orthonormal_columns(basis) for basis in _checked(bases)]
    span, triangle = torch.linalg.qr(torch.cat(columns, dim=1))
    return span, triangle.unflatten(1, (len(bases), -1)).permute(1, 0, 2).contiguous()


def _chordal(coordinates: Float[Tensor, "count k r"]) -> Float[Tensor, "k r"]:
    count, width, rank = coordinates.shape
    left, values, _ = torch.linalg.svd(coordinates.permute(1, 0, 2).reshape(width, -1), full_matrices=False)
    shares = values**2 / count
    if len(shares) > rank and float(shares[rank - 1] - shares[rank]) < _NO_GAP:
        raise ConfigError(
            f"the subspaces have no mean of rank {rank}: they share no part more than others, as orthogonal ones. "
            "Take samples that lie nearer together"
        )
    return left[:, :rank]


def _rows(columns: Float[Tensor, "n r"], like: Tensor) -> Tensor:
    """Columns as vectors of a shape, one a row, the largest entry of each positive."""
    rows = columns.T
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return (rows * largest.sign()).reshape(like.shape)


def _polar(matrix: Float[Tensor, "r r"]) -> Float[Tensor, "r r"]:
    """The nearest orthogonal matrix."""
    left, values, right = torch.linalg.svd(matrix)
    if not float(values[-1]) > 1e-12 * float(values[0]):
        raise ConfigError("a basis has no nearest rotation to the mean: one of its directions is orthogonal to it")
    return left @ right


def _unmirrored(rotations: Float[Tensor, "n r r"]) -> Float[Tensor, "n r r"]:
    """All with the determinant of the mean of all; of one that has not, the row that fits the mean worst is turned."""
    mean = chordal_rotation(rotations)
    mirrored = torch.linalg.det(rotations) * torch.linalg.det(mean) < 0
    worst = (rotations * mean).sum(2).argmin(1)
    signs = torch.ones(rotations.shape[:2], dtype=rotations.dtype)
    signs[mirrored, worst[mirrored]] = -1
    return rotations * signs.unsqueeze(2)


def _rotation_logarithms(mean: Float[Tensor, "r r"], rotations: Float[Tensor, "n r r"]) -> Float[Tensor, "n r r"]:
    """The skew matrices ``log(mean^T R_i)``: the Schur form of a rotation is diagonal, with its angles as phases."""
    logarithms: list[Tensor] = []
    for rotation in rotations:
        schur = scipy.linalg.schur((mean.T @ rotation).numpy(), output="complex")
        phases, basis = torch.from_numpy(schur[0]).diagonal().angle(), torch.from_numpy(schur[1])
        if float(phases.abs().max()) > torch.pi - _HALF_TURN:
            raise ConfigError("two bases are half a turn apart, or mirrored; a mean rotation needs less")
        whole = (basis * (1j * phases) @ basis.mH).real
        logarithms.append((whole - whole.T) / 2)
    return torch.stack(logarithms)
