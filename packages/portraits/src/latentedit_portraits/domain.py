"""The portraits as a domain: a world whose scenes are drawn, captioned, changed, rendered and read by this package.

It implements the protocol of `latentedit_bench`, which finds it by name and is not needed to use it.
"""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from latentedit_portraits.attributes import NONE, VALUES, Attributes, Split, draw_split
from latentedit_portraits.captions import COLOR_OF, full_caption, reworded_caption, words_of
from latentedit_portraits.instructions import draw_idle_instruction, draw_instruction
from latentedit_portraits.pixels import draw_discs, shrink
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.render import CREDITS, render_array

_LEAD = "a person with "
"""Begins every full caption; phrases with commas between them follow."""


class PortraitDomain:
    """Scenes are `Attributes`; pictures are 128 x 128 pixels."""

    name = "portraits"
    credits = CREDITS
    values = VALUES
    ordered: Mapping[str, Sequence[str]] = {"skin": VALUES["skin"], "eyes": ("closed", "open", "wide")}
    part_of: Mapping[str, str] = {color: part for part, color in COLOR_OF.items()}
    plain_changes: Mapping[str, tuple[str, str]] = {
        **{name: (values[-2], values[-1]) for name, values in VALUES.items()},
        "mouth": ("smile", "grimace"),
        "clothes": ("hoodie", "sweater"),
    }

    def draw(self, split: Split, count: int, seed: int) -> list[Attributes]:
        """So many different portraits of one split."""
        return draw_split(split, count, seed)

    def attributes(self, scene: Attributes) -> dict[str, str]:
        """Every attribute to its value."""
        return {name: getattr(scene, name) for name in VALUES}

    def alternatives(self, scene: Attributes) -> dict[str, list[str]]:
        """Every attribute that can be changed to its other values; the colour of what is not there cannot."""
        colours = set(COLOR_OF.values())
        return {
            name: [value for value in values if value != own and not (value == NONE and name in colours)]
            for name, values in VALUES.items()
            if (own := getattr(scene, name)) != NONE or name not in colours
        }

    def change(self, scene: Attributes, change: Mapping[str, str]) -> Attributes:
        """The same portrait with some attributes at other values; a colour follows its part."""
        return scene.replace(**change)

    def render(self, scene: Attributes) -> UInt8[np.ndarray, "128 128 3"]:
        """Its picture."""
        return render_array(scene)

    def render_at(self, scene: Attributes, side: int) -> UInt8[np.ndarray, "side side 3"]:
        """Its picture with sides of so many pixels."""
        return render_array(scene, side)

    def phrases(self, scene: Attributes) -> list[str]:
        """What the canonical caption says, phrase by phrase."""
        return full_caption(scene).removeprefix(_LEAD).split(", ")

    def caption(self, phrases: Sequence[str]) -> str:
        """Phrases as a caption."""
        return _LEAD + ", ".join(phrases)

    def paraphrase(self, scene: Attributes, generator: random.Random) -> str:
        """The full caption in other words: those of a scene that differs in one phrase differ in that phrase alone."""
        return reworded_caption(scene, generator)

    def instruction(self, scene: Attributes, answer: Attributes, generator: random.Random) -> str:
        """What turns a portrait into another, in words of the captions."""
        return draw_instruction(scene, answer, generator, idle=0)

    def idle_instruction(self, scene: Attributes, generator: random.Random) -> str:
        """One that does not apply."""
        return draw_idle_instruction(scene, generator)

    def words(self, caption: str) -> list[str]:
        """The words and marks that the tokenizer sees."""
        return words_of(caption)

    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Attributes]:
        """What pictures show, by the reader that lies beside the model; pixels in [-1, 1]."""
        return PortraitReader.bundled().attributes(pixels)

    def pictures(self, model: str, count: int, seed: int) -> list[Image.Image] | None:
        """Portraits of the test split, or discs; None for models that are not trained on either."""
        if model == "pixels-discs":
            return [Image.fromarray(picture) for picture in draw_discs(count, seed=seed)]
        if model not in ("portraits", "portraits-unet", "portraits-kontext", "pixels-portraits"):
            return None
        drawn = [render_array(scene) for scene in draw_split("test", count, seed)]
        return [Image.fromarray(shrink(one[None])[0] if model == "pixels-portraits" else one) for one in drawn]


PORTRAITS = PortraitDomain()
"""The entry point ``portraits`` of ``latentedit.domains``."""
