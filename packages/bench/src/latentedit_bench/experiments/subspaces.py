"""Distances between the subspaces of two local bases, at several ranks; and how many dimensions vectors take."""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.geometry.local_basis import LocalBasis
from latentedit.geometry.subspaces import RandomLevel, geodesic_distance, random_level

SPACES = {"h": "feature tangent spaces (u)", "x": "latent tangent spaces (v)"}
RANKS = (1, 2, 4, 7)  # where the bases have them; the gap after the last vector of a basis of 8 is not known
DISTANCE = "geodesic distance / largest possible"  # what plots call the distance


def ranks_of(rank: int) -> tuple[int, ...]:
    """Those of `RANKS` that bases of a rank have."""
    return tuple(one for one in RANKS if one <= rank)


def gaps(bases: Sequence[LocalBasis]) -> dict[int, float]:
    """Of each rank r the mean over bases of ``log(s_r / s_{r+1})``; nan where the next value is not known.

    A subspace of rank r is as well defined as this is large: at 0 the r-th vector could be exchanged for the next.
    """
    logs = (
        torch.stack([basis.singular_values.double().clamp_min(1e-30).log().cpu() for basis in bases]).mean(0).tolist()
    )
    return {r: logs[r - 1] - logs[r] if r < len(logs) else math.nan for r in ranks_of(len(logs))}


def compared(
    bases: Sequence[LocalBasis], space: str, *, seed: int
) -> Iterator[tuple[int, int, dict[str, float | int]]]:
    """All pairs of bases in one space: two indices, and what is found of that pair as columns of a row for each rank.

    "distance" is the geodesic distance on the Grassmannian as a share of the largest, ``pi / 2 sqrt(r)``; "null" is the
    mean of random subspaces of the same dimensions, in the same unit; "gap" is that of `gaps` over all bases.
    """
    sets = [basis.u if space == "h" else basis.v for basis in bases]
    for rank, gap in gaps(bases).items():
        largest = math.pi / 2 * math.sqrt(rank)
        null = _random(sets[0][0].numel(), rank, seed).mean / largest
        for first, second in itertools.combinations(range(len(sets)), 2):
            distance = geodesic_distance(sets[first][:rank], sets[second][:rank]) / largest
            yield first, second, {"rank": rank, "gap": gap, "distance": distance, "null": null}


@functools.cache
def _random(numbers: int, rank: int, seed: int) -> RandomLevel:
    return random_level(numbers, rank, seed=seed)


def effective_dimension(rows: Float[Tensor, "n width"]) -> float:
    """The participation ratio ``(tr C)^2 / tr C^2`` of the covariance C of vectors.

    Both parts are unbiased: the averages of ``|x_i - x_j|^2 |x_k - x_l|^2 / 4`` and
    ``((x_i - x_j) . (x_k - x_l))^2 / 4`` over four different rows (Himeno and Yamada 2014, J. Multivariate Anal. 130).
    """
    count, centred = len(rows), rows.double() - rows.double().mean(0)
    gram = centred @ centred.T
    trace, square = gram.trace() / (count - 1), gram.square().sum() / (count - 1) ** 2
    fourth = count * gram.diagonal().square().sum() / (count - 1)
    trace_squared = 2 * square + (count**2 - 3 * count + 1) * trace**2 - fourth
    square_traced = (count - 1) * (count - 2) * square + trace**2 - fourth
    return float(trace_squared / square_traced)
