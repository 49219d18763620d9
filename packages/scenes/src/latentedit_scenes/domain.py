"""The domain of rendered scenes."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from latentedit.testing.domains import AttributeDomain, Lit, Split
from latentedit_scenes.attributes import ORDERED, PART_OF, VALUES, Attributes, draw_split
from latentedit_scenes.captions import (
    MAX_TOKENS,
    caption_of,
    draw_caption,
    parse,
    phrases_of,
    reworded_caption,
    vocabulary,
)
from latentedit_scenes.masks import changed_pixels, visible_difference
from latentedit_scenes.parameters import parameters_of
from latentedit_scenes.reader import SceneReader
from latentedit_scenes.render import CREDITS, render_array


class SceneDomain(AttributeDomain, Lit):
    """Scenes are `Attributes`; images are 128 x 128 pixels."""

    name = "scenes"
    credits = CREDITS
    scene = Attributes
    values = VALUES
    ordered = ORDERED
    part_of = PART_OF
    plain_changes: Mapping[str, tuple[str, str]] = {
        **{name: (values[-2], values[-1]) for name, values in VALUES.items()},
        "lamp_side": ("left", "right"),
    }
    models = ("scenes",)
    vocabulary = vocabulary()
    max_tokens = MAX_TOKENS

    def draw(self, split: Split, count: int, seed: int) -> list[Attributes]:
        return draw_split(split, count, seed)

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

    def phrases(self, scene: Attributes) -> list[str]:
        return phrases_of(scene)

    def caption(self, phrases: Sequence[str]) -> str:
        return caption_of(phrases)

    def paraphrase(self, scene: Attributes, generator: random.Random) -> str:
        return reworded_caption(scene, generator)

    def draw_caption(self, scene: Attributes, generator: random.Random, *, empty: float) -> str:
        return draw_caption(scene, generator, empty=empty)

    def stated(self, caption: str) -> Mapping[str, str]:
        return parse(caption).attributes()

    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Attributes]:
        return SceneReader.bundled().attributes(pixels)


SCENES = SceneDomain()
"""The entry point ``scenes`` of ``latentedit.domains``."""
