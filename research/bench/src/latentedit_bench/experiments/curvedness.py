"""Whether the latent space is curved: how long different curves between the same ends are, and how much they turn."""

from collections.abc import Sequence

import torch
from torch import Tensor

from latentedit.geometry import (
    TRANSPORT_DAMPING,
    curve_energy,
    curve_length,
    geodesic_shooting,
    lerp,
    semantic_lengths,
    shortest_curve,
    slerp,
)
from latentedit.numerics import TruncatedSVD
from latentedit_bench.experiments.declare import UNSUPERVISED, Difference, Dots, Measure, Rows, Study, experiment
from latentedit_bench.experiments.images import TWIN, Images
from latentedit_bench.experiments.subspaces import fitted_rank

_SLERP = Measure(
    name="semantic length between two noisy images",
    column="semantic",
    unit="rad",
    where={"ends": "pair"},
    differences=(TWIN, Difference("method", "lerp", "slerp")),
)
_CURVES = {"ends": "pair", "method": ("lerp", "slerp")}
_LEAST = {
    "column": "feature",
    "unit": "% of lerp",
    "network": "trained",
    "differences": (Difference("method", "slerp", "geodesic"),),
}
_SHOT = {"ends": "shot", "network": "trained", "differences": (Difference("method", "slerp", "shooting"),)}


@experiment(
    "geometry-curvedness",
    paper=UNSUPERVISED,
    claim="in semantic length, lerp is longer than slerp, and slerp is longer than geodesic shooting",
    source=Images(levels=(0.95,)),
    primary=_SLERP,
    secondary=(
        _SLERP.variant("length in feature space between two noisy images", **_LEAST),
        _SLERP.variant("semantic length to the end of a shot", **_SHOT),
    ),
    plots=(Dots(x="semantic", y="method", by="network", label="semantic length, rad", where=_CURVES),),
    quick={"images": 2, "levels": (0.95,), "segments": 2},
    minutes=28,
)
@torch.no_grad()
def curvedness(
    study: Study,
    level: float,
    image: int,
    *,
    segments: int = 5,
    tangents: int | None = 2,
    step: float = 0.05,
    descents: int = 20,
) -> Rows:
    """The semantic length is the sum of the Grassmann distances between successive feature tangent spaces.

    Pairs share no image. Each end has noise of its own, ``(1 - s) x + s e``, so that ends near pure noise are nearly
    orthogonal, as the paper's are. A shot follows the first direction of a tangent space on the shell of latents. The
    search for the energy geodesic starts from the better of lerp and slerp, so it is shorter almost by construction.
    Without a number of tangents, spaces have the rank that fits the trained network best.
    """
    if image % 2 or image + 1 == len(study):
        return
    trained, rank = study.trained is None, fitted_rank(study, level) if tangents is None else tangents
    for ends in ("pair", "shot") if trained else ("pair",):
        place = study.tangent_spaces(level, rank, image)
        a, curves, bases = study.noised(image, level), dict[str, Tensor](), dict[str, Sequence[TruncatedSVD]]()
        if ends == "pair":
            b = study.noised(image + 1, level)
        else:
            length = step * float(torch.linalg.vector_norm(a))
            points, spaces = geodesic_shooting(
                place.at, a, step=length, segments=segments, damping=TRANSPORT_DAMPING, on_shell=True
            )
            curves["shooting"], bases["shooting"], b = points, spaces, points[-1]
        for method, way in (("lerp", lerp), ("slerp", slerp)):
            curves[method] = way(a, b, torch.linspace(0, 1, segments + 1, dtype=torch.float64))
            bases[method] = place.along(curves[method])
        if ends == "pair" and trained:
            least = min((curves["lerp"], curves["slerp"]), key=lambda points: curve_energy(place.feature(points)))
            curves["geodesic"] = shortest_curve(place.feature, least, steps=descents).points
        unit = curve_length(place.feature(curves["lerp"]))
        for method, points in curves.items():
            length = curve_length(place.feature(points)) / unit
            turns = float(semantic_lengths([basis.u for basis in bases[method]]).sum()) if method in bases else None
            yield {"ends": ends, "method": method, "semantic": turns, "feature": length}
