"""The scenes as a domain: a world whose scenes are drawn, captioned, changed and rendered by this package.

It implements the protocol of `latentedit_bench`, which finds it by name and is not needed to use it.
"""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from latentedit_scenes.attributes import NONE, ORDERED, PART_OF, VALUES, Attributes, Split, draw_split
from latentedit_scenes.captions import caption_of, phrases_of, reworded_caption, words_of
from latentedit_scenes.masks import changed_pixels, visible_difference
from latentedit_scenes.parameters import parameters_of
from latentedit_scenes.reader import SceneReader
from latentedit_scenes.render import CREDITS, SIZE, render_array


class SceneDomain:
    """Scenes are `Attributes`; pictures are 128 x 128 pixels."""

    name = "scenes"
    credits = CREDITS
    values = VALUES
    ordered = ORDERED
    part_of = PART_OF
    plain_changes: Mapping[str, tuple[str, str]] = {
        **{name: (values[-2], values[-1]) for name, values in VALUES.items()},
        "lamp_side": ("left", "right"),
    }

    def draw(self, split: Split, count: int, seed: int) -> list[Attributes]:
        """So many different scenes of one split."""
        return draw_split(split, count, seed)

    def attributes(self, scene: Attributes) -> dict[str, str]:
        """Every attribute to its value."""
        return {name: getattr(scene, name) for name in VALUES}

    def alternatives(self, scene: Attributes) -> dict[str, list[str]]:
        """Every attribute that can be changed to its other values; what is not there has none."""
        return {
            name: [value for value in values if value != own and not (value == NONE and name in PART_OF)]
            for name, values in VALUES.items()
            if (own := getattr(scene, name)) != NONE or name not in PART_OF
        }

    def change(self, scene: Attributes, change: Mapping[str, str]) -> Attributes:
        """The same scene with some attributes at other values; what belongs to an object comes and goes with it."""
        return scene.replace(**change)

    def render(self, scene: Attributes) -> UInt8[np.ndarray, "128 128 3"]:
        """Its picture."""
        return self.render_at(scene, SIZE)

    def render_at(self, scene: Attributes, side: int) -> UInt8[np.ndarray, "side side 3"]:
        """Its picture with sides of so many pixels."""
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

    def words(self, caption: str) -> list[str]:
        """The words and marks that the tokenizer sees."""
        return words_of(caption)

    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Attributes]:
        """What pictures show, by the reader that lies beside the model; pixels in [-1, 1]."""
        return SceneReader.bundled().attributes(pixels)

    def pictures(self, model: str, count: int, seed: int) -> list[Image.Image] | None:
        """Scenes of the test split for `scenes`; None for other models."""
        if model != self.name:
            return None
        return [Image.fromarray(self.render(scene)) for scene in draw_split("test", count, seed)]


SCENES = SceneDomain()
"""The entry point ``scenes`` of ``latentedit.domains``."""
