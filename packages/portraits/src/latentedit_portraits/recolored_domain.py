"""Portraits as other programs draw and frame them, as a world of their own: any colors, wider framings.

Words, changes and right answers are those of `domain`; a model that edits one as well as the other does not owe it to
the images that it was trained on.
"""

import random

import numpy as np
from jaxtyping import UInt8

from latentedit_portraits.attributes import split_of
from latentedit_portraits.domain import PortraitDomain
from latentedit_portraits.recolored import Recolored, draw_recolored
from latentedit_portraits.render import render_colors
from latentedit_portraits.worlds import Split


class RecoloredDomain(PortraitDomain):
    """Scenes are `Recolored`, whose colors may be none of ``values``; what images show is read in ``values``."""

    name = "recolored-portraits"

    def draw(self, split: Split, count: int, seed: int) -> list[Recolored]:
        """So many portraits of one split, by the hash of what their captions say."""
        found: list[Recolored] = []
        generator = random.Random(f"portraits/recolored/{split}/{seed}")
        while len(found) < count:
            scene = draw_recolored(generator)
            if split_of(scene) == split:
                found.append(scene)
        return found

    def render_at(self, scene: Recolored, side: int) -> UInt8[np.ndarray, "side side 3"]:
        """Its image with sides of so many pixels."""
        return render_colors(scene, scene.paints, side, scene.framing)

    def images(self, model: str, count: int, seed: int) -> None:
        """None: those of the models of portraits are portraits in their own colors."""
        del model, count, seed


RECOLORED = RecoloredDomain()
"""The entry point ``recolored-portraits`` of ``latentedit.domains``."""
