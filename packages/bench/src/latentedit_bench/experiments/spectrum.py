"""The singular spectrum of the Jacobian from latent to feature, over levels: how fast it falls, how many count."""

import math

import numpy as np
import torch

from latentedit.core.rng import stream
from latentedit_bench.experiments.declare import TWIN, UNSUPERVISED, Lines, Number, Pictures, Rows, Study, experiment


@experiment(
    "geometry-spectrum",
    paper=UNSUPERVISED,
    says="the spectrum of the Jacobian is steep near pure noise and flattens towards the image",
    on=Pictures(),
    decides=Number(
        says="growth of log10 of the stable rank |J|_F^2 / s_1^2 from the highest to the lowest level",
        of="log_stable_rank",
        over="rise",
        less=(TWIN,),
    ),
    plots=(
        Lines(y="share", x="index", by="level", label="s_k / s_1", where={"network": "trained"}),
        Lines(y="log_stable_rank", label="log10 of the stable rank", null="random"),
    ),
    quick={"probes": 4},
    minutes=15,
)
def spectrum(study: Study, level: float, picture: int, *, probes: int = 8) -> Rows:
    """The stable rank is the effective number of directions in which the map is as strong as in the first one.

    The Frobenius norm is estimated from random probes, ``|J|_F^2 = E |J g|^2`` for standard normal g. The random level
    is that of a matrix of independent normal entries of the same shape, ``m n / (sqrt(m) + sqrt(n))^2`` (Marchenko and
    Pastur).
    """
    basis = study.basis(picture, level)
    j = basis.jacobian
    noise = torch.randn(probes, *j.in_shape, generator=stream(study.seed, "spectrum probes", picture))
    norm = float(j.matmat(noise.to(basis.v)).double().square().flatten(1).sum(1).mean().sqrt())
    s = basis.singular_values.double()
    sides = [float(np.sqrt(np.prod(shape))) for shape in (j.in_shape, j.out_shape)]
    random = 2 * math.log10(sides[0] * sides[1] / sum(sides))
    for index, share in enumerate((s / s[0]).tolist(), start=1):
        yield {"index": index, "share": share, "log_stable_rank": 2 * math.log10(norm / float(s[0])), "random": random}
