"""How fine the vectors of the local basis are: their mean spatial frequency, over levels."""

import numpy as np

from latentedit_bench.experiments.declare import RIEMANNIAN, TWIN, Lines, Number, Pictures, Rows, Study, experiment
from latentedit_bench.experiments.pictures import at_fitted_rank
from latentedit_bench.experiments.subspaces import fits
from latentedit_bench.metrics.spatial_frequency import centroid, white_centroid

_GROWTH = Number(
    says="growth of the mean frequency of the basis from the highest to the lowest level",
    of="centroid",
    unit="of Nyquist",
    over="rise",
    less=(TWIN,),
)


@experiment(
    "geometry-frequency",
    paper=RIEMANNIAN,
    says="as the noise level falls, the local basis moves from low to high spatial frequencies",
    on=Pictures(),
    decides=_GROWTH,
    tells=(_GROWTH.at("the same growth of the latent itself", of="latent_centroid", less=(), network="trained"),),
    plots=(Lines(y="centroid", label="mean frequency / Nyquist", null="white"),),
    prepare=at_fitted_rank,
    minutes=12,
)
def frequency(study: Study, level: float, picture: int) -> Rows:
    """The mean frequency of a vector is weighted by power.

    Only as many vectors are averaged as the spectrum supports: up to the rank after which the trained network's
    singular values drop most. White noise is the random level. Vectors that merely follow the content of the latent
    would have its frequency.
    """
    basis = study.basis(picture, level)
    middles, latent = centroid(basis.v).tolist(), float(centroid(basis.trace.top))
    white = white_centroid(*basis.v.shape[-2:])
    for rank, fit in fits(study, [basis]).items():
        mean = float(np.mean(middles[:rank]))
        yield {"rank": rank, "fit": fit, "centroid": mean, "latent_centroid": latent, "white": white}
