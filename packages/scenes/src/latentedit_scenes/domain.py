"""The scenes as a world: drawn, captioned, changed, rendered and read by this package."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from latentedit_portraits.worlds import Split, World
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


class SceneDomain(World):
    """Scenes are `Attributes`; images are 128 x 128 pixels."""

    name = "scenes"
    credits = CREDITS
    scene = Attributes
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
        """So many different scenes of one split."""
        return draw_split(split, count, seed)

    def render_at(self, scene: Attributes, side: int) -> UInt8[np.ndarray, "side side 3"]:
        """Its image with sides of so many pixels."""
        return render_array(parameters_of(scene), side)

    def side_effects(
        self,
        scene: Attributes,
        answer: Attributes,
        before: UInt8[np.ndarray, "h w 3"],
        after: UInt8[np.ndarray, "h w 3"],
    ) -> Bool[np.ndarray, "h w"]:
        """Where shadows, reflections and light that bounces differ."""
        changed = changed_pixels(parameters_of(scene), parameters_of(answer), len(before))
        return visible_difference(before, after) & ~changed

    def phrases(self, scene: Attributes) -> list[str]:
        """What the canonical caption says, phrase by phrase."""
        return phrases_of(scene)

    def caption(self, phrases: Sequence[str]) -> str:
        """Phrases as a caption."""
        return caption_of(phrases)

    def paraphrase(self, scene: Attributes, generator: random.Random) -> str:
        """The full caption in other words: those of a scene that differs in one phrase differ in that phrase alone."""
        return reworded_caption(scene, generator)

    def draw_caption(self, scene: Attributes, generator: random.Random, *, empty: float) -> str:
        """A random caption for training."""
        return draw_caption(scene, generator, empty=empty)

    def stated(self, caption: str) -> Mapping[str, str]:
        """Attributes to values, those that a caption settles by itself."""
        return parse(caption).attributes()

    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Attributes]:
        """What images show, by the reader that lies beside the model; pixels in [-1, 1]."""
        return SceneReader.bundled().attributes(pixels)


SCENES = SceneDomain()
"""The entry point ``scenes`` of ``latentedit.domains``."""
