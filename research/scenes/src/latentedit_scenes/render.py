"""The renderer of scenes, Mitsuba's path tracer, which also makes the correct result of every edit.

Every random number belongs to a pixel, a sample and a dimension. A path that does not meet a changed object is the same
path in both images, so pixels that the change does not reach are bitwise equal.

The scenes are rendered with Mitsuba 3 (BSD-3-Clause, copyright 2017 Wenzel Jakob) from plain solids.
"""

import functools
import math
import os
from typing import Any

import mitsuba
import numpy as np
from numpy.typing import NDArray

from latentedit_scenes.parameters import NUMBERS, Color, Parameters, Solid, Surface

SIZE = 128
"""Side of the model's images, in pixels."""

VARIANT = "LATENTEDIT_SCENES_VARIANT"
"""Environment variable that names another variant of Mitsuba than the scalar one, such as "llvm_ad_rgb".

The scalar variant has no further requirements and defines the correct results; others are faster and round differently.
"""

_SAMPLES, _SAMPLES_LARGE = 36, 16
"""Paths per pixel, up to `SIZE` and above it, where noise of single pixels is less visible."""

_DEPTH = 3  # edges of a path: to the visible surface, to one that it reflects, and to a light
_SKY_SHARE = 0.1  # share of light samples for the sky instead of the lamp; most paths reach the sky without them
_FACETS = 96  # facets of a cone
_BLOCK = 32  # pixels; fixed, so that the image does not depend on the number of threads
_SEED = 7
_KNEE = 0.7  # linear light up to which tones are not compressed
_ROOM: dict[str, float] = NUMBERS["room"]


def render_array(parameters: Parameters, size: int = SIZE) -> NDArray[np.uint8]:
    """The image of a scene as bytes ``[size, size, 3]``; equal arguments give equal bytes.

    Cost:
        A second for 128 pixels and eight for 512, on one core.
    """
    return to_bytes(render_linear(parameters, size))


def render_linear(parameters: Parameters, size: int) -> NDArray[np.float32]:
    """The image of a scene in linear light, ``[size, size, 3]``."""
    mi = tracer()
    samples = _SAMPLES if size <= SIZE else _SAMPLES_LARGE
    integrator = {"type": "path", "max_depth": _DEPTH, "block_size": _BLOCK}
    description = scene(parameters, size, samples) | {"integrator": integrator}
    return _despeckled(np.array(mi.render(mi.load_dict(description), seed=_SEED), dtype=np.float32))


def _despeckled(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clip each value to the third highest of its eight neighbors: few paths hit the lamp, and these are outliers."""
    rows, columns = linear.shape[:2]
    padded = np.pad(linear, ((1, 1), (1, 1), (0, 0)), mode="edge")
    shifts = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    around = np.stack([padded[y : y + rows, x : x + columns] for y, x in shifts])
    return np.minimum(linear, np.partition(around, 5, axis=0)[5])


def to_bytes(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Linear light to sRGB bytes; highlights are compressed instead of clipped."""
    compressed = np.where(linear < _KNEE, linear, _KNEE + (1 - _KNEE) * (1 - np.exp((_KNEE - linear) / (1 - _KNEE))))
    curve = np.where(
        compressed <= 0.0031308, 12.92 * compressed, 1.055 * np.power(np.maximum(compressed, 1e-6), 1 / 2.4) - 0.055
    )
    return np.clip(255 * curve + 0.5, 0, 255).astype(np.uint8)


@functools.cache
def tracer() -> Any:
    """Mitsuba, with its variant set."""
    mi: Any = mitsuba
    mi.set_variant(os.environ.get(VARIANT, "scalar_rgb"))
    mi.set_log_level(mi.LogLevel.Error)
    return mi


def scene(parameters: Parameters, size: int, samples: int) -> dict[str, Any]:
    """The scene as a dictionary for `mitsuba.load_dict`, without an integrator."""
    mi = tracer()
    transform = mi.ScalarTransform4f
    wall_y, distance = _ROOM["wall_y"], _ROOM["camera_distance"]
    away, height = math.sqrt(distance**2 - parameters.camera_height**2), parameters.camera_height
    # Larger than any camera's view, so that their edges are never visible.
    floor = transform().translate([0, wall_y - 20, 0]).scale(20)
    wall = transform().translate([0, wall_y, 20]).rotate([1, 0, 0], 90).scale(20)
    description: dict[str, Any] = {
        "type": "scene",
        "sensor": {
            "type": "perspective",
            "fov": _ROOM["camera_field_of_view"],
            "to_world": transform().look_at([0, -away, height], [0, 0, _ROOM["camera_target_z"]], [0, 0, 1]),
            "film": {"type": "hdrfilm", "width": size, "height": size, "rfilter": {"type": "box"}},
            "sampler": {"type": "multijitter", "sample_count": samples},
        },
        "floor": {"type": "rectangle", "to_world": floor, "bsdf": _matte(parameters.floor)},
        "wall": {"type": "rectangle", "to_world": wall, "bsdf": _matte(parameters.wall)},
        "lamp": _lamp(parameters),
        "sky": {"type": "constant", "radiance": _rgb(parameters.sky), "sampling_weight": _SKY_SHARE},
    }
    for place, solid in parameters.solids.items():
        description |= {f"{place}_{name}": shape for name, shape in _shapes(solid).items()}
    return description


def _lamp(parameters: Parameters) -> dict[str, Any]:
    """A spherical lamp whose power does not depend on its size."""
    azimuth, elevation = math.radians(parameters.lamp_azimuth), math.radians(_ROOM["lamp_elevation"])
    distance, radius = _ROOM["lamp_distance"], parameters.lamp_radius
    toward_lamp = (
        math.sin(azimuth) * math.cos(elevation),
        -math.cos(azimuth) * math.cos(elevation),
        math.sin(elevation),
    )
    radiance = _ROOM["lamp_power"] * distance**2 / (math.pi * radius**2)
    red, green, blue = (radiance * part for part in parameters.lamp_color)
    return {
        "type": "sphere",
        "center": [distance * part for part in toward_lamp],
        "radius": radius,
        "emitter": {"type": "area", "radiance": _rgb((red, green, blue))},
    }


def _shapes(solid: Solid) -> dict[str, dict[str, Any]]:
    """Mitsuba's shapes of an object that stands on the floor."""
    transform = tracer().ScalarTransform4f
    radius, bsdf = solid.radius, _glossy(solid)
    at = transform().translate([solid.x, solid.y, 0])
    if solid.shape == "ball":
        return {"ball": {"type": "sphere", "center": [solid.x, solid.y, radius], "radius": radius, "bsdf": bsdf}}
    if solid.shape == "cube":
        half = _ROOM["cube"] * radius
        place = at.translate([0, 0, half]).rotate([0, 0, 1], _ROOM["cube_turn"]).scale(half)
        return {"cube": {"type": "cube", "to_world": place, "bsdf": bsdf}}
    if solid.shape == "cylinder":
        width, height = 0.85 * radius, 1.9 * radius
        side = {"type": "cylinder", "p0": [0, 0, 0], "p1": [0, 0, height], "radius": width, "to_world": at}
        lid = {"type": "disk", "to_world": at.translate([0, 0, height]).scale(width)}
        return {"side": side | {"bsdf": bsdf}, "lid": lid | {"bsdf": bsdf}}
    return {"cone": _cone(solid, bsdf)}


def _cone(solid: Solid, bsdf: dict[str, Any]) -> Any:
    """A round cone as a mesh with the normals of a smooth cone, since Mitsuba has no cone."""
    mi = tracer()
    width, height = solid.radius, 2.1 * solid.radius
    turns = np.linspace(0, 2 * np.pi, _FACETS, endpoint=False)
    ring = np.stack([np.cos(turns), np.sin(turns), np.zeros(_FACETS)], axis=1)
    foot = np.array([solid.x, solid.y, 0.0])
    normals = (ring * height + [0, 0, width]) / math.hypot(width, height)
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict(bsdf)
    mesh = mi.Mesh("cone", vertex_count=2 * _FACETS, face_count=_FACETS, props=properties, has_vertex_normals=True)
    edited = mi.traverse(mesh)
    corners = np.concatenate([foot + width * ring, np.tile(foot + height * np.array([0, 0, 1]), (_FACETS, 1))])
    edited["vertex_positions"] = corners.astype(np.float32).ravel()
    edited["vertex_normals"] = np.concatenate([normals, normals]).astype(np.float32).ravel()
    number = np.arange(_FACETS)
    edited["faces"] = np.stack([number, (number + 1) % _FACETS, number + _FACETS], axis=1).astype(np.uint32).ravel()
    edited.update()
    return mesh


def _glossy(solid: Solid) -> dict[str, Any]:
    return {
        "type": "principled",
        "base_color": _rgb(solid.color),
        "roughness": solid.roughness,
        "metallic": solid.metallic,
        "specular": solid.specular,
    }


def _matte(surface: Surface) -> dict[str, Any]:
    """A diffuse surface; checks and stripes cover its full width."""
    light = _rgb(surface.color)
    if surface.texture == "plain":
        return {"type": "diffuse", "reflectance": light}
    red, green, blue = (_ROOM["dark"] * part for part in surface.color)
    fields = 40 / _ROOM["checker"] / 2  # a period of the texture has two of them
    across = fields if surface.texture == "checkered" else 1e-6
    pattern = {
        "type": "checkerboard",
        "color0": light,
        "color1": _rgb((red, green, blue)),
        "to_uv": tracer().ScalarTransform3f().scale([fields, across]),
    }
    return {"type": "diffuse", "reflectance": pattern}


def _rgb(color: Color) -> dict[str, Any]:
    return {"type": "rgb", "value": list(color)}
