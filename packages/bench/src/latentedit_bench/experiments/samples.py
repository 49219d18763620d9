"""Distances between the tangent spaces of different pictures, over levels."""

from latentedit_bench.experiments.declare import RIEMANNIAN, Pictures, Rows, Study, experiment
from latentedit_bench.experiments.pictures import at_fitted_rank
from latentedit_bench.experiments.subspaces import DISTANCE, DISTANCES, compared


@experiment(
    "geometry-samples",
    paper=RIEMANNIAN,
    says="tangent spaces of different samples are similar near pure noise and diverge as the noise level falls",
    on=Pictures(),
    keys=("first", "second", "level"),
    images=("first", "second"),
    prepare=at_fitted_rank,
    decides=DISTANCE.at(
        "growth of the distance between feature tangent spaces from the highest to the lowest level",
        over="rise",
    ),
    plots=(DISTANCES,),
    minutes=13,
)
def samples(study: Study, level: float) -> Rows:
    """The distance is the geodesic distance on the Grassmannian, as a share of the largest, ``pi / 2 sqrt(r)``.

    The rank r is the one after which the trained network's singular values drop most. Random subspaces of the same
    dimensions are the random level.
    """
    bases = [study.basis(picture, level) for picture in range(len(study))]
    for first, second, found in compared(study, bases):
        yield {"first": first, "second": second, **found}
