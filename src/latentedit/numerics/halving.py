"""Search among candidates by successive halving: many on few items, the best of them on more."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Candidate = TypeVar("Candidate")
_KEPT = 3  # one in three candidates continues


def successive_halving(
    candidates: Sequence[Candidate],
    scores: Callable[[Sequence[Candidate], int], Sequence[Any]],
    sizes: Sequence[int],
) -> list[Candidate]:
    """All candidates, the best first; those that were compared on more items come before the others.

    Args:
        candidates: what is compared.
        scores: of some candidates on the first items, as many as given; the lowest is the best.
        sizes: number of items of each round; the best third of a round is compared again in the next one.
    """
    left, dropped = list(candidates), list[Candidate]()
    for number, size in enumerate(sizes, 1):
        pairs = sorted(zip(scores(left, size), left, strict=True), key=lambda pair: pair[0])
        left = [one for _, one in pairs]
        if number < len(sizes):
            kept = continuing(len(left))
            left, dropped = left[:kept], left[kept:] + dropped
    return left + dropped


def continuing(count: int) -> int:
    """How many of some candidates continue."""
    return math.ceil(count / _KEPT)
