"""Whether x-space guidance keeps edits nearer to real pictures than plain addition does, at equal effect."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.geometry.walks import LatentWalk
from latentedit_bench.domains.base import Domain, domain
from latentedit_bench.experiments.decisions import Less, Number
from latentedit_bench.experiments.experiment import RIEMANNIAN, Row, experiment
from latentedit_bench.experiments.pictures import QUICK, Pictures, captioned
from latentedit_bench.experiments.plots import Lines
from latentedit_bench.experiments.signed_edits import random_units, signed_edits
from latentedit_bench.experiments.study import Study

_OFF = Number(
    says="distance of the edited image to the render of what is read in it, rms of pixels: addition less guidance",
    of="off",
    less=(Less("kind", "addition", "guidance"),),
)


@experiment(
    "geometry-guidance",
    paper=RIEMANNIAN,
    says="x-space guidance keeps an edited picture nearer to real ones than adding the direction",
    on=Pictures(pictures=12, twins=False),
    decides=_OFF,
    tells=(
        _OFF.at(
            "the same of a random direction less the first one, both added", less=(Less("kind", "random", "addition"),)
        ),
    ),
    plots=(Lines(y="off", by="kind", label="distance to the render, rms of pixels"),),
    quick={**QUICK, "pictures": 2, "levels": (0.7,)},
    minutes=14,
)
def guidance(study: Study, level: float, picture: int, *, effect: float = 0.4, repeats: int = 4) -> Iterator[Row]:
    """The attributes of the edited image are read, and the scene that has them is rendered: a real image.

    So an edit that turns one portrait into another costs nothing, and what no portrait has does. The distance of the
    unedited image is subtracted. All ways have the same effect on the clean latent; near the image no length that is
    tried has it, and edits stand with the effect that they reached.
    """
    basis, world = study.walkable(study.basis(picture, level)), domain(captioned(study))
    control = random_units(basis, 1, seed=study.seed, first=picture).to(basis.v)
    added, random = signed_edits(basis, torch.cat([basis.v[:1], control]), effect=effect)
    walk = LatentWalk(move="guidance", repeats=repeats)
    (guided,) = signed_edits(basis, basis.v[:1], effect=effect, move=walk)
    with torch.no_grad():
        decoded = study.backbone.decode(basis.latent.z)
    own = float(distance_to_render(world, decoded).mean())
    for kind, edit in (("addition", added), ("guidance", guided), ("random", random)):
        off = float(distance_to_render(world, decoded + edit.change.to(decoded)).mean()) - own
        yield {"kind": kind, "off": off, "effect": edit.effect}


def distance_to_render(world: Domain, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Root mean square over pixels of pictures less the renders of the scenes that are read in them."""
    shown = pixels.detach().clamp(-1, 1).cpu()
    renders = np.stack([world.render(scene) for scene in world.read(shown)])
    real = torch.from_numpy(renders).permute(0, 3, 1, 2).to(shown.dtype) / 127.5 - 1
    return (shown - real).square().flatten(1).mean(1).sqrt()
