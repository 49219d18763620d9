"""Worlds with known answers: their common base. `latentedit_bench` measures editors in them, by their names.

A scene is described by attributes, from which it is captioned and rendered; so the right answer to an edit of the
caption can be rendered as well.
"""

import abc
import dataclasses
import hashlib
import random
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from latentedit.core.errors import ConfigError

Split = Literal["train", "calibration", "test"]

NONE = "none"  # value of an absent attribute


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A complete description of a scene: a subclass has one field for each attribute, which holds one of its values.

    A dependent attribute is "none" exactly where its part is absent; others are refused with a `ConfigError`.
    """

    noun: ClassVar[str]  # a word for a scene, for messages
    values: ClassVar[Mapping[str, tuple[str, ...]]]  # every attribute with its values
    dependent: ClassVar[Mapping[str, tuple[str, str]]]  # attribute to its part, and that part's value if it is absent

    def __post_init__(self) -> None:
        for name, allowed in self.values.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"{name} cannot be {value!r}. Give one of {', '.join(allowed)}")
        for name, (part, absent) in self.dependent.items():
            if (getattr(self, name) == NONE) != (getattr(self, part) == absent):
                raise ConfigError(
                    f"{part} is {getattr(self, part)!r} and {name} {getattr(self, name)!r}, which contradict each "
                    f"other. Give {name} 'none' exactly where {part} is {absent!r}"
                )

    @classmethod
    def default(cls, name: str, others: Mapping[str, str]) -> str:
        """The value of a dependent attribute whose part appears undescribed, given the scene's other values."""
        raise NotImplementedError

    def replace(self, **change: str) -> Self:
        """The counterfactual: these attributes with some changed; dependent ones come and go with their part."""
        unknown = sorted(set(change) - set(self.values))
        if unknown:
            raise ConfigError(f"a {self.noun} has no attribute {', '.join(unknown)}. Use {', '.join(self.values)}")
        values = {name: getattr(self, name) for name in self.values} | change
        self._settle(values, values)
        return dataclasses.replace(self, **values)

    def indices(self) -> list[int]:
        """The position of each value in ``values``, in the order of ``values``."""
        return [allowed.index(getattr(self, name)) for name, allowed in self.values.items()]

    @classmethod
    def from_indices(cls, indices: Sequence[int]) -> Self:
        """The inverse of `indices`; where a classifier contradicts itself, the part decides."""
        values = {name: allowed[i] for (name, allowed), i in zip(cls.values.items(), indices, strict=True)}
        cls._settle(values, {})
        return cls(**values)

    @classmethod
    def _settle(cls, values: dict[str, str], others: Mapping[str, str]) -> None:
        """Make values fit their parts, in place."""
        for name, (part, absent) in cls.dependent.items():
            if values[part] == absent:
                values[name] = NONE
            elif values[name] == NONE:
                values[name] = cls.default(name, others)

    def differences(self, other: "Described") -> list[str]:
        """Names of the attributes in which two scenes differ."""
        return [name for name in self.values if getattr(self, name) != getattr(other, name)]

    def hashed_split(self) -> Split:
        """90 % train, 5 % calibration, 5 % test, by a hash of the values: no test scene can ever be in training."""
        text = "|".join(getattr(self, name) for name in self.values)
        bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 20
        return "test" if bucket == 0 else "calibration" if bucket == 1 else "train"


def read_table(package: str, name: str) -> dict[str, Any]:
    """The content of ``NAME.toml`` of an installed package."""
    return tomllib.loads(resources.files(package).joinpath(f"{name}.toml").read_text("utf-8"))


SceneT = TypeVar("SceneT", bound=Described)


def draw_different(
    draw: Callable[[random.Random], SceneT], count: int, seed: str, fits: Callable[[SceneT, int], bool]
) -> list[SceneT]:
    """So many different scenes, the same for the same seed on every machine; ``fits(scene, found so far)`` filters."""
    generator = random.Random(seed)
    found: dict[SceneT, None] = {}
    while len(found) < count:
        scene = draw(generator)
        if fits(scene, len(found)):
            found[scene] = None
    return list(found)


def words_of(caption: str) -> list[str]:
    """The tokens of the worlds' tokenizers: words and punctuation marks, in lower case."""
    return re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", caption.lower())


class World(abc.ABC):
    """A world whose scenes are `Described`: a ``Domain`` of `latentedit_bench`, and training data."""

    name: str
    credits: str  # authors and licences of the pictures
    scene: type[Any]  # the class of its scenes
    ordered: Mapping[str, Sequence[str]]  # the order of the values of ordered attributes
    part_of: Mapping[str, str]  # attribute to the part that it belongs to
    plain_changes: Mapping[str, tuple[str, str]]  # for each attribute two values of equally many words in a caption
    side = 128  # of the pictures of its models, in pixels
    models: Sequence[str] = ()  # trained on its training split
    vocabulary: Sequence[str]  # every word and mark of captions, sorted
    max_tokens: int  # context length of the models' text encoders, start and end tokens included

    @property
    def values(self) -> Mapping[str, tuple[str, ...]]:
        """Every attribute with all its values, in the order of the classifier's heads."""
        return self.scene.values

    @abc.abstractmethod
    def draw(self, split: Split, count: int, seed: int) -> list[Any]:
        """So many different scenes of one split."""

    @abc.abstractmethod
    def render_at(self, scene: Any, side: int) -> UInt8[np.ndarray, "side side 3"]:
        """The picture of a scene with sides of so many pixels; equal arguments give equal bytes."""

    @abc.abstractmethod
    def phrases(self, scene: Any) -> list[str]:
        """The phrases of the full caption."""

    @abc.abstractmethod
    def caption(self, phrases: Sequence[str]) -> str:
        """Phrases as a caption."""

    @abc.abstractmethod
    def paraphrase(self, scene: Any, generator: random.Random) -> str:
        """The full caption in other words; scenes that differ in one phrase differ in that phrase alone."""

    @abc.abstractmethod
    def draw_caption(self, scene: Any, generator: random.Random, *, empty: float) -> str:
        """A random caption for training, of all or some attributes; empty with this probability."""

    @abc.abstractmethod
    def stated(self, caption: str) -> Mapping[str, str]:
        """The attributes and values that a caption states."""

    @abc.abstractmethod
    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Any]:
        """The scenes of pictures in [-1, 1], by the classifier of the world's bundled model."""

    def attributes(self, scene: Any) -> dict[str, str]:
        """Every attribute to its value."""
        return {name: getattr(scene, name) for name in self.values}

    def alternatives(self, scene: Any) -> dict[str, list[str]]:
        """Every attribute that can be changed to its other values; those of absent parts have none."""
        return {
            name: [value for value in values if value != own and not (value == NONE and name in self.part_of)]
            for name, values in self.values.items()
            if (own := getattr(scene, name)) != NONE or name not in self.part_of
        }

    def change(self, scene: Any, change: Mapping[str, str]) -> Any:
        """The same scene with some attributes at other values."""
        return scene.replace(**change)

    def full_caption(self, scene: Any) -> str:
        """The canonical caption, which names every attribute."""
        return self.caption(self.phrases(scene))

    def words(self, caption: str) -> list[str]:
        """The tokens of the tokenizer."""
        return words_of(caption)

    def render(self, scene: Any) -> UInt8[np.ndarray, "h w 3"]:
        """The picture of a scene at the size of the world's models."""
        return self.render_at(scene, self.side)

    def pictures(self, model: str, count: int, seed: int) -> list[Image.Image] | None:
        """Pictures of the test split for the world's models; None for others."""
        if model not in self.models:
            return None
        return [Image.fromarray(self.render(scene)) for scene in self.draw("test", count, seed)]
