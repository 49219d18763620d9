"""The renderer of portraits, which also makes the correct result of every edit.

The portraits are drawn with python-avatars (MIT, copyright 2021 Ibon) after Avataaars by Pablo Stanley.
"""

import colorsys
import dataclasses
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import python_avatars as avatars
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from latentedit_portraits.attributes import Attributes
from latentedit_portraits.domains import read_table

_DRAWING = read_table("latentedit_drawn", "drawing")
_PALETTES = {"hair_color": "hair", "facial_hair_color": "hair", "clothes_color": "clothes"}

PARTS: dict[str, dict[str, Any]] = {
    attribute: {value: getattr(avatars, part["catalogue"])[name] for value, name in part["values"].items()}
    for attribute, part in _DRAWING["parts"].items()
}
"""Attribute that is a shape to its values, each with its part in python-avatars' catalogue."""

COLORS: dict[str, dict[str, str]] = {
    attribute: _DRAWING["colors"][_PALETTES.get(attribute, attribute)]
    for attribute in ("skin", "hair_color", "facial_hair_color", "clothes_color", "background")
}
"""Attribute that is a color to its values, each as ``#rrggbb``."""

_CANVAS = 'width="264px" height="280px" viewBox="0 0 264 280"'
_CENTER, _SIDE = (132.0, 130.0), 200.0  # center and side of the standard crop, in units of the drawing


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """Position, size and tint of the portrait in its image.

    Args:
        shift_x: to the right, as a share of the image's side.
        shift_y: downwards, as a share of the image's side.
        zoom: magnification; 1 is the standard crop.
        tint: added to red, green and blue, each in [-255, 255].
    """

    shift_x: float = 0.0
    shift_y: float = 0.0
    zoom: float = 1.0
    tint: tuple[float, float, float] = (0.0, 0.0, 0.0)


def draw_avatar(parts: Mapping[str, Any], colors: Mapping[str, str], **more: Any) -> str:
    """The drawing of a portrait as SVG, without its background.

    Args:
        parts: attribute that is a shape to a part of python-avatars' catalogue.
        colors: attribute that is a color to any color, as ``#rrggbb``.
        more: further arguments of `avatars.Avatar`, such as the print on a shirt.
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


def hex_color(hue: float, saturation: float, value: float) -> str:
    """A color by hue, saturation and value, each in [0, 1], as ``#rrggbb``."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hsv_to_rgb(hue, saturation, value))


def seen_square(framing: Framing) -> tuple[float, float, float]:
    """Left, top and side of the region that a framing shows, in units of the drawing."""
    side = _SIDE / framing.zoom
    return _CENTER[0] - (framing.shift_x + 0.5) * side, _CENTER[1] - (framing.shift_y + 0.5) * side, side


def rasterize(svg: str, square: tuple[float, float, float], size: int, background: str) -> NDArray[np.uint8]:
    """A square region of a drawing on a background ``#rrggbb``, as ``[size, size, 3]``."""
    left, top, side = square
    view = f'viewBox="{left:.4f} {top:.4f} {side:.4f} {side:.4f}"'
    svg = svg.replace(_CANVAS, f'width="{size}" height="{size}" {view} overflow="visible"')
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, background=background)
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGB"))


def render_array(attributes: Attributes, size: int = 128, framing: Framing = Framing()) -> NDArray[np.uint8]:
    """The image of a portrait as bytes ``[size, size, 3]``; equal arguments give equal bytes."""
    return render_colors(
        attributes, {name: known[getattr(attributes, name)] for name, known in COLORS.items()}, size, framing
    )


def render_colors(attributes: Attributes, colors: Mapping[str, str], size: int, framing: Framing) -> NDArray[np.uint8]:
    """The image of a portrait in other colors than those of its attributes.

    Args:
        attributes: the shapes.
        colors: attribute that is a color to ``#rrggbb``.
        size: side of the square image, in pixels.
        framing: shift, zoom and tint.
    """
    svg = draw_avatar({name: known[getattr(attributes, name)] for name, known in PARTS.items()}, colors)
    pixels = rasterize(svg, seen_square(framing), size, colors["background"])
    if any(framing.tint):
        pixels = np.clip(pixels + np.asarray(framing.tint), 0, 255).round().astype(np.uint8)
    return pixels


def render(attributes: Attributes, size: int = 128, framing: Framing = Framing()) -> Image.Image:
    """The image of a portrait.

    Args:
        attributes: the portrait.
        size: side of the square image, in pixels.
        framing: shift, zoom and tint.
    """
    return Image.fromarray(render_array(attributes, size, framing))
