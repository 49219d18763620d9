"""Portraits like those of other programs: in any colors, and framed less tightly."""

import colorsys
import dataclasses
import random
from collections.abc import Mapping
from typing import ClassVar, Self

from latentedit_drawn.render import COLORS, Framing, hex_color
from latentedit_portraits.attributes import VALUES, Attributes
from latentedit_portraits.domains import NONE, read_table

_TABLE = read_table("latentedit_drawn", "drawing")

NAMED: Mapping[str, tuple[float, float, float]] = {name: tuple(hsv) for name, hsv in _TABLE["named"].items()}
"""Color to the mean hue, saturation and value of its shades, each in [0, 1]."""

UNSEEN: Mapping[str, tuple[str, ...]] = {name: tuple(colors) for name, colors in _TABLE["unseen"].items()}
"""Attribute that is a color to its held-out colors, which training never shows."""

_GINGER = {"hair_color": ("red", "orange"), "facial_hair_color": ("red", "orange")}
"""Attribute to the colors whose words mean ginger there."""

_SHOWN = {
    name: tuple(word for word in NAMED if word not in (*unseen, *_GINGER.get(name, ())))
    for name, unseen in UNSEEN.items()
}

_SPREAD = (0.015, 0.08, 0.06)  # standard deviation of a color's shades in hue, saturation and value
_RECOLORED = 0.6  # probability that a part gets a color of `NAMED`; otherwise a shade of its own color


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recolored(Attributes):
    """One portrait whose colors can be any words.

    Args:
        paints: attribute that is a color to its rendered color, as ``#rrggbb``.
        framing: position and size of the portrait in its image.
    """

    seeds: ClassVar = "portraits/recolored"

    paints: Mapping[str, str] = dataclasses.field(hash=False)
    framing: Framing

    def __post_init__(self) -> None:
        """Accept all values: colors are not restricted."""

    @classmethod
    def draw(cls, generator: random.Random) -> Self:
        """A portrait in random shades of random colors, without those of `UNSEEN`, framed with a framer's errors."""
        attributes = Attributes.draw(generator)
        words, paints = dict[str, str](), dict[str, str]()
        for name, known in COLORS.items():
            own = getattr(attributes, name)
            if name == "skin" or own == NONE or generator.random() >= _RECOLORED:
                base = colorsys.rgb_to_hsv(*(int(known[own][i : i + 2], 16) / 255 for i in (1, 3, 5)))
            else:
                words[name] = generator.choice(_SHOWN[name])
                base = NAMED[words[name]]
            hue, *rest = (part + generator.gauss(0, 1) * width for part, width in zip(base, _SPREAD, strict=True))
            paints[name] = hex_color(hue % 1.0, *(min(max(part, 0.0), 1.0) for part in rest))
        shift_x, shift_y = generator.uniform(-0.06, 0.06), generator.uniform(-0.06, 0.06)
        framing = Framing(shift_x=shift_x, shift_y=shift_y, zoom=2 ** generator.uniform(-0.2, 0.2))
        return cls(**dataclasses.asdict(attributes) | words, paints=paints, framing=framing)

    def replace(self, **change: str) -> Self:
        """See `Attributes`; a changed color is rendered in the standard shade of its value."""
        new = Attributes.replace(self, **change)
        changed = [name for name in COLORS if getattr(new, name) != getattr(self, name)]
        plain = {name: COLORS[name][getattr(new, name)] for name in changed}
        values = {name: getattr(new, name) for name in VALUES}
        return dataclasses.replace(self, **values, paints={**self.paints, **plain})
