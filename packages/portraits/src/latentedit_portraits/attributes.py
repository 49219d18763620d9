"""What a portrait is made of: the attributes, their values, and the split that a portrait belongs to."""

import dataclasses
import hashlib
import random
from typing import Literal, Self

from latentedit.core.errors import ConfigError

Split = Literal["train", "calibration", "test"]

NONE = "none"

IGNORED = -100
"""In the place of a value's index where there is nothing to learn: what torch's cross-entropy passes over."""

VALUES: dict[str, tuple[str, ...]] = {
    "skin": ("pale", "tan", "brown", "dark"),
    "hair": ("bald", "short", "bob", "long", "curly", "mohawk"),
    "hair_color": (NONE, "black", "brown", "blonde", "ginger", "gray", "pink"),
    "eyes": ("open", "closed", "wide", "winking"),
    "eyebrows": ("flat", "raised", "angry"),
    "mouth": ("smile", "serious", "sad", "grimace", "shouting"),
    "accessory": (NONE, "glasses", "round glasses", "eyepatch"),
    "facial_hair": (NONE, "beard", "moustache"),
    "facial_hair_color": (NONE, "black", "brown", "blonde", "ginger", "gray"),
    "clothes": ("hoodie", "t-shirt", "sweater", "overalls"),
    "clothes_color": ("red", "blue", "green", "yellow", "black", "white"),
    "background": ("blue", "pink", "green", "yellow", "purple", "white"),
}
"""Every attribute with its values, in the order in which the reader's heads and the captions name them."""

_COLOR_OF = {"hair_color": ("hair", "bald"), "facial_hair_color": ("facial_hair", NONE)}
"""A colour attribute, the part it colours, and the value of that part for which there is nothing to colour."""

_DEFAULT_COLOR = "brown"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """One portrait, described completely.

    Laws:
        1. Every field holds one of ``VALUES[field]``.
        2. A colour is "none" exactly where there is nothing to colour (bald, no facial hair).

    Raises:
        ConfigError: a value that the attribute does not have, or a colour that contradicts its part.
    """

    skin: str
    hair: str
    hair_color: str
    eyes: str
    eyebrows: str
    mouth: str
    accessory: str
    facial_hair: str
    facial_hair_color: str
    clothes: str
    clothes_color: str
    background: str

    def __post_init__(self) -> None:
        for name, allowed in VALUES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"{name} cannot be {value!r}. Give one of {', '.join(allowed)}")
        for color, (part, absent) in _COLOR_OF.items():
            if (getattr(self, color) == NONE) != (getattr(self, part) == absent):
                raise ConfigError(
                    f"{part} is {getattr(self, part)!r} and {color} {getattr(self, color)!r}, which "
                    f"contradict each other. Give {color} 'none' exactly where {part} is {absent!r}"
                )

    def replace(self, **change: str) -> Self:
        """These attributes with some changed: the counterfactual.

        A colour follows its part: removing the part removes the colour, and a new part without a named colour takes the
        colour of the other hair on the head, or brown where there is none.

        Args:
            change: attribute names and their new values.

        Raises:
            ConfigError: an unknown attribute or value.
        """
        unknown = sorted(set(change) - set(VALUES))
        if unknown:
            raise ConfigError(f"a portrait has no attribute {', '.join(unknown)}. Give some of {', '.join(VALUES)}")
        values = {name: getattr(self, name) for name in VALUES} | change
        for color, (part, absent) in _COLOR_OF.items():
            if values[part] == absent:
                values[color] = NONE
            elif values[color] == NONE:
                other = values["hair_color" if color == "facial_hair_color" else "facial_hair_color"]
                values[color] = other if other in VALUES[color] and other != NONE else _DEFAULT_COLOR
        return dataclasses.replace(self, **values)

    def indices(self) -> list[int]:
        """The position of each value in ``VALUES``, in the order of ``VALUES``."""
        return [allowed.index(getattr(self, name)) for name, allowed in VALUES.items()]

    @classmethod
    def from_indices(cls, indices: list[int]) -> "Attributes":
        """The inverse of `indices`; contradictory colours are settled in favour of the part.

        A reader predicts each attribute by itself, so its answers may contradict each other.
        """
        values = {name: allowed[i] for (name, allowed), i in zip(VALUES.items(), indices, strict=True)}
        for color, (part, absent) in _COLOR_OF.items():
            if values[part] == absent:
                values[color] = NONE
            elif values[color] == NONE:
                values[color] = _DEFAULT_COLOR
        return cls(**values)

    def differences(self, other: "Attributes") -> list[str]:
        """Names of the attributes in which two portraits differ."""
        return [name for name in VALUES if getattr(self, name) != getattr(other, name)]


def split_of(attributes: Attributes) -> Split:
    """The split that a portrait belongs to: 90 % train, 5 % calibration, 5 % test, by a hash of its attributes.

    The split depends on nothing but the attributes, so no test portrait can ever be in training.
    """
    text = "|".join(getattr(attributes, name) for name in VALUES)
    bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 20
    return "test" if bucket == 0 else "calibration" if bucket == 1 else "train"


def draw(generator: random.Random) -> Attributes:
    """Random attributes: parts uniformly, but a third without accessory and 45 % without facial hair."""
    values = {name: generator.choice(allowed) for name, allowed in VALUES.items()}
    if generator.random() < 0.15:
        values["accessory"] = NONE
    if generator.random() < 0.2:
        values["facial_hair"] = NONE
    for color, (part, absent) in _COLOR_OF.items():
        values[color] = NONE if values[part] == absent else generator.choice(VALUES[color][1:])
    return Attributes(**values)


def draw_split(split: Split, count: int, seed: int) -> list[Attributes]:
    """``count`` different portraits of one split, the same for the same seed on every machine."""
    generator = random.Random(f"portraits/{split}/{seed}")
    found: dict[Attributes, None] = {}
    while len(found) < count:
        attributes = draw(generator)
        if split_of(attributes) == split:
            found[attributes] = None
    return list(found)
