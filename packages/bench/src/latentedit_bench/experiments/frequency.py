"""How fine the vectors of the local basis are: their mean spatial frequency, over levels.

A coefficient of the two-dimensional Fourier transform with ``kx`` and ``ky`` cycles a picture has the frequency
``2 sqrt((ky / h)^2 + (kx / w)^2)`` in units of Nyquist, half a cycle a pixel; corners of the spectrum reach sqrt(2).
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit_bench.experiments.decisions import Number
from latentedit_bench.experiments.experiment import RIEMANNIAN, Row, experiment
from latentedit_bench.experiments.pictures import QUICK, TWIN, Pictures, at_fitted_rank
from latentedit_bench.experiments.plots import Lines
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
            says="the same growth of the latent itself", of="latent_centroid", over="rise", where={"network": "trained"}
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
    middles, latent = centroid(basis.v).tolist(), float(centroid(basis.trace.top))
    white = white_centroid(*basis.v.shape[-2:])
    for rank, gap in gaps([basis]).items():
        mean = float(np.mean(middles[:rank]))
        yield {"rank": rank, "gap": gap, "centroid": mean, "latent_centroid": latent, "white": white}


def centroid(v: Float[Tensor, "k c h w"]) -> Float[Tensor, " k"]:
    """Mean frequency of each vector, weighted by power over all channels; after Park et al. 2023, arXiv 2307.12868."""
    if not bool(v.isfinite().all()):
        raise ConfigError("a vector holds values that are not finite. Leave it out")
    power = torch.fft.fft2(v.detach().cpu().double(), norm="ortho").abs().square().sum(1)
    total = power.sum((1, 2))
    if not bool((total > 0).all()):
        raise ConfigError("a vector is zero, and has no frequency. Leave it out")
    return (power * _frequencies(*v.shape[2:])).sum((1, 2)) / total


def white_centroid(height: int, width: int) -> float:
    """The centroid of a flat spectrum; for large pictures ``(sqrt(2) + log(1 + sqrt(2))) / 3 = 0.7652``."""
    return float(_frequencies(height, width).mean())


def _frequencies(height: int, width: int) -> Float[Tensor, "h w"]:
    rows, columns = (2 * torch.fft.fftfreq(side, dtype=torch.float64) for side in (height, width))
    return torch.hypot(rows.unsqueeze(1), columns.unsqueeze(0))
