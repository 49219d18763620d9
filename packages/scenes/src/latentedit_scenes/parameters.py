"""A scene in numbers: where its objects stand, how they reflect, what lights them, and what lies between two scenes."""

import dataclasses
import math
import tomllib
from importlib import resources
from typing import Any

from latentedit.core.errors import ConfigError
from latentedit_scenes.attributes import ORDERED, Attributes

Color = tuple[float, float, float]
"""Linear red, green and blue: reflected shares in [0, 1], or radiances."""

NUMBERS: dict[str, Any] = tomllib.loads(
    resources.files("latentedit_scenes").joinpath("numbers.toml").read_text("utf-8")
)
"""The content of ``numbers.toml``: what each value of an attribute is in numbers."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One object; lengths are in the world's units, of which four fit into a picture's width.

    Args:
        shape: "cube", "ball", "cylinder" or "cone".
        x: to the right.
        y: away from the camera.
        radius: half its height, and half its width but for the cube, whose diagonal is turned to the camera.
        color: what it reflects.
        roughness: of its surface, in (0, 1].
        metallic: 0 for what has a color below its surface, 1 for metal.
        specular: how strongly its surface reflects what is no metal, in [0, 1].
    """

    shape: str
    x: float
    y: float
    radius: float
    color: Color
    roughness: float
    metallic: float
    specular: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Floor or wall.

    Args:
        texture: "plain", "checkered" or "striped".
        color: of the lighter parts.
    """

    texture: str
    color: Color


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """All that the renderer has to know.

    Args:
        things: place to the object that stands there.
        floor: below them.
        wall: behind them.
        lamp_azimuth: in degrees to the right of the camera.
        lamp_radius: of the ball that shines; its power stays the same.
        lamp_color: of its light.
        sky: radiance from everywhere that floor and wall leave open.
        camera_height: above the floor.
    """

    things: dict[str, Thing]
    floor: Surface
    wall: Surface
    lamp_azimuth: float
    lamp_radius: float
    lamp_color: Color
    sky: Color
    camera_height: float


def parameters_of(attributes: Attributes) -> Parameters:
    """A scene in numbers."""
    return Parameters(
        things={place: _thing(place, attributes.object_at(place)) for place in attributes.places()},
        floor=Surface(texture=attributes.floor_texture, color=linear_color(NUMBERS["floor"][attributes.floor_color])),
        wall=Surface(texture=attributes.wall_texture, color=linear_color(NUMBERS["wall"][attributes.wall_color])),
        lamp_azimuth=NUMBERS["lamp_side"][attributes.lamp_side],
        lamp_radius=NUMBERS["lamp_softness"][attributes.lamp_softness],
        lamp_color=tuple(NUMBERS["lamp_warmth"][attributes.lamp_warmth]),
        sky=tuple(NUMBERS["time"][attributes.time]),
        camera_height=NUMBERS["camera"][attributes.camera],
    )


def between(source: Attributes, target: Attributes, share: float) -> Parameters:
    """The true intermediate of a graded change: every number at that share of its way.

    Args:
        source: at 0.
        target: at 1; differs from it in attributes of `ORDERED` alone.
        share: in [0, 1].

    Raises:
        ConfigError: the scenes differ in something of which there is no half.
    """
    whole = [name for name in source.differences(target) if name not in ORDERED]
    if whole:
        raise ConfigError(f"there is nothing between two values of {whole[0]}. Change some of {', '.join(ORDERED)}")
    return _blended(parameters_of(source), parameters_of(target), share)


def _thing(place: str, told: dict[str, str]) -> Thing:
    x, y = NUMBERS["place"][place]
    return Thing(
        shape=told["shape"],
        x=x,
        y=y,
        radius=NUMBERS["size"][told["size"]],
        color=linear_color(NUMBERS["color"][told["color"]]),
        **NUMBERS["material"][told["material"]],
    )


def _blended(one: Any, other: Any, share: float) -> Any:
    """Numbers at a share of their way, within whatever holds them; what is no number is the same in both."""
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return dataclasses.replace(
            one,  # pyright: ignore[reportArgumentType]
            **{name: _blended(getattr(one, name), getattr(other, name), share) for name in names},
        )
    if isinstance(one, dict):
        return {key: _blended(one[key], other[key], share) for key in one}
    if isinstance(one, tuple):
        return tuple(_blended(a, b, share) for a, b in zip(one, other, strict=True))
    return one if isinstance(one, str) else (1 - share) * one + share * other


def linear_color(code: str) -> Color:
    """A color ``#rrggbb`` in linear light."""
    red, green, blue = (int(code[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return _light_of(red), _light_of(green), _light_of(blue)


def _light_of(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else math.pow((value + 0.055) / 1.055, 2.4)
