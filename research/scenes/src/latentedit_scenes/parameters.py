"""Numerical parameters of a scene: positions and materials of its objects, and the light."""

import dataclasses
import math

from latentedit_portraits.domains import read_table
from latentedit_scenes.attributes import Attributes

Color = tuple[float, float, float]
"""Linear red, green and blue: reflected shares in [0, 1], or radiances."""

NUMBERS = read_table("latentedit_scenes", "numbers")
"""The content of ``numbers.toml``: the numbers behind each value of an attribute."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Solid:
    """One object; lengths are in units of a quarter of the image's width.

    Args:
        shape: "cube", "ball", "cylinder" or "cone".
        x: position to the right.
        y: position away from the camera.
        radius: half its height, and half its width except for the cube, whose diagonal faces the camera.
        color: base color.
        roughness: of its surface, in (0, 1].
        metallic: 0 for dielectrics, 1 for metal.
        specular: strength of a dielectric's reflections, in [0, 1].
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
        color: color of the lighter parts.
    """

    texture: str
    color: Color


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The renderer's parameters.

    Args:
        solids: place to the object there.
        floor: surface below the objects.
        wall: surface behind the objects.
        lamp_azimuth: degrees to the right of the camera.
        lamp_radius: radius of the spherical lamp; its power does not depend on it.
        lamp_color: color of its light.
        sky: radiance of the environment, where neither floor nor wall is.
        camera_height: height above the floor.
    """

    solids: dict[str, Solid]
    floor: Surface
    wall: Surface
    lamp_azimuth: float
    lamp_radius: float
    lamp_color: Color
    sky: Color
    camera_height: float


def parameters_of(attributes: Attributes) -> Parameters:
    """The renderer's parameters for a scene."""
    return Parameters(
        solids={place: _solid(place, attributes.object_at(place)) for place in attributes.places()},
        floor=Surface(texture=attributes.floor_texture, color=linear_color(NUMBERS["floor"][attributes.floor_color])),
        wall=Surface(texture=attributes.wall_texture, color=linear_color(NUMBERS["wall"][attributes.wall_color])),
        lamp_azimuth=NUMBERS["lamp_side"][attributes.lamp_side],
        lamp_radius=NUMBERS["lamp_softness"][attributes.lamp_softness],
        lamp_color=tuple(NUMBERS["lamp_warmth"][attributes.lamp_warmth]),
        sky=tuple(NUMBERS["time"][attributes.time]),
        camera_height=NUMBERS["camera"][attributes.camera],
    )


def _solid(place: str, parts: dict[str, str]) -> Solid:
    x, y = NUMBERS["place"][place]
    return Solid(
        shape=parts["shape"],
        x=x,
        y=y,
        radius=NUMBERS["size"][parts["size"]],
        color=linear_color(NUMBERS["color"][parts["color"]]),
        **NUMBERS["material"][parts["material"]],
    )


def linear_color(code: str) -> Color:
    """A color ``#rrggbb`` in linear light."""
    red, green, blue = (int(code[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return _light_of(red), _light_of(green), _light_of(blue)


def _light_of(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else math.pow((value + 0.055) / 1.055, 2.4)
