"""Whether edits are carried better between images whose tangent spaces are better aligned."""

import functools

import torch

from latentedit.geometry import pulled_back, random_units
from latentedit_bench.experiments.declare import (
    RIEMANNIAN,
    Difference,
    Images,
    Measure,
    Points,
    RankCorrelation,
    Rows,
    Study,
    experiment,
)
from latentedit_bench.experiments.images import at_fitted_rank
from latentedit_bench.experiments.signed_edits import SignedEdit, signed_edits
from latentedit_bench.experiments.subspaces import compared
from latentedit_bench.experiments.transport import VISIBLE, changed_share
from latentedit_bench.metrics.vectors import cosine

_SUCCESS = Measure(
    name="cosine between the pixel changes at source and target",
    column="pixels",
    differences=(Difference("kind", "carried", "random"),),
)
_LATENTS = Measure(name="distance between the clean latents", column="latents")
_ALIGNED = RankCorrelation(
    name="negative rank correlation of the distance between tangent spaces and the cosine of the pixel changes",
    y=_SUCCESS,
    x=Measure(name="distance between tangent spaces", column="distance"),
    sign=-1,
)


@experiment(
    "geometry-transport-aligned",
    paper=RIEMANNIAN,
    claim="an edit is carried over better the better the tangent spaces of the two samples are aligned",
    source=Images(seed=120, levels=(0.7,), rank=5, steps=14, twins=False),
    keys=("source", "image", "level"),
    image_columns=("source", "image"),
    prepare=at_fitted_rank,
    primary=_ALIGNED,
    secondary=(
        _ALIGNED.variant("the same, given the distance between the clean latents", given=_LATENTS),
        _ALIGNED.variant("the same with the distance between the clean latents instead", x=_LATENTS),
        _SUCCESS,
    ),
    plots=(Points(x="distance", y="pixels", by="kind", label="cosine of the pixel changes"),),
    quick={"images": 6, "levels": (0.7,), "following": 2},
    minutes=19,
)
def alignment(study: Study, level: float, image: int, *, effect: float = 0.6, following: int = 3) -> Rows:
    """The first direction of an image's basis is carried over to each of the next images in a ring.

    Edits are made and compared as in geometry-transport, on other images. There is one level, for both the distance and
    the success may change with the level. The distance is the geodesic one on the Grassmannian, at the rank after which
    the singular values drop most, as a share of the largest. The correlation is Spearman's over pairs, and the draws of
    its interval are of images, for pairs share them. A random direction at the target is the control, whose cosine is
    subtracted; it often falls short of the effect at any length tried, but a cosine does not depend on the size.
    Similar images may have both close tangent spaces and similar edits: hence the partial correlation given the
    distance between the clean latents.
    """
    there = study.walkable(study.basis(image, level))
    sources = [(image - k) % len(study) for k in range(1, following + 1)]
    bases = [study.basis(source, level) for source in sources]
    carried = pulled_back(torch.cat([basis.u[:1] for basis in bases]), there.jacobian).v.to(there.v)
    control = random_units(there.latent, 1, seed=study.seed, first=image)
    random, *edits = signed_edits(there, torch.cat([control, carried]), effect=effect)
    for source, basis, edit in zip(sources, bases, edits, strict=True):
        change = _own_edit(study, source, level, effect).change
        visible = changed_share(change) >= VISIBLE
        apart = float((study.latents[source].z - there.latent.z).square().mean().sqrt())
        for _, _, found in compared(study, [basis, there]):
            for kind, one in (("carried", edit), ("random", random)):
                pixels = cosine(change, one.change) if visible else None
                yield {"source": source, "kind": kind, "pixels": pixels, "latents": apart, **found}


@functools.cache
def _own_edit(study: Study, image: int, level: float, effect: float) -> SignedEdit:
    """The edit along the first direction of an image's own basis, at that image."""
    basis = study.walkable(study.basis(image, level))
    return signed_edits(basis, basis.v[:1], effect=effect)[0]
