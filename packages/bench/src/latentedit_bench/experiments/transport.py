"""Whether an edit that was found at one picture does the same at another, when it is carried through features."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.geometry.local_basis import LocalBasis
from latentedit.models.derivatives import FeatureJacobian, FeatureMap
from latentedit_bench.experiments.decisions import Less, Number
from latentedit_bench.experiments.experiment import RIEMANNIAN, Row, experiment
from latentedit_bench.experiments.pictures import QUICK, Pictures
from latentedit_bench.experiments.plots import Dots
from latentedit_bench.experiments.signed_edits import changed_share, random_units, signed_edits
from latentedit_bench.experiments.study import Study

_VISIBLE = 0.05  # share of the pixels that an edit must change at its source, by more than `areas.CHANGED`

_PIXELS = Number(
    says="cosine between the changes of the pixels at source and target, carried direction less a random one",
    of="pixels",
    less=(Less("kind", "carried", "random"),),
)


@experiment(
    "geometry-transport",
    paper=RIEMANNIAN,
    says="an edit that was found at one sample does the same at another, carried by its feature",
    on=Pictures(levels=(0.7,), twins=False),
    keys=("picture", "target", "level"),
    images=("picture", "target"),
    decides=_PIXELS,
    tells=(
        _PIXELS.at("the same, carried less the source's own direction", less=(Less("kind", "carried", "unchanged"),)),
        _PIXELS.at("cosine of what the reader sees, carried less random", of="agreement"),
    ),
    plots=(Dots(x="pixels", y="kind", by="network", label="cosine of the pixels with the edit at the source"),),
    quick={**QUICK, "pictures": 3, "levels": (0.7,)},
    minutes=10,
)
def transport(study: Study, level: float, picture: int, *, effect: float = 0.6) -> Iterator[Row]:
    """The first direction of one picture's basis is carried to the next picture in a ring.

    The change of the feature goes over and is pulled back by the transpose of the target's whole Jacobian, so no rank
    decides. All directions have the same effect on the clean latent. Edits count that change at least 5 % of the pixels
    at their source by more than 10 levels of 255. Source and target need not show the same face at the same place.
    """
    target = (picture + 1) % len(study)
    here, there = (study.walkable(study.basis(one, level)) for one in (picture, target))
    carried = pulled_back(there, here.u[:1])
    control = random_units(there, 1, seed=study.seed, first=picture)
    (own,) = signed_edits(here, here.v[:1], effect=effect)
    units = torch.cat([carried, control.to(there.v), here.v[:1]])
    visible = changed_share(own.change) >= _VISIBLE
    for kind, edit in zip(("carried", "random", "unchanged"), signed_edits(there, units, effect=effect), strict=True):
        yield {
            "target": target,
            "kind": kind,
            "pixels": cosine(own.change, edit.change) if visible else None,
            "agreement": (cosine(own.read, edit.read) if edit.seen else 0.0) if own.seen else None,
        }


@torch.no_grad()
def pulled_back(basis: LocalBasis, u: Float[Tensor, "1 *feature"]) -> Float[Tensor, "1 *latent"]:
    """``J^T u / |J^T u|``: the displacement that changes the feature along u most."""
    feature = FeatureMap(backbone=basis.latent.backbone, site=basis.site, level=basis.level, condition=basis.condition)
    found = FeatureJacobian(feature, basis.trace.top).rmatmat(u)
    return found / torch.linalg.vector_norm(found)


def cosine(first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"]) -> float | None:
    """Of the angle between two vectors; None where one of them is 0."""
    a, b = first.flatten().double(), second.flatten().double()
    lengths = float(a.norm()) * float(b.norm())
    return float(a @ b) / lengths if lengths > 0 else None
