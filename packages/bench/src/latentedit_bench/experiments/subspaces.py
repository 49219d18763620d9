"""Distances between the subspaces of two local bases, at several ranks, and which rank the spectrum supports."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import torch

from latentedit.core.geometry.grassmann import RandomLevel, geodesic_distance, random_level
from latentedit.directions.local_basis import LocalBasis
from latentedit_bench.experiments.controls import Number, against_control, of_network
from latentedit_bench.metrics.statistics import Estimate, Table

SPACES = {"h": "feature tangent spaces (u)", "x": "latent tangent spaces (v)"}

RANKS = (1, 2, 4, 7)
"""Ranks of which all statements are tried, where the bases have them; 7 because the gap after the last vector of a
basis of 8 is not known."""

DISTANCE = "geodesic distance / largest possible"
"""What plots call the distance."""


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


def fitted_rank(rows: Table) -> int:
    """The rank after which the trained network's singular values fall most, over all levels.

    Args:
        rows: of one model, with "rank", "gap" as `gaps` gives it, and "network".
    """
    own = of_network(rows, "trained").groupby("rank")["gap"].mean()
    return int(own.idxmax()) if own.notna().any() else int(own.index.max())


def at_fitted_rank(rows: Table) -> Table:
    """The rows of that rank."""
    return rows[rows["rank"] == fitted_rank(rows)]


def at_each_rank(
    part: Table, column: str, keys: Sequence[str], number: Callable[[Table], Estimate], said: str, measure: str
) -> list[Number]:
    """`against_control` at the fitted rank; then at all others what the trained network has more than the twin.

    Args:
        part: rows of one model, with "rank", "gap" and "network".
        column, keys, number, said: see there.
        measure: see there; the rank is added.
    """
    fitted = fitted_rank(part)
    claims = list[Number]()
    for rank in sorted({int(one) for one in part["rank"]}, key=lambda rank: (rank != fitted, rank)):
        where = f"{measure}, rank {rank}{' (fitted)' if rank == fitted else ''}"
        found = against_control(part[part["rank"] == rank], column, keys, number, said, where)
        claims += found if rank == fitted else found[:1]
    return claims


def compared(
    bases: Sequence[LocalBasis], space: str, *, seed: int
) -> Iterator[tuple[int, int, dict[str, float | int]]]:
    """All pairs of bases in one space: two indices, and what is found of that pair as columns of a row for each rank.

    "distance" is the geodesic distance on the Grassmannian as a share of the largest, ``pi / 2 sqrt(r)``; "null",
    "null_low" and "null_high" are the level of random subspaces of the same dimensions, in the same unit; "gap" is that
    of `gaps` over all bases.

    Args:
        bases: of one rank, at one site.
        space: one of `SPACES`.
        seed: of the random subspaces.
    """
    sets = [basis.u if space == "h" else basis.v for basis in bases]
    for rank, gap in gaps(bases).items():
        largest = math.pi / 2 * math.sqrt(rank)
        null = _random(sets[0][0].numel(), rank, seed)
        levels = {"null": null.mean / largest, "null_low": null.low / largest, "null_high": null.high / largest}
        for first, second in itertools.combinations(range(len(sets)), 2):
            distance = geodesic_distance(sets[first][:rank], sets[second][:rank]) / largest
            yield first, second, {"rank": rank, "gap": gap, "distance": distance, **levels}


@functools.cache
def _random(numbers: int, rank: int, seed: int) -> RandomLevel:
    return random_level(numbers, rank, seed=seed)
