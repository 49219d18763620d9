"""What the networks of this package have to know of a world: its attributes, and captions that say them."""

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from latentedit_portraits.attributes import VALUES
from latentedit_portraits.captions import MAX_TOKENS, CaptionStyle, draw_caption, parse, vocabulary


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A world whose models are trained as those of portraits are.

    Args:
        values: every attribute with all its values, in the order of the reader's heads.
        draw_caption: a random caption of a scene, which the style makes longer or shorter.
        stated: attributes to values, those that a caption settles.
        vocabulary: every word of captions, each a token.
        max_tokens: what the text encoders take.
    """

    values: Mapping[str, Sequence[str]]
    draw_caption: Callable[[Any, random.Random, CaptionStyle], str]
    stated: Callable[[str], Mapping[str, str]]
    vocabulary: Sequence[str]
    max_tokens: int


PORTRAITS = World(
    values=VALUES, draw_caption=draw_caption, stated=parse, vocabulary=vocabulary(), max_tokens=MAX_TOKENS
)
"""That of this package."""
