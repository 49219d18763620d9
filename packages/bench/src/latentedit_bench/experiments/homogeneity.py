"""Whether directions of different pictures are the same ones: each picture against the mean of the others."""

import torch

from latentedit.core.rng import stream
from latentedit_bench.experiments.declare import TWIN, UNSUPERVISED, Lines, Number, Pictures, Rows, Study, experiment
from latentedit_bench.experiments.pictures import at_fitted_rank
from latentedit_bench.experiments.subspaces import captured, coordinates, fits


@experiment(
    "geometry-homogeneity",
    paper=UNSUPERVISED,
    says="near pure noise directions agree across samples, so global directions exist; they agree less later",
    on=Pictures(),
    prepare=at_fitted_rank,
    decides=Number(
        says="energy of a global direction in an image's tangent space at the highest level minus at the lowest",
        of="captured",
        unit="%",
        over="fall",
        less=(TWIN,),
    ),
    plots=(Lines(y="captured", label="energy of a global direction in a tangent space", null="random"),),
    minutes=14,
)
def homogeneity(study: Study, level: float) -> Rows:
    """Global directions are the basis within the chordal mean of the feature tangent spaces of all other images.

    The mean never includes the image that it is compared with. The rank is the one after which the trained network's
    singular values drop most. Random subspaces of the same dimensions are the random level.
    """
    bases = [study.basis(picture, level) for picture in range(len(study))]
    draws = [stream(study.seed, "homogeneity null", index) for index in range(len(bases))]
    sizes = [one.u.flatten(1).shape for one in bases]
    drawn = [torch.randn(size, generator=g, dtype=torch.float64) for size, g in zip(sizes, draws, strict=True)]
    sets, null = coordinates([one.u for one in bases]), coordinates([torch.linalg.qr(one.T)[0].T for one in drawn])
    for rank, fit in fits(study, bases).items():
        for picture in range(len(study)):
            found, random = (captured([one[:rank] for one in some], picture) for some in (sets, null))
            yield {"picture": picture, "rank": rank, "fit": fit, "captured": found, "random": random}
