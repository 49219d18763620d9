"""Local bases over levels: the spectrum of the Jacobian, how fine the vectors are, and whether images share them."""

import math

import numpy as np
import torch

from latentedit.numerics import stream
from latentedit_bench.experiments.experiment import RIEMANNIAN, UNSUPERVISED, Rows, experiment
from latentedit_bench.experiments.images import TWIN, Images, at_fitted_rank
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import captured, coordinates, fits
from latentedit_bench.metrics.decisions import Measure
from latentedit_bench.metrics.vectors import centroid, white_centroid
from latentedit_bench.report.plots import Lines


@experiment(
    "geometry-spectrum",
    paper=UNSUPERVISED,
    claim="the spectrum of the Jacobian is steep near pure noise and flattens towards the image",
    source=Images(),
    primary=Measure(
        name="growth of log10 of the stable rank |J|_F^2 / s_1^2 from the highest to the lowest level",
        column="log_stable_rank",
        trend="rise",
        differences=(TWIN,),
    ),
    plots=(
        Lines(y="share", x="index", by="level", label="s_k / s_1", where={"network": "trained"}),
        Lines(y="log_stable_rank", label="log10 of the stable rank", null="random"),
    ),
    quick={"probes": 4},
    minutes=15,
)
def spectrum(study: Study, level: float, image: int, *, probes: int = 8) -> Rows:
    """The stable rank is the effective number of directions in which the map is as strong as in the first one.

    The Frobenius norm is estimated from random probes, ``|J|_F^2 = E |J g|^2`` for standard normal g. The random level
    is that of a matrix of independent normal entries of the same shape, ``m n / (sqrt(m) + sqrt(n))^2`` (Marchenko and
    Pastur).
    """
    basis = study.basis(image, level)
    j = basis.jacobian
    noise = torch.randn(probes, *j.in_shape, generator=stream(study.seed, "spectrum probes", image))
    norm = float(j.matmat(noise.to(basis.v)).double().square().flatten(1).sum(1).mean().sqrt())
    s = basis.singular_values.double()
    sides = [float(np.sqrt(np.prod(shape))) for shape in (j.in_shape, j.out_shape)]
    random = 2 * math.log10(sides[0] * sides[1] / sum(sides))
    for index, share in enumerate((s / s[0]).tolist(), start=1):
        yield {"index": index, "share": share, "log_stable_rank": 2 * math.log10(norm / float(s[0])), "random": random}


_GROWTH = Measure(
    name="growth of the mean frequency of the basis from the highest to the lowest level",
    column="centroid",
    unit="of Nyquist",
    trend="rise",
    differences=(TWIN,),
)


@experiment(
    "geometry-frequency",
    paper=RIEMANNIAN,
    claim="as the noise level falls, the local basis moves from low to high spatial frequencies",
    source=Images(),
    primary=_GROWTH,
    secondary=(
        _GROWTH.variant(
            "the same growth of the latent itself", column="latent_centroid", differences=(), network="trained"
        ),
    ),
    plots=(Lines(y="centroid", label="mean frequency / Nyquist", null="white"),),
    prepare=at_fitted_rank,
    minutes=12,
)
def frequency(study: Study, level: float, image: int) -> Rows:
    """The mean frequency of a vector is weighted by power.

    Only as many vectors are averaged as the spectrum supports: up to the rank after which the trained network's
    singular values drop most. White noise is the random level. Vectors that merely follow the content of the latent
    would have its frequency.
    """
    basis = study.basis(image, level)
    middles, latent = centroid(basis.v).tolist(), float(centroid(basis.trace.top))
    white = white_centroid(*basis.v.shape[-2:])
    for rank, fit in fits(study, [basis]).items():
        mean = float(np.mean(middles[:rank]))
        yield {"rank": rank, "fit": fit, "centroid": mean, "latent_centroid": latent, "white": white}


_ENERGY = Measure(
    name="energy of a global direction in an image's tangent space at the highest level minus at the lowest",
    column="captured",
    unit="%",
    trend="fall",
    differences=(TWIN,),
)


@experiment(
    "geometry-homogeneity",
    paper=UNSUPERVISED,
    claim="near pure noise directions agree across samples, so global directions exist; they agree less later",
    source=Images(),
    prepare=at_fitted_rank,
    primary=_ENERGY,
    secondary=(
        _ENERGY.variant(
            "energy of a global direction in an image's tangent space at level 0.95", trend="mean", level=0.95
        ),
    ),
    plots=(Lines(y="captured", label="energy of a global direction in a tangent space", null="random"),),
    minutes=14,
)
def homogeneity(study: Study, level: float) -> Rows:
    """Global directions are the basis within the chordal mean of the feature tangent spaces of all other images.

    The mean never includes the image that it is compared with. The rank is the one after which the trained network's
    singular values drop most. Random subspaces of the same dimensions are the random level.
    """
    bases = [study.basis(image, level) for image in range(len(study))]
    draws = [stream(study.seed, "homogeneity null", index) for index in range(len(bases))]
    sizes = [one.u.flatten(1).shape for one in bases]
    drawn = [torch.randn(size, generator=g, dtype=torch.float64) for size, g in zip(sizes, draws, strict=True)]
    sets, null = coordinates([one.u for one in bases]), coordinates([torch.linalg.qr(one.T)[0].T for one in drawn])
    for rank, fit in fits(study, bases).items():
        for image in range(len(study)):
            found, random = (captured([one[:rank] for one in some], image) for some in (sets, null))
            yield {"image": image, "rank": rank, "fit": fit, "captured": found, "random": random}
