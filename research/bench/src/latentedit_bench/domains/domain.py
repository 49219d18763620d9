"""Domains: images whose attributes are known, so that the correct result of every edit can be rendered."""

import abc
import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

Split = Literal["train", "calibration", "test"]

Scene = Any
"""A complete description of one image, in a form that its domain chooses: hashable, can be pickled; equal scenes look
the same."""


@runtime_checkable
class Domain(Protocol):
    """A domain in which the correct result of every edit can be rendered. Its entry point is an instance or a class.

    Laws:
        1. ``draw`` gives the same scenes for the same arguments on every machine; no scene is in two splits.
        2. ``attributes(change(scene, {name: value}))[name]`` is ``value`` for every value of ``alternatives(scene)``.
        3. ``render`` gives the same bytes for equal scenes.
        4. ``paraphrase`` words what two scenes share in the same way for equal generators.
    """

    name: str
    """The domain's name in the registry and in the names of data sets."""

    values: Mapping[str, Sequence[str]]
    """Every attribute with all its values."""

    ordered: Mapping[str, Sequence[str]]
    """Attributes whose values have an order, with the values in that order; may be empty."""

    part_of: Mapping[str, str]
    """Attribute to the part that it belongs to, such as a color to hair: never both are changed; may be empty."""

    plain_changes: Mapping[str, tuple[str, str]]
    """Attribute to two of its values for which captions have equally many words."""

    @abc.abstractmethod
    def draw(self, split: Split, count: int, seed: int) -> Sequence[Scene]:
        """``count`` distinct scenes of a split."""

    @abc.abstractmethod
    def attributes(self, scene: Scene) -> Mapping[str, str]:
        """Every attribute's value in the scene, in the order of ``values``."""

    @abc.abstractmethod
    def alternatives(self, scene: Scene) -> Mapping[str, Sequence[str]]:
        """The other values of every attribute that can be changed in the scene; attributes of absent parts cannot."""

    @abc.abstractmethod
    def change(self, scene: Scene, change: Mapping[str, str]) -> Scene:
        """The counterfactual: the same scene with other values of some attributes."""

    @abc.abstractmethod
    def render(self, scene: Scene) -> UInt8[np.ndarray, "h w 3"]:
        """The image of a scene at the size of the domain's models."""

    @abc.abstractmethod
    def phrases(self, scene: Scene) -> Sequence[str]:
        """The phrases of the full caption, in an order that is the same for all scenes."""

    @abc.abstractmethod
    def caption(self, phrases: Sequence[str]) -> str:
        """All phrases of a scene, or some, as a caption."""

    @abc.abstractmethod
    def paraphrase(self, scene: Scene, generator: random.Random) -> str:
        """The full caption with synonyms."""

    @abc.abstractmethod
    def words(self, caption: str) -> Sequence[str]:
        """The tokens of a caption for the domain's models."""

    @abc.abstractmethod
    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> Sequence[Scene]:
        """The scenes that a classifier of attributes recognizes.

        Args:
            pixels: in [-1, 1], of the size of ``render``.

        Raises:
            NotImplementedError: the domain has no classifier; measures that need one are left out.
        """

    @abc.abstractmethod
    def images(self, model: str, count: int, seed: int) -> Sequence[Image.Image] | None:
        """Images that a model of this domain was not trained on, at its size; None for other models."""


class Scalable(Domain, Protocol):
    """A domain that renders its scenes at any size, for editors that do not take small images.

    Laws:
        1. ``render_at(scene, side)`` gives the same bytes for equal scenes and sides.
    """

    @abc.abstractmethod
    def render_at(self, scene: Scene, side: int) -> UInt8[np.ndarray, "side side 3"]:
        """The square image of a scene, ``side`` pixels wide and high."""


@runtime_checkable
class Lit(Domain, Protocol):
    """A domain whose changes have side effects such as shadows and reflections, with masks of them.

    Laws:
        1. The mask of side effects excludes every pixel that shows a changed object itself, before or after.
    """

    @abc.abstractmethod
    def side_effects(
        self, scene: Scene, answer: Scene, before: UInt8[np.ndarray, "h w 3"], after: UInt8[np.ndarray, "h w 3"]
    ) -> Bool[np.ndarray, "h w"]:
        """Where two scenes look different only as a consequence of the change.

        Args:
            scene: before the change.
            answer: after the change.
            before: image of ``scene``.
            after: image of ``answer``.
        """
