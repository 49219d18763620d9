"""Whether x-space guidance keeps edits nearer to real images than plain addition does, at equal effect."""

import torch

from latentedit.geometry import LatentWalk, random_units
from latentedit_bench.domains.base import distance_to_render, load_domain
from latentedit_bench.experiments.declare import RIEMANNIAN, Difference, Images, Lines, Measure, Rows, Study, experiment
from latentedit_bench.experiments.images import captioned
from latentedit_bench.experiments.signed_edits import signed_edits

_OFF = Measure(
    name="distance of the edited image to the render of what is read in it (RMS over pixels)",
    column="off",
    differences=(Difference("kind", "addition", "guidance"),),
)


@experiment(
    "geometry-guidance",
    paper=RIEMANNIAN,
    claim="x-space guidance keeps edited images closer to real images than adding the direction does",
    source=Images(images=12, twins=False),
    primary=_OFF,
    secondary=(_OFF.variant(differences=(Difference("kind", "random", "addition"),)),),
    plots=(Lines(y="off", by="kind", label="distance to the render, rms of pixels"),),
    quick={"images": 2, "levels": (0.7,)},
    minutes=14,
)
def guidance(study: Study, level: float, image: int, *, effect: float = 0.4, repeats: int = 4) -> Rows:
    """The attributes of the edited image are read, and the scene with these attributes is rendered: a real image.

    So an edit that turns one portrait into another costs nothing, while one that leaves the portraits does. The
    distance of the unedited image is subtracted. All moves have the same effect on the clean latent; near the image no
    length tried reaches it, and edits count with the effect that they reached.
    """
    basis, domain = study.walkable(study.basis(image, level)), load_domain(captioned(study))
    control = random_units(basis.latent, 1, seed=study.seed, first=image)
    added, random = signed_edits(basis, torch.cat([basis.v[:1], control]), effect=effect)
    walk = LatentWalk(move="guidance", repeats=repeats)
    (guided,) = signed_edits(basis, basis.v[:1], effect=effect, move=walk)
    with torch.no_grad():
        decoded = study.backbone.decode(basis.latent.z)
    own = float(distance_to_render(domain, decoded).mean())
    for kind, edit in (("addition", added), ("guidance", guided), ("random", random)):
        off = float(distance_to_render(domain, decoded + edit.change.to(decoded)).mean()) - own
        yield {"kind": kind, "off": off, "effect": edit.effect}
