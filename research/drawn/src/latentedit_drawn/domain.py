"""The domain of drawn portraits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from latentedit_drawn.pixels import draw_discs, shrink
from latentedit_drawn.render import render_array
from latentedit_portraits.attributes import VALUES, Attributes
from latentedit_portraits.captions import COLOR_OF, GRAMMAR
from latentedit_portraits.domains import AttributeDomain
from latentedit_portraits.reader import PortraitReader


class PortraitDomain(AttributeDomain):
    """Scenes are `Attributes`; images are 128 x 128 pixels."""

    name = "portraits"
    scene: type[Attributes] = Attributes
    grammar = GRAMMAR
    reader = PortraitReader
    values = VALUES
    ordered: Mapping[str, Sequence[str]] = {"skin": VALUES["skin"], "eyes": ("closed", "open", "wide")}
    part_of: Mapping[str, str] = {color: part for part, color in COLOR_OF.items()}
    plain_changes: Mapping[str, tuple[str, str]] = {
        **{name: (values[-2], values[-1]) for name, values in VALUES.items()},
        "mouth": ("smile", "grimace"),
        "clothes": ("hoodie", "sweater"),
    }
    models = ("portraits", "portraits-unet", "portraits-kontext")

    def render_at(self, scene: Any, side: int) -> UInt8[np.ndarray, "side side 3"]:
        return render_array(scene, side)

    def images(self, model: str, count: int, seed: int) -> list[Image.Image] | None:
        if model == "pixels-discs":
            return [Image.fromarray(image) for image in draw_discs(count, seed=seed)]
        if model == "pixels-portraits":
            return [Image.fromarray(shrink(self.render(scene)[None])[0]) for scene in self.draw("test", count, seed)]
        return super().images(model, count, seed)


PORTRAITS = PortraitDomain()
"""The entry point ``portraits`` of ``latentedit.domains``."""
