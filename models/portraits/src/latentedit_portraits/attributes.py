"""Attributes of portraits, their values, and the split of each portrait."""

import dataclasses
import random
from collections.abc import Mapping
from typing import ClassVar, Self

from latentedit_portraits.domains import NONE, SceneAttributes

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
"""Every attribute with its values, in the order of the classifier's heads."""

_DEPENDENT = {"hair_color": ("hair", "bald"), "facial_hair_color": ("facial_hair", NONE)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attributes(SceneAttributes):
    """The attributes of one portrait; see `SceneAttributes`. A color is "none" if its part is absent."""

    noun: ClassVar = "portrait"
    seeds: ClassVar = "portraits"
    values: ClassVar = VALUES
    dependent: ClassVar = _DEPENDENT

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

    @classmethod
    def draw(cls, generator: random.Random) -> Self:
        """Random attributes: uniform, except that a third have no accessory and 45 % no facial hair."""
        values = {name: generator.choice(allowed) for name, allowed in VALUES.items()}
        if generator.random() < 0.15:
            values["accessory"] = NONE
        if generator.random() < 0.2:
            values["facial_hair"] = NONE
        for color, (part, absent) in _DEPENDENT.items():
            values[color] = NONE if values[part] == absent else generator.choice(VALUES[color][1:])
        return cls(**values)

    @classmethod
    def default(cls, name: str, others: Mapping[str, str]) -> str:
        """The color of the other hair, of head or face; brown if there is none."""
        other = others.get("hair_color" if name == "facial_hair_color" else "facial_hair_color", NONE)
        return other if other in VALUES[name] and other != NONE else "brown"


draw_split = Attributes.draw_split
