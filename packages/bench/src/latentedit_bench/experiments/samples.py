"""Distances between the tangent spaces of different pictures, over levels; and in models of simple and complex data."""

from collections.abc import Iterator

from latentedit_bench.experiments.decisions import Between, Number
from latentedit_bench.experiments.experiment import RIEMANNIAN, Row, experiment
from latentedit_bench.experiments.pictures import QUICK, TWIN, Pictures, at_fitted_rank
from latentedit_bench.experiments.plots import Lines
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import DISTANCE, SPACES, compared

_PAIR = ("first", "second")
_PLOT = Lines(y="distance", label=DISTANCE, where={"space": "h"}, null="null")


@experiment(
    "geometry-samples",
    paper=RIEMANNIAN,
    says="tangent spaces of different samples are alike near noise and diverge as the level falls",
    on=Pictures(),
    keys=(*_PAIR, "level"),
    images=_PAIR,
    prepare=at_fitted_rank,
    decides=Number(
        says="growth of the distance between tangent spaces of features from the highest to the lowest level",
        of="distance",
        where={"space": "h"},
        over="rise",
        less=(TWIN,),
    ),
    plots=(_PLOT,),
    quick=QUICK,
    minutes=13,
)
def samples(study: Study, level: float) -> Iterator[Row]:
    """The distance is the geodesic one on the Grassmannian, as a share of the largest, ``pi / 2 sqrt(r)``.

    The rank r is that after which the trained network's singular values fall most. Random subspaces of the same
    dimensions are the random level.
    """
    bases = [study.basis(picture, level) for picture in range(len(study))]
    for space in SPACES:
        for first, second, found in compared(bases, space, seed=study.seed):
            yield {"space": space, "first": first, "second": second, **found}


@experiment(
    "geometry-datasets",
    paper=RIEMANNIAN,
    says="simpler data gives more similar tangent spaces",
    on=Pictures(models=("pixels-discs", "pixels-portraits"), levels=(0.7, 0.3)),
    keys=_PAIR,
    images=_PAIR,
    decides=Between(
        says="distance between images in the model of portraits (12 attributes) less in that of discs (4 numbers)",
        number=Number(says="", of="distance", where={"space": "h", "rank": 4}, less=(TWIN,)),
        more="pixels-portraits",
        less="pixels-discs",
    ),
    plots=(_PLOT,),
    quick={**QUICK, "models": ("pixels-discs", "pixels-portraits")},
    minutes=10,
)
def datasets(study: Study, level: float) -> Iterator[Row]:
    """Networks on other pictures differ before they are trained, so each is compared with its untrained twin.

    The rank is that of the simple data, whose pictures are made of 4 numbers. One network a data set was trained; what
    another training would give is not in the interval. Discs lie anywhere and portraits in the middle, so place differs
    together with complexity.
    """
    yield from samples.look(study, level)
