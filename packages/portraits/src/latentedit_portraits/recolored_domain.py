"""Portraits as other programs draw and frame them, as a domain of their own: any colours, wider framings.

Words, changes and right answers are those of `domain`; a model that edits one as well as the other does not owe it to
the pictures that it was trained on.
"""

import dataclasses
import random
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from latentedit_portraits.attributes import Attributes, Split, split_of
from latentedit_portraits.dataset import SIZE
from latentedit_portraits.domain import PORTRAITS
from latentedit_portraits.recolored import Recolored, draw_recolored, draw_wide_framing
from latentedit_portraits.render import CREDITS, Framing, render_colors
from latentedit_portraits.variety import draw_any_framing, render_view


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FramedPortrait:
    """A portrait in free colours, and how it sits in its picture."""

    portrait: Recolored
    framing: Framing


class RecoloredDomain:
    """Scenes are `FramedPortrait`; pictures are 128 x 128 pixels."""

    name = "recolored-portraits"
    credits = CREDITS
    values = PORTRAITS.values
    ordered = PORTRAITS.ordered
    part_of = PORTRAITS.part_of
    plain_changes = PORTRAITS.plain_changes

    def draw(self, split: Split, count: int, seed: int) -> list[FramedPortrait]:
        """So many portraits of one split, by the hash of what their captions say."""
        found: list[FramedPortrait] = []
        generator = random.Random(f"portraits/recolored/{split}/{seed}")
        while len(found) < count:
            scene = FramedPortrait(portrait=draw_recolored(generator), framing=draw_wide_framing(generator))
            if split_of(scene.portrait) == split:
                found.append(scene)
        return found

    def attributes(self, scene: FramedPortrait) -> dict[str, str]:
        """Every attribute to its value, which for a colour may be none of ``values``."""
        return PORTRAITS.attributes(scene.portrait)

    def alternatives(self, scene: FramedPortrait) -> dict[str, list[str]]:
        """As for portraits in their own colours."""
        return PORTRAITS.alternatives(scene.portrait)

    def change(self, scene: FramedPortrait, change: Mapping[str, str]) -> FramedPortrait:
        """The same portrait in the same framing with some attributes at other values, painted plainly."""
        return dataclasses.replace(scene, portrait=scene.portrait.replace(**change))

    def render(self, scene: FramedPortrait) -> UInt8[np.ndarray, "128 128 3"]:
        """Its picture."""
        return self.render_at(scene, SIZE)

    def render_at(self, scene: FramedPortrait, side: int) -> UInt8[np.ndarray, "side side 3"]:
        """Its picture with sides of so many pixels."""
        return render_colors(scene.portrait, scene.portrait.paints, side, scene.framing)

    def phrases(self, scene: FramedPortrait) -> list[str]:
        """What the canonical caption says, phrase by phrase."""
        return PORTRAITS.phrases(scene.portrait)

    def caption(self, phrases: Sequence[str]) -> str:
        """Phrases as a caption."""
        return PORTRAITS.caption(phrases)

    def paraphrase(self, scene: FramedPortrait, generator: random.Random) -> str:
        """The full caption in other words."""
        return PORTRAITS.paraphrase(scene.portrait, generator)

    def words(self, caption: str) -> list[str]:
        """The words and marks that the tokenizer sees."""
        return PORTRAITS.words(caption)

    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Attributes]:
        """What pictures show, in the values of portraits in their own colours; pixels in [-1, 1]."""
        return PORTRAITS.read(pixels)

    def oddities(self, count: int, seed: int) -> list[Image.Image]:
        """Portraits of any parts, colours and framings that the program draws: hats too, and what no caption says."""
        generators = [random.Random(f"portraits/odd/{seed}/{index}") for index in range(count)]
        return [Image.fromarray(render_view(draw_any_framing(one), one, SIZE)) for one in generators]

    def pictures(self, model: str, count: int, seed: int) -> list[Image.Image] | None:
        """None: those of the models of portraits are portraits in their own colours."""
        del model, count, seed


RECOLORED = RecoloredDomain()
"""The entry point ``recolored-portraits`` of ``latentedit.domains``."""
