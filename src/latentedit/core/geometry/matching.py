"""Which vector of one set is which of another, and the mean of sets whose order and signs mean nothing."""

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matching:
    """Which vector of a set belongs to which of a reference, each at most once.

    Args:
        order: vector ``order[k]`` of the set belongs to vector k of the reference.
        signs: 1 or -1, with which it points the same way.
        cosines: of the angle between the two, with that sign; 0 to 1.
    """

    order: Int[Tensor, " r"]
    signs: Float[Tensor, " r"]
    cosines: Float[Tensor, " r"]

    def applied(self, basis: Float[Tensor, "q *shape"]) -> Float[Tensor, "r *shape"]:
        """The set in the order of the reference and with its signs, in its own dtype and on its own device.

        Raises:
            ShapeError: fewer vectors than the matching speaks of.
        """
        if len(basis) <= int(self.order.max()):
            raise ShapeError(f"the matching speaks of {int(self.order.max()) + 1} vectors; got {len(basis)}")
        signs = self.signs.to(basis.device, basis.dtype)
        return basis[self.order.to(basis.device)] * signs.reshape(-1, *[1] * (basis.ndim - 1))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchedMean:
    """The mean of sets of vectors after matching.

    Args:
        vectors: of unit length, in float64 on the CPU; they need not be orthogonal.
        matchings: of each set with the mean.
        homogeneity: cosine of each set's vector with the mean vector: 1 where all sets agree.
        converged: another round would have changed no matching.
    """

    vectors: Float[Tensor, "r *shape"]
    matchings: tuple[Matching, ...]
    homogeneity: Float[Tensor, "n r"]
    converged: bool


def match(reference: Float[Tensor, "r *shape"], basis: Float[Tensor, "q *shape"]) -> Matching:
    """The assignment of vectors to reference vectors with the least sum of ``1 - |cos|``.

    Args:
        reference: vectors, one a row, of any length above 0; they need not be orthogonal.
        basis: likewise, at least as many; those beyond are left out where they fit worst.

    Raises:
        ShapeError: vectors of different shapes, or fewer than the reference has.
        ConfigError: a vector of length 0, or not finite.

    Cost:
        ``r q n`` for vectors of n numbers, and ``O(r^2 q)`` for the assignment.

    Source:
        Kuhn 1955, in scipy's form of Jonker & Volgenant 1987.
    """
    if reference.shape[1:] != basis.shape[1:] or len(basis) < len(reference):
        raise ShapeError(
            f"the vectors do not match the reference, {len(reference)} or more of shape {list(reference.shape[1:])}; "
            f"got {len(basis)} of {list(basis.shape[1:])}"
        )
    cosines = unit_rows(reference).flatten(1) @ unit_rows(basis).flatten(1).T
    order = torch.as_tensor(linear_sum_assignment((1 - cosines.abs()).numpy())[1])
    chosen = cosines[torch.arange(len(order)), order]
    return Matching(
        order=order,
        signs=torch.where(chosen < 0, -1.0, 1.0).double(),
        cosines=chosen.abs().clamp(max=1),
    )


def matched_mean(bases: Sequence[Tensor], *, rounds: int = 10) -> MatchedMean:
    """The mean of sets of vectors that are the same up to order, signs and noise.

    All sets are matched with the first, then with their mean, until no matching changes. No round lowers the sum of
    all cosines with the mean, so that this ends.

    Args:
        bases: sets of r vectors, one a row, ``[r, *shape]`` each; every vector counts with unit length.
        rounds: most times that the mean is taken.

    Raises:
        ShapeError: sets of different shapes.
        ConfigError: no sets, fewer than one round, or a vector of length 0 or not finite.

    Cost:
        Each round that of `match` for every set; beside the sets, memory for three of them in float64.

    Source:
        The means of Park et al. 2023 (arXiv 2302.12469); the rounds are ours.
    """
    if not bases or rounds < 1:
        raise ConfigError(f"a mean needs a set of vectors and a round; got {len(bases)} and {rounds}")
    before = [match(bases[0], basis) for basis in bases]
    mean = _mean(bases, before)
    matchings = [match(mean, basis) for basis in bases]
    while not _same(before, matchings) and rounds > 1:
        before, mean, rounds = matchings, _mean(bases, matchings), rounds - 1
        matchings = [match(mean, basis) for basis in bases]
    return MatchedMean(
        vectors=mean,
        matchings=tuple(matchings),
        homogeneity=torch.stack([matching.cosines for matching in matchings]),
        converged=_same(before, matchings),
    )


def unit_rows(vectors: Float[Tensor, "r *shape"]) -> Float[Tensor, "r *shape"]:
    """Every vector divided by its length, in float64 on the CPU.

    Raises:
        ConfigError: no vectors, or one of length 0 or not finite.
    """
    wide = vectors.detach().cpu().double().flatten(1)
    lengths = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
    if not (len(wide) and bool((lengths > 0).all()) and bool(lengths.isfinite().all())):
        raise ConfigError("there are no vectors, or one is zero or not finite. Leave it out")
    return (wide / lengths).reshape(vectors.shape)


def _mean(bases: Sequence[Tensor], matchings: Sequence[Matching]) -> Float[Tensor, "r *shape"]:
    total = torch.zeros(bases[0].shape, dtype=torch.float64)
    for basis, matching in zip(bases, matchings, strict=True):
        total += matching.applied(unit_rows(basis))
    return unit_rows(total)


def _same(some: Sequence[Matching], others: Sequence[Matching]) -> bool:
    pairs = zip(some, others, strict=True)
    return all(torch.equal(one.order, other.order) and torch.equal(one.signs, other.signs) for one, other in pairs)
