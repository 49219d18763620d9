"""The domain of rendered scenes."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, UInt8

from latentedit_portraits.domains import AttributeDomain
from latentedit_scenes.attributes import ORDERED, PART_OF, VALUES, Attributes
from latentedit_scenes.captions import GRAMMAR
from latentedit_scenes.masks import changed_pixels, visible_difference
from latentedit_scenes.parameters import parameters_of
from latentedit_scenes.reader import SceneReader
from latentedit_scenes.render import render_array


class SceneDomain(AttributeDomain):
    """Scenes are `Attributes`; images are 128 x 128 pixels."""

    name = "scenes"
    scene = Attributes
    grammar = GRAMMAR
    reader = SceneReader
    values = VALUES
    ordered = ORDERED
    part_of = PART_OF
    plain_changes: Mapping[str, tuple[str, str]] = {
        **{name: (values[-2], values[-1]) for name, values in VALUES.items()},
        "lamp_side": ("left", "right"),
    }
    models = ("scenes",)

    def render_at(self, scene: Attributes, side: int) -> UInt8[np.ndarray, "side side 3"]:
        return render_array(parameters_of(scene), side)

    def side_effects(
        self,
        scene: Attributes,
        answer: Attributes,
        before: UInt8[np.ndarray, "h w 3"],
        after: UInt8[np.ndarray, "h w 3"],
    ) -> Bool[np.ndarray, "h w"]:
        changed = changed_pixels(parameters_of(scene), parameters_of(answer), len(before))
        return visible_difference(before, after) & ~changed


SCENES = SceneDomain()
"""The entry point ``scenes`` of ``latentedit.domains``."""
