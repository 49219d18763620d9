"""Distances between the tangent spaces at different levels of one picture's trajectory."""

import dataclasses

from latentedit_bench.experiments.decisions import slope
from latentedit_bench.experiments.declare import RIEMANNIAN, Pictures, Rows, Study, experiment
from latentedit_bench.experiments.pictures import at_fitted_rank
from latentedit_bench.experiments.subspaces import DISTANCE, DISTANCES, compared


@experiment(
    "geometry-trajectory",
    paper=RIEMANNIAN,
    says="the further apart two noise levels of a trajectory are, the further apart are their tangent spaces",
    on=Pictures(),
    keys=("picture",),
    prepare=at_fitted_rank,
    decides=DISTANCE.at(
        "slope of the distance between feature tangent spaces over |s - s'|",
        of=slope("distance", "level difference"),
    ),
    plots=(dataclasses.replace(DISTANCES, x="level difference"),),
    quick={"pictures": 4, "levels": (0.95, 0.7, 0.5)},
    minutes=13,
)
def trajectory(study: Study, picture: int) -> Rows:
    """That two levels differ at all can hardly fail. That the distance grows with the difference of levels can.

    The slope is the least-squares slope within an image. The rank is the one after which the trained network's singular
    values drop most.
    """
    levels = study.levels
    bases = [study.basis(picture, level) for level in levels]
    for first, second, found in compared(study, bases):
        yield {"level difference": levels[first] - levels[second], **found}
