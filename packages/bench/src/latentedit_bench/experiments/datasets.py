"""Distances between the tangent spaces of different pictures in models of simple and of complex data."""

from latentedit_bench.experiments.declare import RIEMANNIAN, Between, Pictures, Rows, Study, experiment
from latentedit_bench.experiments.samples import samples
from latentedit_bench.experiments.subspaces import DISTANCE, DISTANCES


@experiment(
    "geometry-datasets",
    paper=RIEMANNIAN,
    says="simpler data gives more similar tangent spaces",
    on=Pictures(models=("pixels-discs", "pixels-portraits"), levels=(0.7, 0.3)),
    keys=("first", "second"),
    images=("first", "second"),
    decides=Between(
        number=DISTANCE.at(rank=4),
        more="pixels-portraits",
        less="pixels-discs",
    ),
    plots=(DISTANCES,),
    quick={"models": ("pixels-discs", "pixels-portraits"), "pictures": 4},
    minutes=10,
)
def datasets(study: Study, level: float) -> Rows:
    """Networks for different data differ even before training, so each is compared with its untrained twin.

    The rank is that of the simple data, whose images are determined by 4 numbers. One network was trained on each data
    set, so the interval does not cover variation between trainings. Discs lie anywhere in the image and portraits in
    the middle, so position varies along with complexity.
    """
    yield from samples.look(study, level)
