"""Distances between the subspaces of local bases, at several ranks; and what one shares with the mean of others."""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from latentedit import LocalBasis
from latentedit.core import ConfigError
from latentedit.geometry import agreement, chordal_mean, geodesic_distance, random_level
from latentedit_bench.experiments.images import TWIN
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.decisions import Measure
from latentedit_bench.report.plots import Lines

RANKS = (1, 2, 4, 7)  # where the bases have them; the gap after the last vector of a basis of 8 is not known
DISTANCE = Measure(
    name="distance between feature tangent spaces",
    column="distance",
    unit="% of the largest distance",
    differences=(TWIN,),
)
DISTANCES = Lines(y="distance", label="geodesic distance / largest possible", null="null")


def fits(study: Study, bases: Sequence[LocalBasis]) -> dict[int, float]:
    """How well each of `RANKS` fits the study's rule (`study.Ranks`), larger being better; nan where it is not known.

    By the gap it is the mean of ``log(s_r / s_{r+1})``: at 0 the r-th vector could be exchanged for the next.
    """
    ranks = [rank for rank in RANKS if rank <= len(bases[0])]
    if study.ranks == "energy":
        shares = torch.stack([basis.energy() for basis in bases]).mean(0).tolist()
        return {r: -abs(shares[r - 1] - 0.5) for r in ranks}
    values = torch.stack([basis.singular_values.double().cpu() for basis in bases])
    logs = values.clamp_min(1e-30).log().mean(0).tolist()
    return {r: logs[r - 1] - logs[r] if r < len(logs) else math.nan for r in ranks}


@functools.cache
def fitted_rank(study: Study, level: float) -> int:
    """The rank that fits all images best at a level; that of the trained network where the study is of its twin."""
    if study.trained is not None:
        return fitted_rank(study.trained, level)
    found = fits(study, [study.basis(image, level) for image in range(len(study))])
    return max(found, key=lambda rank: found[rank])


def compared(study: Study, bases: Sequence[LocalBasis]) -> Iterator[tuple[int, int, dict[str, float | int]]]:
    """Distances of all pairs of feature tangent spaces, for each rank: two indices, and columns of a row.

    "distance" is the geodesic distance on the Grassmannian as a share of the largest, ``pi / 2 sqrt(r)``; "null" is the
    mean of random subspaces of the same dimensions, in the same unit; "fit" is that of `fits`.
    """
    sets = [basis.u for basis in bases]
    for rank, fit in fits(study, bases).items():
        largest = math.pi / 2 * math.sqrt(rank)
        null = _random(sets[0][0].numel(), rank, seed=study.seed).mean / largest
        for first, second in itertools.combinations(range(len(sets)), 2):
            distance = geodesic_distance(sets[first][:rank], sets[second][:rank]) / largest
            yield first, second, {"rank": rank, "fit": fit, "distance": distance, "null": null}


_random = functools.cache(random_level)


def captured(sets: Sequence[Tensor], image: int) -> float | None:
    """The mean share of the others' chordal mean that lies in one set; None where the others have no mean."""
    others = [*sets[:image], *sets[image + 1 :]]
    try:
        return float(agreement(chordal_mean(others), [sets[image]])[0].mean())
    except ConfigError:  # spaces that are too far apart
        return None


def coordinates(sets: Sequence[Tensor]) -> list[Tensor]:
    """The same sets in an orthonormal basis of the span of all of them, in which angles and means are the same ones."""
    rows = torch.cat([one.detach().cpu().double().flatten(1) for one in sets])
    return list(torch.linalg.qr(rows.T, mode="r")[1].T.split([len(one) for one in sets]))
