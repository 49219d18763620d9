"""The domain of drawn portraits."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from latentedit.testing.domains import AttributeDomain, Split
from latentedit_portraits.attributes import VALUES, Attributes, draw_split
from latentedit_portraits.captions import (
    COLOR_OF,
    MAX_TOKENS,
    caption_of,
    draw_caption,
    parse,
    phrases_of,
    reworded_caption,
    vocabulary,
)
from latentedit_portraits.pixels import draw_discs, shrink
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.render import CREDITS, render_array


class PortraitDomain(AttributeDomain):
    """Scenes are `Attributes`; images are 128 x 128 pixels."""

    name = "portraits"
    credits = CREDITS
    scene = Attributes
    values = VALUES
    ordered: Mapping[str, Sequence[str]] = {"skin": VALUES["skin"], "eyes": ("closed", "open", "wide")}
    part_of: Mapping[str, str] = {color: part for part, color in COLOR_OF.items()}
    plain_changes: Mapping[str, tuple[str, str]] = {
        **{name: (values[-2], values[-1]) for name, values in VALUES.items()},
        "mouth": ("smile", "grimace"),
        "clothes": ("hoodie", "sweater"),
    }
    models = ("portraits", "portraits-unet", "portraits-kontext")
    vocabulary = vocabulary()
    max_tokens = MAX_TOKENS

    def draw(self, split: Split, count: int, seed: int) -> list[Any]:
        return draw_split(split, count, seed)

    def render_at(self, scene: Any, side: int) -> UInt8[np.ndarray, "side side 3"]:
        return render_array(scene, side)

    def phrases(self, scene: Attributes) -> list[str]:
        return phrases_of(scene)

    def caption(self, phrases: Sequence[str]) -> str:
        return caption_of(phrases)

    def paraphrase(self, scene: Attributes, generator: random.Random) -> str:
        return reworded_caption(scene, generator)

    def draw_caption(self, scene: Attributes, generator: random.Random, *, empty: float) -> str:
        return draw_caption(scene, generator, empty=empty)

    def stated(self, caption: str) -> Mapping[str, str]:
        return parse(caption)

    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Attributes]:
        return PortraitReader.bundled().attributes(pixels)

    def images(self, model: str, count: int, seed: int) -> list[Image.Image] | None:
        if model == "pixels-discs":
            return [Image.fromarray(image) for image in draw_discs(count, seed=seed)]
        if model == "pixels-portraits":
            return [Image.fromarray(shrink(self.render(scene)[None])[0]) for scene in self.draw("test", count, seed)]
        return super().images(model, count, seed)


PORTRAITS = PortraitDomain()
"""The entry point ``portraits`` of ``latentedit.domains``."""
