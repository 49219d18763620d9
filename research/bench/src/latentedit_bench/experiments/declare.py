"""Everything that a module with an experiment imports."""

from latentedit_bench.experiments.experiment import EIM_PAPER, RIEMANNIAN, UNSUPERVISED, Rows, experiment
from latentedit_bench.experiments.images import TWIN, Images
from latentedit_bench.experiments.items import (
    COMPLETED,
    FULL,
    PARTIAL,
    Batches,
    Edits,
    Items,
    Lab,
    Latents,
    Placed,
    Tables,
)
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.decisions import Difference, MeansCorrelation, Measure, ModelDifference, RankCorrelation
from latentedit_bench.ranking.evaluate import Method
from latentedit_bench.report.plots import Dots, Lines, Points

__all__ = ["EIM_PAPER", "RIEMANNIAN", "UNSUPERVISED", "Rows", "experiment"]
__all__ += ["Batches", "Edits", "Images", "Items", "Lab", "Latents", "Method", "Placed", "Study", "Tables"]
__all__ += [
    "Difference",
    "Dots",
    "Lines",
    "MeansCorrelation",
    "Measure",
    "ModelDifference",
    "Points",
    "RankCorrelation",
]
__all__ += ["COMPLETED", "FULL", "PARTIAL", "TWIN"]
