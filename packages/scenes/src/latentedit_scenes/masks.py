"""Where a change shows: the changed things themselves, and apart from them what they do to the rest of the image."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageFilter

from latentedit_scenes.parameters import Color, Parameters, Thing
from latentedit_scenes.render import SIZE, scene, tracer

VISIBLE = 6
"""Levels of 255 from which a difference outside the change counts as a side effect.

The difference of two images is known as well as the noise of the paths that differ allows: beside an object that is
taken away, its deviation from seed to seed is a level or two (`tests/scenes/test_render.py`)."""

_SAMPLES = 16  # rays a pixel that look for an edge
_BLACK, _WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def changed_pixels(source: Parameters, target: Parameters, size: int = SIZE) -> Bool[np.ndarray, "h w"]:
    """Pixels that show, at least in part, something that was changed, before or after.

    All of them where light or camera were changed. Nothing is lit for it: the cost is a tenth of an image.
    """
    everywhere = ("lamp_azimuth", "lamp_radius", "lamp_color", "sky", "camera_height")
    if any(getattr(source, name) != getattr(target, name) for name in everywhere):
        return np.ones((size, size), dtype=np.bool_)
    places = source.things.keys() | target.things.keys()
    names = {place for place in places if source.things.get(place) != target.things.get(place)}
    names |= {name for name in ("floor", "wall") if getattr(source, name) != getattr(target, name)}
    return (coverage(source, names, size) > 0) | (coverage(target, names, size) > 0)


def coverage(parameters: Parameters, names: set[str], size: int) -> Float[np.ndarray, "h w"]:
    """The share of each pixel that shows some things.

    Args:
        parameters: of the scene.
        names: places of objects, "floor" or "wall".
        size: side of the image, in pixels.
    """
    mi = tracer()
    painted = dataclasses.replace(
        parameters,
        things={place: _painted(thing, place in names) for place, thing in parameters.things.items()},
        floor=dataclasses.replace(parameters.floor, texture="plain", color=_shade("floor" in names)),
        wall=dataclasses.replace(parameters.wall, texture="plain", color=_shade("wall" in names)),
    )
    described = scene(painted, size, _SAMPLES) | {"integrator": {"type": "aov", "aovs": "seen:albedo"}}
    return np.array(mi.render(mi.load_dict(described), seed=0))[..., 0]


def visible_difference(
    before: UInt8[np.ndarray, "h w 3"], after: UInt8[np.ndarray, "h w 3"]
) -> Bool[np.ndarray, "h w"]:
    """Pixels around which most differ by `VISIBLE` levels or more in some channel: single ones are noise."""
    difference = np.abs(before.astype(np.int16) - after.astype(np.int16)).max(axis=2).astype(np.uint8)
    return np.asarray(Image.fromarray(difference).filter(ImageFilter.MedianFilter(3))) >= VISIBLE


def _painted(thing: Thing, named: bool) -> Thing:
    return dataclasses.replace(thing, color=_shade(named), roughness=1.0, metallic=0.0, specular=0.0)


def _shade(named: bool) -> Color:
    return _WHITE if named else _BLACK
