"""A scene in numbers: where its objects stand, how they reflect and what lights them."""

import dataclasses
import math

from latentedit_portraits.worlds import read_table
from latentedit_scenes.attributes import Attributes

Color = tuple[float, float, float]
"""Linear red, green and blue: reflected shares in [0, 1], or radiances."""

NUMBERS = read_table("latentedit_scenes", "numbers")
"""The content of ``numbers.toml``: what each value of an attribute is in numbers."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One object; lengths are in the world's units, of which four fit into an image's width.

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


def linear_color(code: str) -> Color:
    """A color ``#rrggbb`` in linear light."""
    red, green, blue = (int(code[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return _light_of(red), _light_of(green), _light_of(blue)


def _light_of(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else math.pow((value + 0.055) / 1.055, 2.4)
