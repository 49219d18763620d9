"""Scenes as images: the path tracer Mitsuba, which is also the truth about every edit.

Every random number belongs to a pixel, a sample and a dimension. A path that does not meet what was changed is the same
path in both images; so pixels that no change reaches are equal bit by bit.
"""

import functools
import math
import os
from typing import Any

import mitsuba
import numpy as np
from numpy.typing import NDArray

from latentedit_scenes.parameters import NUMBERS, Color, Parameters, Surface, Thing

SIZE = 128
"""Side of the model's images, in pixels."""

CREDITS = "The scenes are rendered with Mitsuba 3 (BSD-3-Clause, copyright 2017 Wenzel Jakob) from plain solids."
"""Whose work the images hold."""

VARIANT = "LATENTEDIT_SCENES_VARIANT"
"""Variable of the environment that names another variant of Mitsuba than the scalar one, such as "llvm_ad_rgb".

The scalar one needs nothing else and is the truth: others are faster, and round differently."""

_SAMPLES, _SAMPLES_LARGE = 36, 16
"""Paths a pixel, up to `SIZE` and above it, where more pixels are seen together."""

_DEPTH = 3  # edges of a path: to what is seen, to what it is lit by in turn, and to a light
_SKY_SHARE = 0.1  # of the paths that look for the sky, beside those for the lamp; most find it anyway
_FACETS = 96  # of a cone
_BLOCK = 32  # pixels; given, the image does not depend on the number of threads
_SEED = 7
_KNEE = 0.7  # linear light up to which tones are left as they are
_ROOM: dict[str, float] = NUMBERS["room"]


def render_array(parameters: Parameters, size: int = SIZE) -> NDArray[np.uint8]:
    """The image of a scene as ``[size, size, 3]`` unsigned bytes; the same call gives the same bytes.

    Cost:
        A second for 128 pixels and eight for 512, on one core.
    """
    return to_bytes(render_linear(parameters, size))


def render_linear(parameters: Parameters, size: int, *, seed: int = _SEED) -> NDArray[np.float32]:
    """The same in linear light, ``[size, size, 3]``.

    Args:
        parameters: of the scene.
        size: side of the square image, in pixels.
        seed: of the paths; images of two seeds differ by noise.
    """
    mi = tracer()
    samples = _SAMPLES if size <= SIZE else _SAMPLES_LARGE
    integrator = {"type": "path", "max_depth": _DEPTH, "block_size": _BLOCK}
    described = scene(parameters, size, samples) | {"integrator": integrator}
    return _despeckled(np.array(mi.render(mi.load_dict(described), seed=seed), dtype=np.float32))


def _despeckled(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """No value above the third highest of the eight around it: single paths met the lamp by chance."""
    rows, columns = linear.shape[:2]
    padded = np.pad(linear, ((1, 1), (1, 1), (0, 0)), mode="edge")
    shifts = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    around = np.stack([padded[y : y + rows, x : x + columns] for y, x in shifts])
    return np.minimum(linear, np.partition(around, 5, axis=0)[5])


def to_bytes(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Linear light to sRGB bytes; the brightest lights are pressed together and not cut."""
    pressed = np.where(linear < _KNEE, linear, _KNEE + (1 - _KNEE) * (1 - np.exp((_KNEE - linear) / (1 - _KNEE))))
    curve = np.where(
        pressed <= 0.0031308, 12.92 * pressed, 1.055 * np.power(np.maximum(pressed, 1e-6), 1 / 2.4) - 0.055
    )
    return np.clip(255 * curve + 0.5, 0, 255).astype(np.uint8)


@functools.cache
def tracer() -> Any:
    """Mitsuba in the variant that renders."""
    mi: Any = mitsuba
    mi.set_variant(os.environ.get(VARIANT, "scalar_rgb"))
    mi.set_log_level(mi.LogLevel.Error)
    return mi


def scene(parameters: Parameters, size: int, samples: int) -> dict[str, Any]:
    """What Mitsuba loads, without an integrator."""
    mi = tracer()
    transform = mi.ScalarTransform4f
    wall_y, distance = _ROOM["wall_y"], _ROOM["camera_distance"]
    away, height = math.sqrt(distance**2 - parameters.camera_height**2), parameters.camera_height
    # Wider than what any camera sees, so that their edges are never in the image.
    floor = transform().translate([0, wall_y - 20, 0]).scale(20)
    wall = transform().translate([0, wall_y, 20]).rotate([1, 0, 0], 90).scale(20)
    described: dict[str, Any] = {
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
    for place, thing in parameters.things.items():
        described |= {f"{place}_{name}": one for name, one in _solid(thing).items()}
    return described


def _lamp(parameters: Parameters) -> dict[str, Any]:
    """A ball that shines with the same power whatever its size."""
    turn, rise = math.radians(parameters.lamp_azimuth), math.radians(_ROOM["lamp_elevation"])
    distance, radius = _ROOM["lamp_distance"], parameters.lamp_radius
    place = (math.sin(turn) * math.cos(rise), -math.cos(turn) * math.cos(rise), math.sin(rise))
    radiance = _ROOM["lamp_power"] * distance**2 / (math.pi * radius**2)
    red, green, blue = (radiance * part for part in parameters.lamp_color)
    return {
        "type": "sphere",
        "center": [distance * part for part in place],
        "radius": radius,
        "emitter": {"type": "area", "radiance": _rgb((red, green, blue))},
    }


def _solid(thing: Thing) -> dict[str, dict[str, Any]]:
    """The surfaces of an object that stands on the floor."""
    transform = tracer().ScalarTransform4f
    radius, bsdf = thing.radius, _coat(thing)
    at = transform().translate([thing.x, thing.y, 0])
    if thing.shape == "ball":
        return {"ball": {"type": "sphere", "center": [thing.x, thing.y, radius], "radius": radius, "bsdf": bsdf}}
    if thing.shape == "cube":
        half = _ROOM["cube"] * radius
        place = at.translate([0, 0, half]).rotate([0, 0, 1], _ROOM["cube_turn"]).scale(half)
        return {"cube": {"type": "cube", "to_world": place, "bsdf": bsdf}}
    if thing.shape == "cylinder":
        width, height = 0.85 * radius, 1.9 * radius
        side = {"type": "cylinder", "p0": [0, 0, 0], "p1": [0, 0, height], "radius": width, "to_world": at}
        lid = {"type": "disk", "to_world": at.translate([0, 0, height]).scale(width)}
        return {"side": side | {"bsdf": bsdf}, "lid": lid | {"bsdf": bsdf}}
    return {"cone": _cone(thing, bsdf)}


def _cone(thing: Thing, bsdf: dict[str, Any]) -> Any:
    """A round cone; Mitsuba has none, so it is a mesh whose normals are those of the true one."""
    mi = tracer()
    width, height = thing.radius, 2.1 * thing.radius
    turns = np.linspace(0, 2 * np.pi, _FACETS, endpoint=False)
    ring = np.stack([np.cos(turns), np.sin(turns), np.zeros(_FACETS)], axis=1)
    foot = np.array([thing.x, thing.y, 0.0])
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


def _coat(thing: Thing) -> dict[str, Any]:
    return {
        "type": "principled",
        "base_color": _rgb(thing.color),
        "roughness": thing.roughness,
        "metallic": thing.metallic,
        "specular": thing.specular,
    }


def _matte(surface: Surface) -> dict[str, Any]:
    """A diffuse surface; fields and stripes go on over its whole width."""
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
