"""Whether an edit found on one image does the same to another when it is transported through features."""

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.geometry import pulled_back, random_units
from latentedit_bench.domains.base import CHANGED
from latentedit_bench.experiments.declare import RIEMANNIAN, Difference, Dots, Images, Measure, Rows, Study, experiment
from latentedit_bench.experiments.signed_edits import signed_edits
from latentedit_bench.metrics.vectors import cosine

VISIBLE = 0.05  # share of the pixels that an edit must change at its source, by more than `CHANGED`

_PIXELS = Measure(
    name="cosine between the pixel changes at source and target",
    column="pixels",
    differences=(Difference("kind", "carried", "random"),),
)


@experiment(
    "geometry-transport",
    paper=RIEMANNIAN,
    claim="an edit found at one sample does the same at another sample when its feature is carried over",
    source=Images(levels=(0.7,), twins=False),
    keys=("image", "target", "level"),
    image_columns=("image", "target"),
    primary=_PIXELS,
    secondary=(
        _PIXELS.variant(differences=(Difference("kind", "carried", "the source's own"),)),
        _PIXELS.variant("cosine between the attribute changes read", column="agreement"),
        _PIXELS.variant("effect on the clean latent", column="effect"),
    ),
    plots=(Dots(x="pixels", y="kind", by="network", label="cosine of the pixels with the edit at the source"),),
    quick={"images": 3, "levels": (0.7,)},
    minutes=10,
)
def transport(study: Study, level: float, image: int, *, effect: float = 0.6) -> Rows:
    """The first direction of an image's basis is carried over to the next image in a ring.

    The change of the feature is carried over and pulled back by the transpose of the target's full Jacobian, so no rank
    is involved. The same effect on the clean latent is sought for all directions; random ones often fall short of it
    at any length tried. A cosine does not depend on the size of a change, but small changes may point elsewhere. Only
    edits count that change at least 5 % of the pixels at their source by more than 10 levels of 255. Source and target
    need not show the same face in the same place.
    """
    target = (image + 1) % len(study)
    here, there = (study.walkable(study.basis(one, level)) for one in (image, target))
    carried = pulled_back(here.u[:1], there.jacobian).v.to(there.v)
    control = random_units(there.latent, 1, seed=study.seed, first=image)
    (own,) = signed_edits(here, here.v[:1], effect=effect)
    units = torch.cat([carried, control, here.v[:1]])
    visible = changed_share(own.change) >= VISIBLE
    found = signed_edits(there, units, effect=effect)
    for kind, edit in zip(("carried", "random", "the source's own"), found, strict=True):
        yield {
            "target": target,
            "kind": kind,
            "effect": edit.effect,
            "pixels": cosine(own.change, edit.change) if visible else None,
            "agreement": (cosine(own.read, edit.read) if edit.seen else 0.0) if own.seen else None,
        }


def changed_share(change: Float[Tensor, "2 3 h w"]) -> float:
    """The share of pixels that a change (in [-1, 1]) alters by more than `CHANGED`, averaged over both signs."""
    return float((change.abs().amax(1) > CHANGED / 127.5).double().mean())
