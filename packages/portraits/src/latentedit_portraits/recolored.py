"""Portraits in colors that their attributes do not have, in wider framings: as other programs draw them."""

import colorsys
import dataclasses
import random
from collections.abc import Mapping
from typing import Self

from latentedit_portraits.attributes import VALUES, Attributes, draw
from latentedit_portraits.render import COLORS, Framing, hex_color
from latentedit_portraits.worlds import NONE, read_table

_TABLE = read_table("latentedit_portraits", "drawing")

NAMED: Mapping[str, tuple[float, float, float]] = {name: tuple(hsv) for name, hsv in _TABLE["named"].items()}
"""Color to the hue, saturation and value about which its shades lie, each in [0, 1]."""

UNSEEN: Mapping[str, tuple[str, ...]] = {name: tuple(colors) for name, colors in _TABLE["unseen"].items()}
"""Attribute that is a color to the colors that training never shows of it."""

_GINGER = {"hair_color": ("red", "orange"), "facial_hair_color": ("red", "orange")}
"""Colors whose words mean ginger of these attributes."""

_SHOWN = {
    name: tuple(word for word in NAMED if word not in (*unseen, *_GINGER.get(name, ())))
    for name, unseen in UNSEEN.items()
}

_SPREAD = (0.015, 0.08, 0.06)  # of shades of one color, in hue, saturation and value
_RECOLORED = 0.6  # probability that a part has a color of `NAMED`; otherwise a shade of its own


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recolored(Attributes):
    """One portrait whose colors are named by any words.

    Args:
        paints: what is painted for each attribute that is a color, as ``#rrggbb``.
        framing: how it sits in its image.
    """

    paints: Mapping[str, str] = dataclasses.field(hash=False)
    framing: Framing

    def __post_init__(self) -> None:
        """Nothing is refused: colors are free."""

    def replace(self, **change: str) -> Self:
        """As for `Attributes`; a color that changes is painted as its value always is."""
        new = Attributes.replace(self, **change)
        changed = [name for name in COLORS if getattr(new, name) != getattr(self, name)]
        plain = {name: COLORS[name][getattr(new, name)] for name in changed}
        values = {name: getattr(new, name) for name in VALUES}
        return dataclasses.replace(self, **values, paints={**self.paints, **plain})


def draw_recolored(generator: random.Random) -> Recolored:
    """A random portrait with random shades of random colors, none of `UNSEEN`, as a framer may leave it."""
    attributes = draw(generator)
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
    return Recolored(**dataclasses.asdict(attributes) | words, paints=paints, framing=framing)
