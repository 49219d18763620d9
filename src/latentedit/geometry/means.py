"""Means of subspaces, rotations and vectors up to order and sign; the basis of a mean nearest to its samples."""

import dataclasses
from collections.abc import Callable, Sequence

import scipy.linalg
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.geometry.subspaces import Vectors, exp_columns, log_columns, orthonormal_columns, vectors_of

_NO_GAP = 1e-10  # difference of two eigenvalues of the mean projector, at most 1 each, that is rounding
_TOLERANCE, _MOST_STEPS = 1e-10, 200  # length of the gradient of a Karcher mean in radians; steps of its search
_HALF_TURN = 1e-7  # how near, in radians, a rotation may come to pi, where its logarithm is not unique


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KarcherMean:
    """The subspace, or the rotation, with the least sum of squared geodesic distances to the given ones."""

    basis: Float[Tensor, "r *shape"]  # orthonormal, in float64 on the CPU; of a subspace only the span has a meaning
    gradient_norm: float  # length of the mean of the logarithms at the mean, in radians; 0 at a Karcher mean
    steps: int  # taken from the chordal mean
    converged: bool  # the gradient reached the tolerance


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedBasis:
    """A basis of a mean subspace, each vector of which is a mean of vectors of the samples."""

    vectors: Float[Tensor, "r *shape"]  # orthonormal, in float64 on the CPU
    rotations: Float[Tensor, "n r r"]  # each sample's matched vectors in the orthonormal basis of the mean
    converged: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchedMean:
    """The mean of sets of vectors after matching, and the matching of each set with the mean."""

    vectors: Float[Tensor, "r *shape"]  # unit vectors in float64 on the CPU; not orthogonal in general
    matchings: "tuple[Matching, ...]"
    converged: bool  # another round would change no matching


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matching:
    """An assignment: vector ``order[k]`` of a set, times ``signs[k]``, matches vector k of the reference."""

    order: Int[Tensor, " r"]
    signs: Float[Tensor, " r"]
    cosines: Float[Tensor, " r"]  # between the matched vectors with that sign, 0 to 1

    def applied(self, basis: Float[Tensor, "q *shape"]) -> Float[Tensor, "r *shape"]:
        """The set in the order of the reference and with its signs, in its own dtype and on its own device."""
        signs = self.signs.to(basis.device, basis.dtype)
        return basis[self.order.to(basis.device)] * signs.reshape(-1, *[1] * (basis.ndim - 1))


def chordal_mean(bases: Sequence[Vectors]) -> Tensor:
    """The subspace with the least sum of squared chordal distances: the top eigenvectors of ``sum_i P_i``.

    Args:
        bases: of subspaces of one rank: sets of r linearly independent vectors, ``[r, *shape]`` each, or local bases.

    Returns:
        An orthonormal basis ``[r, *shape]`` in float64 on the CPU, ordered by how many samples share each vector; in
        each vector the entry of largest absolute value is positive.

    Raises:
        ShapeError: no sets, or sets of different shapes or numbers of vectors.
        ConfigError: dependent vectors, or samples that share no subspace of rank r more than others.

    Cost:
        QR of all ``N r`` vectors of n numbers at once, in float64: ``2 n (N r)^2`` operations and three times the
        memory of the samples.

    Source:
        Edelman, Arias & Smith 1998, section 4.3 (the distance); the mean is the Eckart-Young theorem.
    """
    span, coordinates = _compressed(bases)
    return _rows(span @ _chordal(coordinates), vectors_of(bases[0]))


def karcher_mean(bases: Sequence[Vectors], *, most_steps: int = _MOST_STEPS) -> KarcherMean:
    """The Karcher (Frechet) mean of subspaces, by steps along the mean of the logarithms from the chordal mean.

    It is unique when all lie within a geodesic distance of pi / 4 of some subspace. Beyond that, the result is a
    stationary point near the chordal mean, or has not converged.

    Args:
        bases: of subspaces of one rank: sets of r linearly independent vectors, ``[r, *shape]`` each, or local bases.
        most_steps: maximum number of steps.

    Raises:
        ShapeError: no sets, or sets of different shapes or numbers of vectors.
        ConfigError: dependent vectors, samples that share no subspace of rank r more than others, or a
            principal angle of pi / 2 between a sample and the mean.

    Cost:
        QR of all ``N r`` vectors of n numbers at once, in float64: ``2 n (N r)^2`` operations and three times the
        memory of the samples. The cost of a step does not depend on n: it works in the span of all samples, of
        dimension ``N r`` at most.

    Source:
        Karcher 1977; Absil, Mahony & Sepulchre 2004, section 6; Afsari 2011 for uniqueness.
    """
    span, coordinates = _compressed(bases)

    def step(mean: Tensor, gradient: Tensor) -> Tensor:
        # A tangent is orthogonal to its base; what rounding leaves inside would turn the basis.
        return exp_columns(mean, gradient - mean @ (mean.T @ gradient))

    result = _descended(_chordal(coordinates), coordinates, log_columns, step, most_steps)
    return dataclasses.replace(result, basis=_rows(span @ result.basis, vectors_of(bases[0])))


def aligned_basis(mean: Float[Tensor, "r *shape"], bases: Sequence[Tensor]) -> AlignedBasis:
    """The basis of a mean subspace that is the mean of the bases of its samples, whose order and signs do not matter.

    Each basis is projected onto the mean and made orthonormal (the polar factor), which gives an orthogonal matrix;
    `matched_mean` gives these one order and one set of signs; the result is their Karcher mean. Where a matrix mirrors
    the others, which no rotation undoes, the row that fits the mean of all worst changes its sign. Choi et al., ICLR
    2023 (Frechet mean of local bases of GANs), step 2; matching and mirror images are ours.
    """
    frame = orthonormal_columns(mean)
    projected = [_polar(orthonormal_columns(basis).T @ frame) for basis in _checked(bases, mean)]
    matchings = matched_mean(projected).matchings
    matched = torch.stack([matching.applied(basis) for matching, basis in zip(matchings, projected, strict=True)])
    rotations = _unmirrored(matched)
    middle = karcher_rotation(rotations)
    return AlignedBasis(
        vectors=(middle.basis @ frame.T).reshape(mean.shape), rotations=rotations, converged=middle.converged
    )


def chordal_rotation(rotations: Float[Tensor, "n r r"]) -> Float[Tensor, "r r"]:
    """The orthogonal matrix with the least sum of squared Frobenius distances (Moakher 2002, section 3).

    It has the determinant of the given ones if these lie near together.
    """
    return _polar(rotations.mean(0))


def karcher_rotation(rotations: Float[Tensor, "n r r"]) -> KarcherMean:
    """The Karcher mean of orthogonal matrices of one determinant, in float64 (Moakher 2002, section 4)."""

    def step(mean: Tensor, gradient: Tensor) -> Tensor:
        # The exponential of a skew matrix is orthogonal but for rounding, which would add up over the steps.
        return _polar(mean @ torch.from_numpy(scipy.linalg.expm(gradient.numpy())))

    return _descended(chordal_rotation(rotations), rotations, _rotation_logarithms, step, _MOST_STEPS)


def _descended(
    mean: Tensor,
    samples: Tensor,
    logarithms: Callable[[Tensor, Tensor], Tensor],
    step: Callable[[Tensor, Tensor], Tensor],
    most_steps: int,
) -> KarcherMean:
    """Steps along the mean of the logarithms until it vanishes."""
    logs, steps = logarithms(mean, samples), 0
    while (length := float(logs.mean(0).norm())) > _TOLERANCE and steps < most_steps:
        mean = step(mean, logs.mean(0))
        logs, steps = logarithms(mean, samples), steps + 1
    return KarcherMean(basis=mean, gradient_norm=length, steps=steps, converged=length <= _TOLERANCE)


def match(reference: Float[Tensor, "r *shape"], basis: Float[Tensor, "q *shape"]) -> Matching:
    """The assignment of vectors to reference vectors with the least sum of ``1 - |cos|`` (Kuhn 1955).

    Neither set needs to be orthonormal. It costs ``r q n`` for vectors of n numbers.
    """
    assert len(basis) >= len(reference), "every reference vector needs a vector of its own"
    cosines = unit_rows(reference).flatten(1) @ unit_rows(basis).flatten(1).T
    order = torch.as_tensor(linear_sum_assignment((1 - cosines.abs()).numpy())[1])
    chosen = cosines[torch.arange(len(order)), order]
    return Matching(order=order, signs=torch.where(chosen < 0, -1.0, 1.0).double(), cosines=chosen.abs().clamp(max=1))


def matched_mean(bases: Sequence[Tensor], *, rounds: int = 10) -> MatchedMean:
    """The mean of sets of vectors that are equal up to order, signs and noise; every vector counts with unit length.

    All sets are matched with the first, then with their mean, until no matching changes or the rounds are over. No
    round lowers the sum of all cosines with the mean, so this ends. The means are those of Park et al. 2023 (arXiv
    2302.12469); the rounds are ours.
    """
    before = [match(bases[0], basis) for basis in _checked(bases)]
    mean = _mean(bases, before)
    matchings = [match(mean, basis) for basis in bases]
    while not _same(before, matchings) and rounds > 1:
        before, mean, rounds = matchings, _mean(bases, matchings), rounds - 1
        matchings = [match(mean, basis) for basis in bases]
    return MatchedMean(vectors=mean, matchings=tuple(matchings), converged=_same(before, matchings))


def unit_rows(vectors: Float[Tensor, "r *shape"]) -> Float[Tensor, "r *shape"]:
    """Every vector divided by its length, in float64 on the CPU."""
    wide = vectors.detach().cpu().double().flatten(1)
    lengths = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
    if not (len(wide) and bool((lengths > 0).all()) and bool(lengths.isfinite().all())):
        raise ConfigError("there are no vectors, or one of them is zero or not finite")
    return (wide / lengths).reshape(vectors.shape)


def _mean(bases: Sequence[Tensor], matchings: Sequence[Matching]) -> Float[Tensor, "r *shape"]:
    total = torch.zeros(bases[0].shape, dtype=torch.float64)
    for basis, matching in zip(bases, matchings, strict=True):
        total += matching.applied(unit_rows(basis))
    return unit_rows(total)


def _same(some: Sequence[Matching], others: Sequence[Matching]) -> bool:
    pairs = zip(some, others, strict=True)
    return all(torch.equal(a.order, b.order) and torch.equal(a.signs, b.signs) for a, b in pairs)


def _checked(bases: Sequence[Tensor], like: Tensor | None = None) -> Sequence[Tensor]:
    shapes = [tuple(basis.shape) for basis in (*bases, *([] if like is None else [like]))]
    if not bases or len(set(shapes)) > 1:
        raise ShapeError(f"a mean needs one basis or more, all of one shape; got {shapes}")
    return bases


def _compressed(bases: Sequence[Vectors]) -> tuple[Float[Tensor, "n k"], Float[Tensor, "count k r"]]:
    """An orthonormal basis of the span of all subspaces, and orthonormal bases of each in its coordinates.

    Plain QR is exact here even if the subspaces overlap: a superfluous column meets only zeros.
    """
    columns = [orthonormal_columns(basis) for basis in _checked([*map(vectors_of, bases)])]
    span, triangle = torch.linalg.qr(torch.cat(columns, dim=1))
    return span, triangle.unflatten(1, (len(bases), -1)).permute(1, 0, 2).contiguous()


def _chordal(coordinates: Float[Tensor, "count k r"]) -> Float[Tensor, "k r"]:
    count, width, rank = coordinates.shape
    left, values, _ = torch.linalg.svd(coordinates.permute(1, 0, 2).reshape(width, -1), full_matrices=False)
    shares = values**2 / count
    if len(shares) > rank and float(shares[rank - 1] - shares[rank]) < _NO_GAP:
        raise ConfigError(
            f"the subspaces have no mean of rank {rank}: they share no part more than others, as orthogonal ones. "
            "Use samples that lie nearer together"
        )
    return left[:, :rank]


def _rows(columns: Float[Tensor, "n r"], like: Tensor) -> Tensor:
    """Columns as vectors of a shape, one a row, the largest entry of each positive."""
    return positive_rows(columns.T).reshape(like.shape)


def positive_rows(rows: Float[Tensor, "r n"]) -> Float[Tensor, "r n"]:
    """Rows with the sign that makes the entry of largest absolute value positive."""
    return rows * rows.gather(1, rows.abs().argmax(1, keepdim=True)).sign()


def _polar(matrix: Float[Tensor, "r r"]) -> Float[Tensor, "r r"]:
    """The nearest orthogonal matrix."""
    left, values, right = torch.linalg.svd(matrix)
    if not float(values[-1]) > 1e-12 * float(values[0]):
        raise ConfigError("a basis has no nearest rotation to the mean: one of its directions is orthogonal to it")
    return left @ right


def _unmirrored(rotations: Float[Tensor, "n r r"]) -> Float[Tensor, "n r r"]:
    """All with the determinant of their mean: in a mirrored one, the row that fits the mean worst changes its sign."""
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
            raise ConfigError("two bases are half a turn apart, or mirrored, so they have no mean rotation")
        logarithm = (basis * (1j * phases) @ basis.mH).real
        # Skew but for rounding.
        logarithms.append((logarithm - logarithm.T) / 2)
    return torch.stack(logarithms)
