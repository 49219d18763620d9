"""What a scene is made of: the attributes, their values, and the split that a scene belongs to."""

import dataclasses
import hashlib
import itertools
import random
from collections.abc import Mapping
from typing import Literal, Self

from latentedit.core.errors import ConfigError

Split = Literal["train", "calibration", "test"]

NONE = "none"

PLACES = ("left", "middle", "right")
"""Where an object can stand, as the camera sees it; each place has one or none."""

PARTS = ("shape", "color", "material", "size")
"""What is said of the object at a place."""

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
"""Every attribute with its values, in the order in which the reader's heads and the captions name them."""

ORDERED: dict[str, tuple[str, ...]] = {
    **{f"{place}_{part}": _OBJECT[part][1:] for place in PLACES for part in ("size", "material")},
    **{name: _SETTING[name] for name in ("lamp_side", "lamp_warmth", "lamp_softness", "time", "camera")},
}
"""Attributes whose values have an order, and it; what lies between two of them can be rendered."""

PART_OF: dict[str, str] = {f"{place}_{part}": f"{place}_shape" for place in PLACES for part in PARTS[1:]}
"""Attribute to the shape that it belongs to: without an object at a place nothing has its color."""

HELD_OUT = (("cube", "purple"), ("ball", "green"), ("cylinder", "yellow"), ("cone", "blue"))
"""Shapes in colors that training never shows; every shape is seen in other colors and every color on other shapes."""

_DEFAULTS = {"color": "red", "material": "plastic", "size": "medium"}
"""What an object is that appears without having been described."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """One scene, described completely.

    Laws:
        1. Every field holds one of ``VALUES[field]``.
        2. Color, material and size of a place are "none" exactly where its shape is.

    Raises:
        ConfigError: a value that the attribute does not have, or a part that contradicts its shape.
    """

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

    def __post_init__(self) -> None:
        for name, allowed in VALUES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"{name} cannot be {value!r}. Give one of {', '.join(allowed)}")
        for name, shape in PART_OF.items():
            if (getattr(self, name) == NONE) != (getattr(self, shape) == NONE):
                raise ConfigError(
                    f"{shape} is {getattr(self, shape)!r} and {name} {getattr(self, name)!r}, which contradict each "
                    f"other. Give {name} 'none' exactly where {shape} is 'none'"
                )

    def places(self) -> list[str]:
        """The places where an object stands, from left to right."""
        return [place for place in PLACES if getattr(self, f"{place}_shape") != NONE]

    def object_at(self, place: str) -> dict[str, str]:
        """Shape, color, material and size of what stands at a place; all "none" where nothing does."""
        return {part: getattr(self, f"{place}_{part}") for part in PARTS}

    def replace(self, **change: str) -> Self:
        """These attributes with some changed: the counterfactual.

        What belongs to an object comes and goes with it: one that appears undescribed is a medium red plastic one.

        Args:
            change: attribute names and their new values.

        Raises:
            ConfigError: an unknown attribute or value.
        """
        unknown = sorted(set(change) - set(VALUES))
        if unknown:
            raise ConfigError(f"a scene has no attribute {', '.join(unknown)}. Give some of {', '.join(VALUES)}")
        values = _settled({name: getattr(self, name) for name in VALUES} | change)
        return dataclasses.replace(self, **values)

    def moved(self, source: str, target: str) -> Self:
        """The scene with the objects of two places exchanged: a move where one of them is empty.

        Args:
            source: a place.
            target: another one.
        """
        there, here = self.object_at(source), self.object_at(target)
        pairs = [(target, part, value) for part, value in there.items()]
        pairs += [(source, part, value) for part, value in here.items()]
        return dataclasses.replace(self, **{f"{place}_{part}": value for place, part, value in pairs})

    def indices(self) -> list[int]:
        """The position of each value in ``VALUES``, in the order of ``VALUES``."""
        return [allowed.index(getattr(self, name)) for name, allowed in VALUES.items()]

    @classmethod
    def from_indices(cls, indices: list[int]) -> "Attributes":
        """The inverse of `indices`; contradictory parts are settled in favour of the shape.

        A reader predicts each attribute by itself, so its answers may contradict each other.
        """
        values = {name: allowed[i] for (name, allowed), i in zip(VALUES.items(), indices, strict=True)}
        return cls(**_settled(values))

    def differences(self, other: "Attributes") -> list[str]:
        """Names of the attributes in which two scenes differ."""
        return [name for name in VALUES if getattr(self, name) != getattr(other, name)]


def _settled(values: Mapping[str, str]) -> dict[str, str]:
    """Values in which nothing contradicts its shape."""
    settled = dict(values)
    for name, shape in PART_OF.items():
        if settled[shape] == NONE:
            settled[name] = NONE
        elif settled[name] == NONE:
            settled[name] = _DEFAULTS[name.partition("_")[2]]
    return settled


def is_novel(attributes: Attributes) -> bool:
    """Whether an object is of a shape and a color that training never shows together."""
    found = [attributes.object_at(place) for place in attributes.places()]
    return any((one["shape"], one["color"]) in HELD_OUT for one in found)


def split_of(attributes: Attributes) -> Split:
    """The split that a scene belongs to.

    Scenes with held-out combinations are of the test split; of the others 90 % are of the training split, 5 % of each
    of the others, by a hash of their attributes. The split depends on nothing but the attributes.
    """
    if is_novel(attributes):
        return "test"
    text = "|".join(getattr(attributes, name) for name in VALUES)
    bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 20
    return "test" if bucket == 0 else "calibration" if bucket == 1 else "train"


def draw(generator: random.Random) -> Attributes:
    """Random attributes: one, two or three objects equally often, all other values uniformly."""
    taken = generator.sample(PLACES, generator.choice((1, 2, 3)))
    values = {name: generator.choice(allowed) for name, allowed in _SETTING.items()}
    for place, (part, allowed) in itertools.product(PLACES, _OBJECT.items()):
        values[f"{place}_{part}"] = generator.choice(allowed[1:]) if place in taken else NONE
    return Attributes(**values)


def draw_split(split: Split, count: int, seed: int) -> list[Attributes]:
    """``count`` different scenes of one split, the same for the same seed on every machine.

    In the test split every second scene has a held-out combination.
    """
    generator = random.Random(f"scenes/{split}/{seed}")
    found: dict[Attributes, None] = {}
    while len(found) < count:
        attributes = draw(generator)
        if split_of(attributes) == split and (split != "test" or is_novel(attributes) == bool(len(found) % 2)):
            found[attributes] = None
    return list(found)
