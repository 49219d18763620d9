"""Masks of a change: the changed objects themselves, and separately their effects on the rest of the image."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageFilter

from latentedit_scenes.parameters import Color, Parameters, Solid
from latentedit_scenes.render import SIZE, scene, tracer

VISIBLE = 6
"""Difference, in levels of 255, from which a pixel outside the change counts as a side effect.

The path tracer's noise limits it: next to a removed object, the difference of two images varies by a level or two
between seeds (`research/tests/scenes/test_render.py`)."""

_SAMPLES = 16  # rays per pixel, to find edges
_BLACK, _WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def changed_pixels(source: Parameters, target: Parameters, size: int = SIZE) -> Bool[np.ndarray, "h w"]:
    """Pixels that show, at least in part, a changed object, before or after; all pixels if light or camera changed.

    Cost:
        A tenth of an image: no light is traced.
    """
    everywhere = ("lamp_azimuth", "lamp_radius", "lamp_color", "sky", "camera_height")
    if any(getattr(source, name) != getattr(target, name) for name in everywhere):
        return np.ones((size, size), dtype=np.bool_)
    places = source.solids.keys() | target.solids.keys()
    names = {place for place in places if source.solids.get(place) != target.solids.get(place)}
    names |= {name for name in ("floor", "wall") if getattr(source, name) != getattr(target, name)}
    return (coverage(source, names, size) > 0) | (coverage(target, names, size) > 0)


def coverage(parameters: Parameters, names: set[str], size: int) -> Float[np.ndarray, "h w"]:
    """The share of each pixel that shows some objects.

    Args:
        parameters: the scene.
        names: places of objects, "floor" or "wall".
        size: side of the image, in pixels.
    """
    mi = tracer()
    painted = dataclasses.replace(
        parameters,
        solids={place: _painted(solid, place in names) for place, solid in parameters.solids.items()},
        floor=dataclasses.replace(parameters.floor, texture="plain", color=_shade("floor" in names)),
        wall=dataclasses.replace(parameters.wall, texture="plain", color=_shade("wall" in names)),
    )
    described = scene(painted, size, _SAMPLES) | {"integrator": {"type": "aov", "aovs": "seen:albedo"}}
    return np.array(mi.render(mi.load_dict(described), seed=0))[..., 0]


def visible_difference(
    before: UInt8[np.ndarray, "h w 3"], after: UInt8[np.ndarray, "h w 3"]
) -> Bool[np.ndarray, "h w"]:
    """Pixels where the median difference of the neighborhood is at least `VISIBLE`: single pixels are noise."""
    difference = np.abs(before.astype(np.int16) - after.astype(np.int16)).max(axis=2).astype(np.uint8)
    return np.asarray(Image.fromarray(difference).filter(ImageFilter.MedianFilter(3))) >= VISIBLE


def _painted(solid: Solid, named: bool) -> Solid:
    return dataclasses.replace(solid, color=_shade(named), roughness=1.0, metallic=0.0, specular=0.0)


def _shade(named: bool) -> Color:
    return _WHITE if named else _BLACK
