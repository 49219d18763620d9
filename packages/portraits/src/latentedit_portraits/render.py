"""Portraits as pictures: the renderer, which is also the truth about every edit."""

import dataclasses
import io
import random

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
_HAIR_STYLE = {
    "bald": avatars.HairType.NONE,
    "short": avatars.HairType.SHORT_FLAT,
    "bob": avatars.HairType.BOB,
    "long": avatars.HairType.STRAIGHT_STRAND,
    "curly": avatars.HairType.CURLY,
    "mohawk": avatars.HairType.MOHAWK,
}
_EYES = {
    "open": avatars.EyeType.DEFAULT,
    "closed": avatars.EyeType.CLOSED,
    "wide": avatars.EyeType.SURPRISED,
    "winking": avatars.EyeType.WINK,
}
_EYEBROWS = {
    "flat": avatars.EyebrowType.FLAT_NATURAL,
    "raised": avatars.EyebrowType.RAISED_EXCITED,
    "angry": avatars.EyebrowType.ANGRY_NATURAL,
}
_MOUTH = {
    "smile": avatars.MouthType.SMILE,
    "serious": avatars.MouthType.SERIOUS,
    "sad": avatars.MouthType.SAD,
    "grimace": avatars.MouthType.GRIMACE,
    "shouting": avatars.MouthType.SCREAM_OPEN,
}
_ACCESSORY = {
    "none": avatars.AccessoryType.NONE,
    "glasses": avatars.AccessoryType.PRESCRIPTION_2,
    "round glasses": avatars.AccessoryType.ROUND,
    "eyepatch": avatars.AccessoryType.EYEPATCH,
}
_FACIAL_HAIR = {
    "none": avatars.FacialHairType.NONE,
    "beard": avatars.FacialHairType.BEARD_MEDIUM,
    "moustache": avatars.FacialHairType.MOUSTACHE_MAGNUM,
}
_CLOTHES = {
    "hoodie": avatars.ClothingType.HOODIE,
    "t-shirt": avatars.ClothingType.SHIRT_CREW_NECK,
    "sweater": avatars.ClothingType.COLLAR_SWEATER,
    "overalls": avatars.ClothingType.OVERALL,
}

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


def render_array(attributes: Attributes, size: int = 128, framing: Framing = Framing()) -> NDArray[np.uint8]:
    """The picture of a portrait as ``[size, size, 3]`` unsigned bytes; the same call gives the same bytes."""
    svg = avatars.Avatar(
        style=avatars.AvatarStyle.TRANSPARENT,
        top=_HAIR_STYLE[attributes.hair],  # pyright: ignore[reportArgumentType]  # TopType is their common base
        hair_color=HAIR[attributes.hair_color],
        skin_color=SKIN[attributes.skin],
        eyes=_EYES[attributes.eyes],
        eyebrows=_EYEBROWS[attributes.eyebrows],
        nose=avatars.NoseType.DEFAULT,
        mouth=_MOUTH[attributes.mouth],
        accessory=_ACCESSORY[attributes.accessory],
        facial_hair=_FACIAL_HAIR[attributes.facial_hair],
        facial_hair_color=HAIR[attributes.facial_hair_color],
        clothing=_CLOTHES[attributes.clothes],
        clothing_color=CLOTHES[attributes.clothes_color],
    ).render()
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


def counterfactual(attributes: Attributes, change: dict[str, str]) -> Attributes:
    """The right answer to an edit: the same portrait with only ``change`` applied (`Attributes.replace`)."""
    return attributes.replace(**change)
