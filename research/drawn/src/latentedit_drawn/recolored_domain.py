"""The domain of recolored portraits: any colors, framed less tightly, like portraits by other programs.

Captions, changes and correct results are those of `domain`; so a comparison of the two domains shows how far a model's
edits depend on its training images.
"""

import numpy as np
from jaxtyping import UInt8

from latentedit_drawn.domain import PortraitDomain
from latentedit_drawn.recolored import Recolored
from latentedit_drawn.render import render_colors


class RecoloredDomain(PortraitDomain):
    """Scenes are `Recolored`, whose colors need not be in ``values``; the classifier only knows ``values``."""

    name = "recolored-portraits"
    scene = Recolored

    def render_at(self, scene: Recolored, side: int) -> UInt8[np.ndarray, "side side 3"]:
        return render_colors(scene, scene.paints, side, scene.framing)

    def images(self, model: str, count: int, seed: int) -> None:
        del model, count, seed  # no model is trained on them


RECOLORED = RecoloredDomain()
"""The entry point ``recolored-portraits`` of ``latentedit.domains``."""
