"""Portraits of parts and colours that the captions do not name exactly, labelled with the nearest words they have."""

import colorsys
import dataclasses
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import python_avatars as avatars
from numpy.typing import NDArray

from latentedit_portraits.attributes import NONE, VALUES, Attributes, draw, split_of
from latentedit_portraits.dataset import SIZE, UNNAMED, LabelledPortraits, render_arrays
from latentedit_portraits.render import BACKGROUND, CLOTHES, HAIR, SKIN, Framing
from latentedit_portraits.variety import any_color, any_skin, graded, hex_color, on_disc, rasterize, seen_square

PART_NAMES: dict[str, dict[Any, str]] = {
    "hair": {
        avatars.HairType.NONE: "bald",
        avatars.HairType.SHORT_FLAT: "short",
        avatars.HairType.SHORT_ROUND: "short",
        avatars.HairType.SHORT_WAVED: "short",
        avatars.HairType.CAESAR: "short",
        avatars.HairType.CAESAR_SIDE_PART: "short",
        avatars.HairType.BUZZCUT: "short",
        avatars.HairType.BOB: "bob",
        avatars.HairType.MIA_WALLACE: "bob",
        avatars.HairType.STRAIGHT_STRAND: "long",
        avatars.HairType.STRAIGHT_1: "long",
        avatars.HairType.STRAIGHT_2: "long",
        avatars.HairType.LONG_NOT_TOO_LONG: "long",
        avatars.HairType.CURVY: "long",
        avatars.HairType.CURLY: "curly",
        avatars.HairType.FRO: "curly",
        avatars.HairType.MOHAWK: "mohawk",
    },
    "eyes": {
        avatars.EyeType.DEFAULT: "open",
        avatars.EyeType.SIDE: "open",
        avatars.EyeType.CLOSED: "closed",
        avatars.EyeType.SURPRISED: "wide",
        avatars.EyeType.WINK: "winking",
    },
    "eyebrows": {
        avatars.EyebrowType.FLAT_NATURAL: "flat",
        avatars.EyebrowType.RAISED_EXCITED: "raised",
        avatars.EyebrowType.RAISED_EXCITED_NATURAL: "raised",
        avatars.EyebrowType.ANGRY_NATURAL: "angry",
        avatars.EyebrowType.ANGRY: "angry",
    },
    "mouth": {
        avatars.MouthType.SMILE: "smile",
        avatars.MouthType.SERIOUS: "serious",
        avatars.MouthType.SAD: "sad",
        avatars.MouthType.GRIMACE: "grimace",
        avatars.MouthType.SCREAM_OPEN: "shouting",
    },
    "accessory": {
        avatars.AccessoryType.NONE: NONE,
        avatars.AccessoryType.PRESCRIPTION_2: "glasses",
        avatars.AccessoryType.PRESCRIPTION_1: "glasses",
        avatars.AccessoryType.ROUND: "round glasses",
        avatars.AccessoryType.EYEPATCH: "eyepatch",
    },
    "facial_hair": {
        avatars.FacialHairType.NONE: NONE,
        avatars.FacialHairType.BEARD_MEDIUM: "beard",
        avatars.FacialHairType.BEARD_LIGHT: "beard",
        avatars.FacialHairType.BEARD_MAGESTIC: "beard",
        avatars.FacialHairType.WICK_BEARD: "beard",
        avatars.FacialHairType.MOUSTACHE_MAGNUM: "moustache",
        avatars.FacialHairType.MOUSTACHE_FANCY: "moustache",
        avatars.FacialHairType.EINSTEIN_MOUSTACHE: "moustache",
    },
    "clothes": {
        avatars.ClothingType.HOODIE: "hoodie",
        avatars.ClothingType.SHIRT_CREW_NECK: "t-shirt",
        avatars.ClothingType.SHIRT_SCOOP_NECK: "t-shirt",
        avatars.ClothingType.SHIRT_V_NECK: "t-shirt",
        avatars.ClothingType.GRAPHIC_SHIRT: "t-shirt",
        avatars.ClothingType.COLLAR_SWEATER: "sweater",
        avatars.ClothingType.OVERALL: "overalls",
    },
}
"""Our word for each part of the catalogue that has one; the part that `render` draws for a word comes first."""

_PALETTES = {
    "skin": SKIN,
    "hair_color": {name: HAIR[name] for name in VALUES["hair_color"] if name != NONE},
    "facial_hair_color": {name: HAIR[name] for name in VALUES["facial_hair_color"] if name != NONE},
    "clothes_color": CLOTHES,
    "background": BACKGROUND,
}
_ONE_COLOR = (avatars.HairType.STRAIGHT_2, avatars.HairType.SHAVED_SIDES)
"""Hair that is drawn in a colour of its own, whatever colour is asked for."""

_LIGHTNESS = 0.6
"""Weight of lightness between colours: a shade changes a colour's name less than a hue does."""

_AMBIGUOUS = 0.8
"""Up to which share of the distance to the second nearest colour the nearest one gives its name."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OddPortrait:
    """One portrait, by what it is drawn from.

    Args:
        parts: of each attribute that is a shape, a part of python-avatars' catalogue.
        colors: of each attribute that is a colour, any, as ``#rrggbb``.
        graphic: what is printed on a shirt with a print.
    """

    parts: Mapping[str, Any]
    colors: Mapping[str, str]
    graphic: avatars.ClothingGraphic

    @property
    def labels(self) -> dict[str, str | None]:
        """The value of every attribute in the order of ``VALUES``, or None where none of its values names it."""
        labels = {name: PART_NAMES[name].get(part) for name, part in self.parts.items()}
        labels |= {name: color_name(name, color) for name, color in self.colors.items()}
        if labels["hair"] == "bald":
            labels["hair_color"] = NONE
        elif self.parts["hair"] in _ONE_COLOR:
            labels["hair_color"] = None
        if labels["facial_hair"] == NONE:
            labels["facial_hair_color"] = NONE
        if labels["clothes"] is None:  # a suit, whose colour is not the one that was asked for
            labels["clothes_color"] = None
        return {name: labels[name] for name in VALUES}

    @property
    def svg(self) -> str:
        """The drawing, without its background."""
        return avatars.Avatar(
            style=avatars.AvatarStyle.TRANSPARENT,
            top=self.parts["hair"],
            hair_color=self.colors["hair_color"],
            skin_color=self.colors["skin"],
            eyes=self.parts["eyes"],
            eyebrows=self.parts["eyebrows"],
            nose=avatars.NoseType.DEFAULT,
            mouth=self.parts["mouth"],
            accessory=self.parts["accessory"],
            facial_hair=self.parts["facial_hair"],
            facial_hair_color=self.colors["facial_hair_color"],
            clothing=self.parts["clothes"],
            clothing_color=self.colors["clothes_color"],
            shirt_graphic=self.graphic,
        ).render()


def color_name(attribute: str, color: str) -> str | None:
    """The value of a colour attribute that is nearest to a colour ``#rrggbb``, or None where two are about as near."""
    there = lab(color)
    distances = {name: _distance(there, lab(known)) for name, known in _PALETTES[attribute].items()}
    nearest, second = sorted(distances, key=distances.__getitem__)[:2]
    return nearest if distances[nearest] < _AMBIGUOUS * distances[second] else None


def lab(color: str) -> tuple[float, float, float]:
    """CIE L*, a*, b* of an sRGB colour ``#rrggbb``, under its own white (D65)."""
    encoded = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    relative = to_xyz @ linear / to_xyz.sum(1)
    x, y, z = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative * (29 / 6) ** 2 / 3 + 4 / 29).tolist()
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _distance(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    lightness, a, b = (p - q for p, q in zip(one, other, strict=True))
    return ((_LIGHTNESS * lightness) ** 2 + a**2 + b**2) ** 0.5


def draw_odd_portrait(generator: random.Random) -> OddPortrait:
    """A random portrait: mostly parts that have a word, at times any; colours about those that have one, or any.

    One that is wholly in our words, and in another split than train by them, is drawn again.
    """
    while True:
        wanted = draw(generator)
        hair = _draw_color("hair_color", generator)
        own = generator.random() < 0.6
        portrait = OddPortrait(
            parts={name: _draw_part(name, getattr(wanted, name), generator) for name in PART_NAMES},
            colors={
                "skin": _draw_color("skin", generator),
                "hair_color": hair,
                "facial_hair_color": hair if own else _draw_color("facial_hair_color", generator),
                "clothes_color": _draw_color("clothes_color", generator),
                "background": _draw_color("background", generator),
            },
            graphic=generator.choice(list(avatars.ClothingGraphic)),
        )
        known = {name: value for name, value in portrait.labels.items() if value is not None}
        if len(known) < len(VALUES) or split_of(Attributes(**known)) == "train":
            return portrait


def _draw_part(attribute: str, value: str, generator: random.Random) -> Any:
    """One of the parts that a value names, most often our own; about one in twelve is any part of the catalogue."""
    known = [part for part, name in PART_NAMES[attribute].items() if name == value]
    return generator.choice([known[0], *known] if generator.random() > 0.08 else list(known[0].__class__))


def _draw_color(attribute: str, generator: random.Random) -> str:
    """Half of them about one of our colours, the others any."""
    if generator.random() < 0.5:
        return any_skin(generator) if attribute == "skin" else any_color(generator)
    color = generator.choice(list(_PALETTES[attribute].values()))
    hue, saturation, value = colorsys.rgb_to_hsv(*(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)))
    saturation = saturation * generator.uniform(0.4, 1.4) + generator.gauss(0, 0.05)
    value = value * generator.uniform(0.6, 1.4)
    hue = (hue + generator.gauss(0, 0.05)) % 1
    return hex_color(hue, min(max(saturation, 0.0), 1.0), min(max(value, 0.05), 1.0))


def render_odd_portrait(
    portrait: OddPortrait, generator: random.Random
) -> tuple[NDArray[np.uint8], dict[str, str | None]]:
    """A portrait about as it is framed in training, before its colour, on a disc, or before a gradient.

    Returns:
        The picture ``[128, 128, 3]``, and the portrait's labels, without a background where it is not of one colour.
    """
    shift_x, shift_y = generator.uniform(-0.05, 0.05), generator.uniform(-0.05, 0.05)
    square = seen_square(Framing(shift_x=shift_x, shift_y=shift_y, zoom=generator.uniform(0.9, 1.1)))
    svg, labels, ground = portrait.svg, portrait.labels, generator.random()
    if ground < 0.3:
        svg = on_disc(svg, generator) if ground < 0.2 else graded(svg, square, generator)
        labels["background"] = None
    return rasterize(svg, square, SIZE, portrait.colors["background"]), labels


def render_odd_portraits(
    path: Path, count: int, *, seed: int, workers: int = 2, progress: Callable[[int, int], None] | None = None
) -> LabelledPortraits:
    """``count`` odd portraits, kept in ``path`` and rendered only where it is missing.

    Args:
        path: an ``.npz`` file.
        count: how many.
        seed: of everything drawn.
        workers: processes.
        progress: called with (done, total).
    """
    stored = render_arrays(path, _render_chunk, count, seed=seed, workers=workers, progress=progress)
    return LabelledPortraits(pixels=stored["pixels"], labels=stored["labels"])


def _render_chunk(job: tuple[int, int, int]) -> dict[str, NDArray[Any]]:
    seed, start, stop = job
    pixels: list[NDArray[np.uint8]] = []
    labels: list[list[int]] = []
    for index in range(start, stop):
        generator = random.Random(f"portraits/odd/{seed}/{index}")
        picture, found = render_odd_portrait(draw_odd_portrait(generator), generator)
        pixels.append(picture)
        labels.append([UNNAMED if value is None else VALUES[name].index(value) for name, value in found.items()])
    return {"pixels": np.stack(pixels), "labels": np.asarray(labels, dtype=np.int64)}
