"""How fine the vectors of the local basis are: their power over spatial frequency, over levels."""

from collections.abc import Iterator

import numpy as np

from latentedit_bench.experiments.decisions import Number
from latentedit_bench.experiments.experiment import RIEMANNIAN, Row, experiment
from latentedit_bench.experiments.pictures import QUICK, TWIN, Pictures, at_fitted_rank
from latentedit_bench.experiments.plots import Lines
from latentedit_bench.experiments.radial_power import centroid, radial_power, white_centroid
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import gaps


@experiment(
    "geometry-frequency",
    paper=RIEMANNIAN,
    says="the local basis moves from low to high spatial frequency as the level falls",
    on=Pictures(),
    decides=Number(
        says="growth of the mean frequency of the basis from the highest to the lowest level, in units of Nyquist",
        of="centroid",
        over="rise",
        less=(TWIN,),
    ),
    tells=(
        Number(
            says="the same growth of the latent itself",
            of="latent_centroid",
            over="rise",
            where={"network": "trained"},
        ),
    ),
    plots=(Lines(y="centroid", label="mean frequency / Nyquist", null="white"),),
    prepare=at_fitted_rank,
    quick=QUICK,
    minutes=12,
)
def frequency(study: Study, level: float, picture: int) -> Iterator[Row]:
    """The mean frequency of a vector is weighted by power.

    As many vectors count as the spectrum supports: up to the rank after which the trained network's singular values
    fall most. White noise is the random level. Vectors that only followed what is in the latent would have its
    frequency.
    """
    basis = study.basis(picture, level)
    middles, latent = centroid(radial_power(basis.v)).tolist(), float(centroid(radial_power(basis.trace.top)))
    white = white_centroid(*basis.v.shape[-2:])
    for rank, gap in gaps([basis]).items():
        mean = float(np.mean(middles[:rank]))
        yield {"rank": rank, "gap": gap, "centroid": mean, "latent_centroid": latent, "white": white}
