"""Worlds with known answers: scenes that can be drawn, described, changed, rendered and read, found by name."""

import functools
import random
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from latentedit.core.errors import ConfigError, RegistryError
from latentedit.core.plugins import DOMAINS
from latentedit.geometry.naming import FLOOR

Split = Literal["train", "calibration", "test"]

Scene = Hashable
"""One scene, described completely, as its domain writes it; it can be pickled, and equal scenes look the same."""

CHANGED = 10  # levels of 255 beyond which a pixel counts as changed
_SCENES = 2  # over which the area of an attribute is averaged: those in which every attribute can change
_DRAWN = 20  # scenes of the calibration split among which they are looked for
_AREA_SEED = 5


@runtime_checkable
class Domain(Protocol):
    """A world in which the right answer to every edit can be made. Its entry point is an instance, or makes one.

    Laws:
        1. ``draw`` gives the same scenes for the same arguments on every machine; scenes of two splits never meet.
        2. ``attributes(change(scene, {name: value}))[name]`` is ``value`` for every value of ``alternatives(scene)``.
        3. ``render`` gives the same bytes for equal scenes.
        4. ``paraphrase`` says what two scenes share in the same words where it is given equal generators.
    """

    name: str
    """As the registry and the names of data sets know it."""

    values: Mapping[str, Sequence[str]]
    """Every attribute with all its values."""

    ordered: Mapping[str, Sequence[str]]
    """Attributes whose values have an order, and it; may be empty."""

    part_of: Mapping[str, str]
    """An attribute to the part that it belongs to, such as a color to hair: never both are changed; may be empty."""

    plain_changes: Mapping[str, tuple[str, str]]
    """Of each attribute two values that captions say in equally many words."""

    def draw(self, split: Split, count: int, seed: int) -> Sequence[Scene]:
        """So many different scenes of one split."""
        ...

    def attributes(self, scene: Scene) -> Mapping[str, str]:
        """Every attribute to its value in the scene, in the order of ``values``."""
        ...

    def alternatives(self, scene: Scene) -> Mapping[str, Sequence[str]]:
        """Every attribute that can be changed in the scene to its other values; one that is not there is left out."""
        ...

    def change(self, scene: Scene, change: Mapping[str, str]) -> Scene:
        """The counterfactual: the same scene with some attributes at other values."""
        ...

    def render(self, scene: Scene) -> UInt8[np.ndarray, "h w 3"]:
        """Its image."""
        ...

    def phrases(self, scene: Scene) -> Sequence[str]:
        """What the full caption says, phrase by phrase, in an order that is the same for all scenes."""
        ...

    def caption(self, phrases: Sequence[str]) -> str:
        """Phrases, all of a scene or some, as a caption."""
        ...

    def paraphrase(self, scene: Scene, generator: random.Random) -> str:
        """The full caption in other words."""
        ...

    def words(self, caption: str) -> Sequence[str]:
        """The pieces of a caption, each a token of the domain's models."""
        ...

    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> Sequence[Scene]:
        """What images show, as a classifier of attributes reads it.

        Args:
            pixels: in [-1, 1], of the size of ``render``.

        Raises:
            NotImplementedError: the domain has no classifier; what it would measure is left out.
        """
        ...

    def images(self, model: str, count: int, seed: int) -> Sequence[Image.Image] | None:
        """Images that a model of this domain has not been trained on, at its size; None for other models."""
        ...


class Scalable(Domain, Protocol):
    """A domain that draws its scenes at any size, for editors that take no small images.

    Laws:
        1. ``render_at(scene, side)`` gives the same bytes for equal scenes and sides.
    """

    credits: str
    """Whose work its images hold and under which license, in one sentence for the card of a data set."""

    def render_at(self, scene: Scene, side: int) -> UInt8[np.ndarray, "side side 3"]:
        """The image of a scene, square, with sides of so many pixels."""
        ...


@runtime_checkable
class Lit(Domain, Protocol):
    """A domain whose changes have side effects, such as shadows and reflections, and that knows where.

    Laws:
        1. No pixel is among them that shows what was changed itself, before or after.
    """

    def side_effects(
        self, scene: Scene, answer: Scene, before: UInt8[np.ndarray, "h w 3"], after: UInt8[np.ndarray, "h w 3"]
    ) -> Bool[np.ndarray, "h w"]:
        """Where a scene looks different from another only as a consequence of what was changed.

        Args:
            scene: before.
            answer: after.
            before: its image.
            after: that of the answer.
        """
        ...


@functools.cache
def domain(name: str) -> Domain:
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
    found: Any = domain(name)
    missing = [part for part in ("render_at", "credits") if not hasattr(found, part)]
    if missing:
        raise ConfigError(f"the domain {name!r} draws at one size only: it lacks {' and '.join(missing)}. Add them")
    return found


def full_caption(world: Domain, scene: Scene) -> str:
    """The caption that names every attribute."""
    return world.caption(world.phrases(scene))


def differences(world: Domain, scene: Scene, other: Scene) -> list[str]:
    """Names of the attributes in which two scenes differ."""
    first, second = world.attributes(scene), world.attributes(other)
    return [name for name in world.values if first[name] != second[name]]


def with_value(world: Domain, scene: Scene, name: str, value: str) -> Scene:
    """The scene with an attribute at a value; where the part that it belongs to is missing, with that part too."""
    part = world.part_of.get(name)
    if part is not None and name not in (able := world.alternatives(scene)):
        scene = world.change(scene, {part: able[part][0]})
    return world.change(scene, {name: value})


def distance_to_render(world: Domain, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Root mean square over pixels of images less the renders of the scenes that are read in them."""
    shown = pixels.detach().clamp(-1, 1).cpu()
    renders = np.stack([world.render(scene) for scene in world.read(shown)])
    real = torch.from_numpy(renders).permute(0, 3, 1, 2).to(shown.dtype) / 127.5 - 1
    return (shown - real).square().flatten(1).mean(1).sqrt()


def sample_images(model: str, count: int, *, seed: int) -> list[Image.Image]:
    """Images that a bundled model has not been trained on, from the domain that knows it."""
    for name in DOMAINS.names():
        found = domain(name).images(model, count, seed)
        if found is not None:
            return list(found)
    raise ConfigError(f"no installed domain has images for the model {model!r}. Name some images")


@functools.cache
def attribute_areas(name: str) -> Mapping[str, float]:
    """By attribute, the mean share of pixels that change with it, over its values and a few scenes; in (0, 1)."""
    return measured_areas(domain(name), scenes=_SCENES)


def measured_areas(world: Domain, *, scenes: int) -> dict[str, float]:
    """`attribute_areas`, over so many scenes."""
    found: dict[str, list[float]] = {name: [] for name in world.values}
    whole = [one for one in world.draw("calibration", _DRAWN, _AREA_SEED) if set(world.alternatives(one)) == set(found)]
    for scene in whole[:scenes]:
        before = world.render(scene).astype(np.int16)
        for name, values in world.alternatives(scene).items():
            for value in values:
                difference = np.abs(world.render(world.change(scene, {name: value})).astype(np.int16) - before).max(2)
                found[name].append(float((difference > CHANGED).mean()))
    return {name: float(np.mean(shares)) for name, shares in found.items()}


def coarseness(changes: Mapping[str, float], areas: Mapping[str, float]) -> float | None:
    """The area of the attributes that change, weighted by how much they do; a share of the image.

    None where attributes change by less than `FLOOR` in all.
    """
    total = sum(changes.values())
    return sum(value * areas[name] for name, value in changes.items()) / total if total >= FLOOR else None
