"""Portraits as pictures: the renderer, which is also the truth about every edit."""

import dataclasses
import io
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import python_avatars as avatars
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from latentedit_portraits.attributes import Attributes

SKIN = {"pale": "#FFDBB4", "tan": "#EBB07C", "brown": "#C08450", "dark": "#6E4838"}
HAIR = {
    "none": "#000000",
    "black": "#221A1A",
    "brown": "#96572A",
    "blonde": "#E6BE52",
    "ginger": "#D2480F",
    "gray": "#C4C6CE",
    "pink": "#F277A8",
}
CLOTHES = {
    "red": "#E8413F",
    "blue": "#2C6BD8",
    "green": "#2E9E5B",
    "yellow": "#FFD034",
    "black": "#262E33",
    "white": "#FFFFFF",
}
BACKGROUND = {
    "blue": "#8CCBFF",
    "pink": "#FFB9D6",
    "green": "#B4E6A2",
    "yellow": "#FFE89A",
    "purple": "#BFA3EE",
    "white": "#FFFFFF",
}
_CATALOGUE: dict[str, tuple[Any, dict[str, str]]] = {
    "hair": (
        avatars.HairType,
        {
            "bald": "NONE",
            "short": "SHORT_FLAT",
            "bob": "BOB",
            "long": "STRAIGHT_STRAND",
            "curly": "CURLY",
            "mohawk": "MOHAWK",
        },
    ),
    "eyes": (avatars.EyeType, {"open": "DEFAULT", "closed": "CLOSED", "wide": "SURPRISED", "winking": "WINK"}),
    "eyebrows": (
        avatars.EyebrowType,
        {"flat": "FLAT_NATURAL", "raised": "RAISED_EXCITED", "angry": "ANGRY_NATURAL"},
    ),
    "mouth": (
        avatars.MouthType,
        {"smile": "SMILE", "serious": "SERIOUS", "sad": "SAD", "grimace": "GRIMACE", "shouting": "SCREAM_OPEN"},
    ),
    "accessory": (
        avatars.AccessoryType,
        {"none": "NONE", "glasses": "PRESCRIPTION_2", "round glasses": "ROUND", "eyepatch": "EYEPATCH"},
    ),
    "facial_hair": (
        avatars.FacialHairType,
        {"none": "NONE", "beard": "BEARD_MEDIUM", "moustache": "MOUSTACHE_MAGNUM"},
    ),
    "clothes": (
        avatars.ClothingType,
        {"hoodie": "HOODIE", "t-shirt": "SHIRT_CREW_NECK", "sweater": "COLLAR_SWEATER", "overalls": "OVERALL"},
    ),
}
PARTS: dict[str, dict[str, Any]] = {
    attribute: {value: kind[name] for value, name in names.items()} for attribute, (kind, names) in _CATALOGUE.items()
}
"""Attribute that is a shape to value to what is drawn for it, of python-avatars' catalogue."""

COLORS: dict[str, dict[str, str]] = {
    "skin": SKIN,
    "hair_color": HAIR,
    "facial_hair_color": HAIR,
    "clothes_color": CLOTHES,
    "background": BACKGROUND,
}
"""Attribute that is a colour to value to that colour, as ``#rrggbb``."""

_CANVAS = 'width="264px" height="280px" viewBox="0 0 264 280"'
_LEFT, _TOP, _SIDE = 32.0, 30.0, 200.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """How the portrait sits in the picture.

    Args:
        shift_x: to the right, as a share of the picture's side.
        shift_y: downwards, as a share of the picture's side.
        zoom: magnification; 1 is the standard crop.
        tint: added to red, green and blue, each in [-255, 255].
    """

    shift_x: float = 0.0
    shift_y: float = 0.0
    zoom: float = 1.0
    tint: tuple[float, float, float] = (0.0, 0.0, 0.0)


def draw_framing(generator: random.Random) -> Framing:
    """A slightly different framing and colour, as training pictures have."""
    red, green, blue = (generator.gauss(0.0, 3.0) for _ in range(3))
    return Framing(
        shift_x=generator.uniform(-0.03, 0.03),
        shift_y=generator.uniform(-0.03, 0.03),
        zoom=generator.uniform(0.94, 1.06),
        tint=(red, green, blue),
    )


def draw_avatar(parts: Mapping[str, Any], colors: Mapping[str, str], **more: Any) -> str:
    """The drawing of a portrait as SVG, without its background.

    Args:
        parts: of each attribute that is a shape, a part of python-avatars' catalogue.
        colors: of each attribute that is a colour, any, as ``#rrggbb``.
        more: of `avatars.Avatar`, such as what is printed on a shirt.
    """
    return avatars.Avatar(
        style=avatars.AvatarStyle.TRANSPARENT,
        top=parts["hair"],
        hair_color=colors["hair_color"],
        skin_color=colors["skin"],
        eyes=parts["eyes"],
        eyebrows=parts["eyebrows"],
        nose=avatars.NoseType.DEFAULT,
        mouth=parts["mouth"],
        accessory=parts["accessory"],
        facial_hair=parts["facial_hair"],
        facial_hair_color=colors["facial_hair_color"],
        clothing=parts["clothes"],
        clothing_color=colors["clothes_color"],
        **more,
    ).render()


def render_array(attributes: Attributes, size: int = 128, framing: Framing = Framing()) -> NDArray[np.uint8]:
    """The picture of a portrait as ``[size, size, 3]`` unsigned bytes; the same call gives the same bytes."""
    svg = draw_avatar(
        {name: known[getattr(attributes, name)] for name, known in PARTS.items()},
        {name: known[getattr(attributes, name)] for name, known in COLORS.items()},
    )
    side = _SIDE / framing.zoom
    left = _LEFT + (_SIDE - side) / 2 - framing.shift_x * side
    top = _TOP + (_SIDE - side) / 2 - framing.shift_y * side
    canvas = f'width="{size}px" height="{size}px" viewBox="{left:.4f} {top:.4f} {side:.4f} {side:.4f}"'
    svg = svg.replace(_CANVAS, canvas)
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, background=BACKGROUND[attributes.background])
    pixels = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGB"))
    if any(framing.tint):
        pixels = np.clip(pixels + np.asarray(framing.tint), 0, 255).round().astype(np.uint8)
    return pixels


def render(attributes: Attributes, size: int = 128, framing: Framing = Framing()) -> Image.Image:
    """The picture of a portrait.

    Args:
        attributes: what it shows.
        size: side of the square picture, in pixels.
        framing: shift, zoom and tint.
    """
    return Image.fromarray(render_array(attributes, size, framing))
