"""Attributes of scenes, their values, and the split of each scene."""

import dataclasses
import itertools
import random
from collections.abc import Mapping
from typing import ClassVar, Self

from latentedit_portraits.domains import NONE, SceneAttributes, Split

PLACES = ("left", "middle", "right")
"""Where an object can stand, as seen from the camera; one object at most per place."""

PARTS = ("shape", "color", "material", "size")
"""The attributes of the object at a place."""

_OBJECT: dict[str, tuple[str, ...]] = {
    "shape": (NONE, "cube", "ball", "cylinder", "cone"),
    "color": (NONE, "red", "yellow", "green", "blue", "purple", "white"),
    "material": (NONE, "rubber", "plastic", "metal"),
    "size": (NONE, "small", "medium", "large"),
}

_SETTING: dict[str, tuple[str, ...]] = {
    "floor_texture": ("plain", "checkered", "striped"),
    "floor_color": ("gray", "brown", "green", "blue"),
    "wall_texture": ("plain", "checkered", "striped"),
    "wall_color": ("gray", "yellow", "pink", "blue"),
    "lamp_side": ("left", "front", "right"),
    "lamp_warmth": ("cold", "white", "warm"),
    "lamp_softness": ("hard", "soft", "diffuse"),
    "time": ("day", "evening", "night"),
    "camera": ("low", "level", "high"),
}

VALUES: dict[str, tuple[str, ...]] = {
    **{f"{place}_{part}": values for place in PLACES for part, values in _OBJECT.items()},
    **_SETTING,
}
"""Every attribute with its values, in the order of the classifier's heads."""

ORDERED: dict[str, tuple[str, ...]] = {
    **{f"{place}_{part}": _OBJECT[part][1:] for place in PLACES for part in ("size", "material")},
    **{name: _SETTING[name] for name in ("lamp_side", "lamp_warmth", "lamp_softness", "time", "camera")},
}
"""Attributes whose values have an order, with the values in that order; values between them can be rendered, too."""

PART_OF: dict[str, str] = {f"{place}_{part}": f"{place}_shape" for place in PLACES for part in PARTS[1:]}
"""Attribute of an object to the shape that it depends on: a place without an object has no color."""

HELD_OUT = (("cube", "purple"), ("ball", "green"), ("cylinder", "yellow"), ("cone", "blue"))
"""Held-out combinations, which training never shows; it shows each shape in other colors and each color on others."""

_DEFAULTS = {"color": "red", "material": "plastic", "size": "medium"}
"""The attributes of an object that is added without them."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attributes(SceneAttributes):
    """The attributes of one scene; see `SceneAttributes`. Places without an object have "none"."""

    noun: ClassVar = "scene"
    seeds: ClassVar = "scenes"
    values: ClassVar = VALUES
    dependent: ClassVar = {name: (shape, NONE) for name, shape in PART_OF.items()}

    left_shape: str
    left_color: str
    left_material: str
    left_size: str
    middle_shape: str
    middle_color: str
    middle_material: str
    middle_size: str
    right_shape: str
    right_color: str
    right_material: str
    right_size: str
    floor_texture: str
    floor_color: str
    wall_texture: str
    wall_color: str
    lamp_side: str
    lamp_warmth: str
    lamp_softness: str
    time: str
    camera: str

    @classmethod
    def draw(cls, generator: random.Random) -> Self:
        """Random attributes: one, two or three objects equally often, all other values uniform."""
        taken = generator.sample(PLACES, generator.choice((1, 2, 3)))
        values = {name: generator.choice(allowed) for name, allowed in _SETTING.items()}
        for place, (part, allowed) in itertools.product(PLACES, _OBJECT.items()):
            values[f"{place}_{part}"] = generator.choice(allowed[1:]) if place in taken else NONE
        return cls(**values)

    @property
    def novel(self) -> bool:
        """Whether an object has a combination of shape and color that is held out from training."""
        objects = [self.object_at(place) for place in self.places()]
        return any((thing["shape"], thing["color"]) in HELD_OUT for thing in objects)

    @property
    def split(self) -> Split:
        """Test if it has a held-out combination, otherwise by a hash."""
        return "test" if self.novel else self.hashed_split()

    def fits(self, split: Split, index: int) -> bool:
        """In the test split every second scene has a held-out combination."""
        return self.split == split and (split != "test" or self.novel == bool(index % 2))

    @classmethod
    def default(cls, name: str, others: Mapping[str, str]) -> str:
        """Red, plastic or medium."""
        del others
        return _DEFAULTS[name.partition("_")[2]]

    def places(self) -> list[str]:
        """The places that have an object, from left to right."""
        return [place for place in PLACES if getattr(self, f"{place}_shape") != NONE]

    def object_at(self, place: str) -> dict[str, str]:
        """Shape, color, material and size of the object at a place; all "none" if it is empty."""
        return {part: getattr(self, f"{place}_{part}") for part in PARTS}

    def moved(self, source: str, target: str) -> Self:
        """The scene with the objects of two places exchanged; if one place is empty, the object moves."""
        there, here = self.object_at(source), self.object_at(target)
        pairs = [(target, part, value) for part, value in there.items()]
        pairs += [(source, part, value) for part, value in here.items()]
        return dataclasses.replace(self, **{f"{place}_{part}": value for place, part, value in pairs})


draw_split = Attributes.draw_split
