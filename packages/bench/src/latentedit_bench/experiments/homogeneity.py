"""Whether directions of different pictures are the same ones: each picture against the mean of the others."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.rng import stream
from latentedit.geometry.global_directions import agreement, mean_directions
from latentedit_bench.experiments.decisions import Number
from latentedit_bench.experiments.experiment import UNSUPERVISED, Row, experiment
from latentedit_bench.experiments.pictures import QUICK, TWIN, Pictures, at_fitted_rank
from latentedit_bench.experiments.plots import Lines
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import gaps


@experiment(
    "geometry-homogeneity",
    paper=UNSUPERVISED,
    says="directions agree between samples near noise, so that global ones exist, and less later",
    on=Pictures(),
    prepare=at_fitted_rank,
    decides=Number(
        says="energy of a global direction in an image's tangent space, at the highest level less at the lowest",
        of="captured",
        over="fall",
        less=(TWIN,),
    ),
    plots=(Lines(y="captured", label="energy of a global direction in a tangent space", null="random"),),
    quick=QUICK,
    minutes=14,
)
def homogeneity(study: Study, level: float) -> Iterator[Row]:
    """Global directions are the basis inside the chordal mean of the feature tangent spaces of all other images.

    The mean never includes the image that it is compared with. The rank is that after which the trained network's
    singular values fall most; random subspaces of the same dimensions are the random level.
    """
    bases = [study.basis(picture, level) for picture in range(len(study))]
    drawn = [
        torch.randn(
            one.u.flatten(1).shape, generator=stream(study.seed, "homogeneity null", index), dtype=torch.float64
        )
        for index, one in enumerate(bases)
    ]
    sets, null = _coordinates([one.u for one in bases]), _coordinates([torch.linalg.qr(one.T)[0].T for one in drawn])
    for rank, gap in gaps(bases).items():
        for picture in range(len(study)):
            found, random = (_captured([one[:rank] for one in some], picture) for some in (sets, null))
            yield {"picture": picture, "rank": rank, "gap": gap, "captured": found, "random": random}


def _captured(sets: Sequence[Tensor], picture: int) -> float | None:
    """Of the others' global directions, the mean share that lies in one set; None where the others have no mean."""
    others = [*sets[:picture], *sets[picture + 1 :]]
    try:
        return float(agreement(mean_directions(others, mean="chordal").u, [sets[picture]])[0].mean())
    except ConfigError:  # spaces that are too far apart
        return None


def _coordinates(sets: Sequence[Tensor]) -> list[Tensor]:
    """The same sets in an orthonormal basis of the span of all of them, in which angles and means are the same ones."""
    rows = torch.cat([one.detach().cpu().double().flatten(1) for one in sets])
    return list(torch.linalg.qr(rows.T, mode="r")[1].T.split([len(one) for one in sets]))
