"""The framer's training images: portraits with the variety of other programs of the same style."""

import dataclasses
import math
import random
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import python_avatars as avatars
from jaxtyping import Float32
from numpy.typing import NDArray
from PIL import Image

from latentedit_drawn.render import Framing, draw_avatar, hex_color, rasterize, seen_square
from latentedit_portraits.framer import VIEW_SIZE
from research.training.data import SEED

SIZE = 128
"""Side of the codec's training views, in pixels."""

_TOPS = (*avatars.HairType, *avatars.HatType)


def draw_wide_framing(generator: random.Random) -> Framing:
    """A random framing: half of them near-standard, half from a third of the standard size to almost twice."""
    if generator.random() < 0.5:
        shift_x, shift_y = generator.uniform(-0.1, 0.1), generator.uniform(-0.1, 0.1)
        return Framing(shift_x=shift_x, shift_y=shift_y, zoom=2 ** generator.uniform(-0.3, 0.3))
    zoom = 2 ** generator.uniform(-1.6, 0.8)
    reach = 0.15 + 0.25 * max(0.0, 1 - zoom)
    return Framing(shift_x=generator.uniform(-reach, reach), shift_y=generator.uniform(-reach, reach), zoom=zoom)


def render_view(framing: Framing, generator: random.Random, size: int = VIEW_SIZE) -> NDArray[np.uint8]:
    """A random portrait of any parts and colors in this framing, ``[size, size, 3]``.

    Backgrounds are plain, a gradient or a disc; some views extend beyond the image, whose edges are then repeated.
    """
    square = seen_square(framing)
    svg, ground = _drawing(generator), generator.random()
    if ground < 0.3:
        svg = _on_disc(svg, generator)
    elif ground < 0.45:
        svg = _on_gradient(svg, square, generator)
    pixels = rasterize(svg, square, size, _random_color(generator))
    return _edges_repeated(pixels, generator) if generator.random() < 0.35 else pixels


def render_negative(generator: random.Random, size: int = VIEW_SIZE) -> NDArray[np.uint8]:
    """An image without a portrait: noise, shuffled quarters of a portrait, or a detail of one."""
    kind = generator.randrange(3)
    numbers = np.random.default_rng(generator.getrandbits(32))
    if kind == 0:
        cells = generator.choice((1, 2, 4, 8, 16, size))
        small = Image.fromarray(numbers.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        return np.asarray(small.resize((size, size), generator.choice(list(Image.Resampling)[:4])))
    framing = draw_wide_framing(generator)
    if kind == 1:
        pixels = render_view(dataclasses.replace(framing, zoom=max(framing.zoom, 0.8)), generator, size)
        half = size // 2
        quarters = [pixels[y : y + half, x : x + half] for y in (0, half) for x in (0, half)]
        turned = [np.rot90(quarters[index], generator.randrange(4)) for index in (3, 2, 1, 0)]
        return np.vstack([np.hstack(turned[:2]), np.hstack(turned[2:])])
    return render_view(dataclasses.replace(framing, zoom=2 ** generator.uniform(2.2, 4)), generator, size)


def render_views(start: int, indices: Sequence[int], size: int = SIZE) -> list[NDArray[np.uint8]]:
    """Views by their indices; one in six shows no portrait, see `framings_of`."""
    del start
    found: list[NDArray[np.uint8]] = []
    for generator, framing in map(_view_framing, indices):
        found.append(render_negative(generator, size) if framing is None else render_view(framing, generator, size))
    return found


def framings_of(count: int) -> Float32[np.ndarray, "n 4"]:
    """Targets of the first views: shift_x, shift_y, log zoom (see `Framing`) and 1; all 0 without a portrait."""
    rows: list[tuple[float, ...]] = []
    for _, framing in map(_view_framing, range(count)):
        rows.append((0, 0, 0, 0) if framing is None else (framing.shift_x, framing.shift_y, math.log(framing.zoom), 1))
    return np.asarray(rows, dtype=np.float32)


def _view_framing(index: int) -> tuple[random.Random, Framing | None]:
    """The generator and the framing of a view; None if it shows no portrait."""
    generator = random.Random(f"portraits/views/{SEED}/{index}")
    if generator.random() < 1 / 6:
        return generator, None
    return generator, draw_wide_framing(generator)


def _drawing(generator: random.Random) -> str:
    """A random portrait as SVG; hair and clothes of any color, skin of plausible colors."""
    hair = _random_color(generator)
    parts: dict[str, Any] = {"hair": generator.choice(_TOPS)}
    hat = _random_color(generator)
    # From pale to dark, from pink to yellow.
    skin = hex_color(generator.uniform(0.02, 0.14), generator.uniform(0.2, 0.75), generator.uniform(0.35, 1.0) ** 0.7)
    colors = {"hair_color": hair, "skin": skin}
    parts["eyes"] = generator.choice(list(avatars.EyeType))
    parts["eyebrows"] = generator.choice(list(avatars.EyebrowType))
    parts["mouth"] = generator.choice(list(avatars.MouthType))
    parts["accessory"] = generator.choice([avatars.AccessoryType.NONE] * 8 + [*avatars.AccessoryType])
    parts["facial_hair"] = generator.choice([avatars.FacialHairType.NONE] * 6 + [*avatars.FacialHairType])
    colors["facial_hair_color"] = hair if generator.random() < 0.7 else _random_color(generator)
    parts["clothes"] = generator.choice(list(avatars.ClothingType))
    colors["clothes_color"] = _random_color(generator)
    graphic = generator.choice(list(avatars.ClothingGraphic))
    return draw_avatar(parts, colors, hat_color=hat, shirt_graphic=graphic)


def _on_disc(svg: str, generator: random.Random) -> str:
    """The drawing on a disc, which also clips the clothes."""
    disc = '<circle cx="132" cy="160" r="120"'
    shape = f'<clipPath id="disc"><rect x="-64" y="-140" width="392" height="300"/>{disc}/></clipPath>'
    svg = re.sub(
        r"(<svg[^>]*>)",
        rf'\g<1>{shape}{disc} fill="{_random_color(generator)}"/><g clip-path="url(#disc)">',
        svg,
        count=1,
    )
    return svg.rpartition("</svg>")[0] + "</g></svg>"


def _on_gradient(svg: str, square: tuple[float, float, float], generator: random.Random) -> str:
    """The drawing on a linear gradient."""
    left, top, side = square
    ends = "".join(f'<stop offset="{at}" stop-color="{_random_color(generator)}"/>' for at in (0, 1))
    gradient = (
        f'<linearGradient id="ground" x1="{generator.random():.2f}" y1="0" x2="{generator.random():.2f}" y2="1">{ends}'
        f'</linearGradient><rect x="{left}" y="{top}" width="{side}" height="{side}" fill="url(#ground)"/>'
    )
    return re.sub(r"(<svg[^>]*>)", rf"\g<1>{gradient}", svg, count=1)


def _edges_repeated(pixels: NDArray[np.uint8], generator: random.Random) -> NDArray[np.uint8]:
    """The view with up to a quarter on some sides replaced by the repeated edge."""
    size = len(pixels)
    ends = [round(size * generator.uniform(0, 0.25)) if generator.random() < 0.4 else 0 for _ in range(4)]
    rows = np.arange(size).clip(ends[0], size - 1 - ends[1])
    columns = np.arange(size).clip(ends[2], size - 1 - ends[3])
    return pixels[rows[:, None], columns]


def _random_color(generator: random.Random) -> str:
    """A random color as ``#rrggbb``: a third white, black or gray, the rest of any hue."""
    pale = generator.random() < 0.3
    saturation = 0.0 if pale else generator.uniform(0.1, 0.9)
    value = generator.choice((1.0, 1.0, 0.1, generator.random())) if pale else generator.uniform(0.25, 1.0)
    return hex_color(generator.random(), saturation, value)
