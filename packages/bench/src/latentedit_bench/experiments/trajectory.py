"""Distances between the tangent spaces at different levels of one picture's trajectory."""

from collections.abc import Iterator

from latentedit_bench.experiments.decisions import Number, slope
from latentedit_bench.experiments.experiment import RIEMANNIAN, Row, experiment
from latentedit_bench.experiments.pictures import QUICK, TWIN, Pictures, at_fitted_rank
from latentedit_bench.experiments.plots import Lines
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import DISTANCE, SPACES, compared


@experiment(
    "geometry-trajectory",
    paper=RIEMANNIAN,
    says="the further apart two levels of one trajectory, the further apart their tangent spaces",
    on=Pictures(),
    keys=("picture",),
    prepare=at_fitted_rank,
    decides=Number(
        says="growth of the distance with |s - s'|, in features, share of the largest distance for a whole level",
        of=slope("distance", "apart"),
        where={"space": "h"},
        less=(TWIN,),
    ),
    plots=(Lines(y="distance", x="apart", label=DISTANCE, where={"space": "h"}, null="null"),),
    quick={**QUICK, "levels": (0.95, 0.7, 0.5)},
    minutes=13,
)
def trajectory(study: Study, picture: int) -> Iterator[Row]:
    """That two levels differ at all can hardly fail; that they differ the more, the further they are apart, can.

    The slope is that of least squares within a picture. The rank is that after which the trained network's singular
    values fall most.
    """
    levels = study.levels
    bases = [study.basis(picture, level) for level in levels]
    for space in SPACES:
        for first, second, found in compared(bases, space, seed=study.seed):
            yield {"space": space, "apart": levels[first] - levels[second], **found}
