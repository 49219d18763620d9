"""Domains with known answers: scenes that can be drawn, described, changed, rendered and read, found by name."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core import DOMAINS, ConfigError, RegistryError
from latentedit.geometry import LEAST_CHANGE
from latentedit_bench.domains.domain import Domain, Scalable, Scene

CHANGED = 10  # levels of 255 beyond which a pixel counts as changed
_SCENES = 2  # for the area of an attribute: scenes in which every attribute can change
_DRAWN = 20  # scenes of the calibration split among which they are searched
_AREA_SEED = 5


@functools.cache
def load_domain(name: str) -> Domain:
    """The installed domain of that name."""
    found: Any = DOMAINS.load(name)
    made = found() if isinstance(found, type) else found
    if not isinstance(made, Domain):
        parts = {*Domain.__annotations__, *(one for one in vars(Domain) if not one.startswith("_"))}
        missing = sorted(part for part in parts if not hasattr(made, part))
        raise RegistryError(f"the domain {name!r} is incomplete: it lacks {', '.join(missing)}")
    return made


def scalable(name: str) -> Scalable:
    """The installed domain of that name, which draws at any size."""
    found: Any = load_domain(name)
    if not hasattr(found, "render_at"):
        raise ConfigError(f"the domain {name!r} renders at one size only: it lacks render_at")
    return found


def full_caption(domain: Domain, scene: Scene) -> str:
    """The caption that names every attribute."""
    return domain.caption(domain.phrases(scene))


def attribute_differences(domain: Domain, scene: Scene, other: Scene) -> list[str]:
    """Names of the attributes in which two scenes differ."""
    first, second = domain.attributes(scene), domain.attributes(other)
    return [name for name in domain.values if first[name] != second[name]]


def with_value(domain: Domain, scene: Scene, name: str, value: str) -> Scene:
    """The scene with an attribute at a value, and with the part that the attribute belongs to."""
    part = domain.part_of.get(name)
    if part is not None and name not in (able := domain.alternatives(scene)):
        scene = domain.change(scene, {part: able[part][0]})
    return domain.change(scene, {name: value})


def distance_to_render(domain: Domain, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Root mean square difference between images and renders of the scenes that are read in them."""
    shown = pixels.detach().clamp(-1, 1).cpu()
    renders = np.stack([domain.render(scene) for scene in domain.read(shown)])
    real = torch.from_numpy(renders).permute(0, 3, 1, 2).to(shown.dtype) / 127.5 - 1
    return (shown - real).square().flatten(1).mean(1).sqrt()


def sample_images(model: str, count: int, *, seed: int) -> list[Image.Image]:
    """Images that a bundled model has not been trained on, from the domain that knows it."""
    for name in DOMAINS.names():
        found = load_domain(name).images(model, count, seed)
        if found is not None:
            return list(found)
    raise ConfigError(f"no installed domain has images for the model {model!r}. Pass images")


@functools.cache
def attribute_areas(name: str) -> Mapping[str, float]:
    """Attribute to the mean share of pixels that change with it, over its values and a few scenes; in (0, 1)."""
    domain = load_domain(name)
    found: dict[str, list[float]] = {attribute: [] for attribute in domain.values}
    drawn = domain.draw("calibration", _DRAWN, _AREA_SEED)
    for scene in [one for one in drawn if set(domain.alternatives(one)) == set(found)][:_SCENES]:
        before = domain.render(scene).astype(np.int16)
        for attribute, values in domain.alternatives(scene).items():
            for value in values:
                after = domain.render(domain.change(scene, {attribute: value})).astype(np.int16)
                found[attribute].append(float((np.abs(after - before).max(2) > CHANGED).mean()))
    return {attribute: float(np.mean(shares)) for attribute, shares in found.items()}


def coarseness(changes: Mapping[str, float], areas: Mapping[str, float]) -> float | None:
    """The mean area of the attributes that change, weighted by their change; a share of the image.

    None if all changes add up to less than `LEAST_CHANGE`.
    """
    total = sum(changes.values())
    return sum(value * areas[name] for name, value in changes.items()) / total if total >= LEAST_CHANGE else None
