"""The portraits as a world: drawn, captioned, changed, rendered and read by this package."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from latentedit_portraits.attributes import VALUES, Attributes, draw_split
from latentedit_portraits.captions import (
    COLOR_OF,
    MAX_TOKENS,
    draw_caption,
    full_caption,
    parse,
    reworded_caption,
    vocabulary,
)
from latentedit_portraits.instructions import draw_idle_instruction, draw_instruction
from latentedit_portraits.pixels import draw_discs, shrink
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.render import CREDITS, render_array
from latentedit_portraits.worlds import Split, World

_LEAD = "a person with "
"""Begins every full caption; phrases with commas between them follow."""


class PortraitDomain(World):
    """Scenes are `Attributes`; images are 128 x 128 pixels."""

    name = "portraits"
    credits = CREDITS
    scene = Attributes
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
        """So many different portraits of one split."""
        return draw_split(split, count, seed)

    def render_at(self, scene: Any, side: int) -> UInt8[np.ndarray, "side side 3"]:
        """Its image with sides of so many pixels."""
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

    def draw_caption(self, scene: Attributes, generator: random.Random, *, empty: float) -> str:
        """A random caption for training."""
        return draw_caption(scene, generator, empty=empty)

    def stated(self, caption: str) -> Mapping[str, str]:
        """Attributes to values, those that a caption names."""
        return parse(caption)

    def instruction(self, scene: Attributes, answer: Attributes, generator: random.Random) -> str:
        """What turns a portrait into another, in words of the captions."""
        return draw_instruction(scene, answer, generator, idle=0)

    def idle_instruction(self, scene: Attributes, generator: random.Random) -> str:
        """One that does not apply."""
        return draw_idle_instruction(scene, generator)

    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Attributes]:
        """What images show, by the reader that lies beside the model; pixels in [-1, 1]."""
        return PortraitReader.bundled().attributes(pixels)

    def images(self, model: str, count: int, seed: int) -> list[Image.Image] | None:
        """Portraits of the test split, or discs, at the model's size; None for models that are trained on neither."""
        if model == "pixels-discs":
            return [Image.fromarray(image) for image in draw_discs(count, seed=seed)]
        if model == "pixels-portraits":
            return [Image.fromarray(shrink(self.render(scene)[None])[0]) for scene in self.draw("test", count, seed)]
        return super().images(model, count, seed)


PORTRAITS = PortraitDomain()
"""The entry point ``portraits`` of ``latentedit.domains``."""
