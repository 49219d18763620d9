"""Scenes as dataclasses of attributes, their captions, and what makes them a domain of the benchmark."""

import abc
import dataclasses
import hashlib
import random
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from latentedit.core import ConfigError

Split = Literal["train", "calibration", "test"]

NONE = "none"  # value of an absent attribute


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SceneAttributes:
    """A scene as a dataclass with one field per attribute.

    A dependent attribute is "none" exactly if its part is absent; anything else raises a `ConfigError`.
    """

    noun: ClassVar[str]  # a word for a scene, for messages
    seeds: ClassVar[str]  # the first part of its random seeds
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
                    f"other. Give {name} 'none' exactly if {part} is {absent!r}"
                )

    @classmethod
    def draw(cls, generator: random.Random) -> Self:
        """A random scene."""
        raise NotImplementedError

    @classmethod
    def draw_split(cls, split: Split, count: int, seed: int) -> list[Self]:
        """``count`` distinct scenes of a split, the same for the same seed on every machine."""
        generator = random.Random(f"{cls.seeds}/{split}/{seed}")
        scenes: dict[Self, None] = {}
        while len(scenes) < count:
            scene = cls.draw(generator)
            if scene.fits(split, len(scenes)):
                scenes[scene] = None
        return list(scenes)

    @property
    def split(self) -> Split:
        return self.hashed_split()

    def hashed_split(self) -> Split:
        """90 % train, 5 % calibration, 5 % test, by a hash of the values: no scene is in two splits."""
        text = "|".join(getattr(self, name) for name in self.values)
        bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 20
        return "test" if bucket == 0 else "calibration" if bucket == 1 else "train"

    def fits(self, split: Split, index: int) -> bool:  # noqa: ARG002
        """Whether it can be the scene with this index in a draw from a split."""
        return self.split == split

    @classmethod
    def default(cls, name: str, others: Mapping[str, str]) -> str:
        """The value of a dependent attribute whose part is added without it, given the scene's other values."""
        raise NotImplementedError

    def replace(self, **change: str) -> Self:
        """The counterfactual: some attributes changed; dependent attributes appear and disappear with their part."""
        unknown = sorted(set(change) - set(self.values))
        if unknown:
            raise ConfigError(f"a {self.noun} has no attribute {', '.join(unknown)}. Use {', '.join(self.values)}")
        values = {name: getattr(self, name) for name in self.values} | change
        self._make_consistent(values, values)
        return dataclasses.replace(self, **values)

    def indices(self) -> list[int]:
        """The position of each value in ``values``, in the order of ``values``."""
        return [allowed.index(getattr(self, name)) for name, allowed in self.values.items()]

    @classmethod
    def from_indices(cls, indices: Sequence[int]) -> Self:
        """The inverse of `indices`; if a classifier's outputs are inconsistent, the part decides."""
        values = {name: allowed[i] for (name, allowed), i in zip(cls.values.items(), indices, strict=True)}
        cls._make_consistent(values, {})
        return cls(**values)

    @classmethod
    def _make_consistent(cls, values: dict[str, str], others: Mapping[str, str]) -> None:
        """Adapt dependent values to their parts, in place."""
        for name, (part, absent) in cls.dependent.items():
            if values[part] == absent:
                values[name] = NONE
            elif values[name] == NONE:
                values[name] = cls.default(name, others)

    def differences(self, other: "SceneAttributes") -> list[str]:
        return [name for name in self.values if getattr(self, name) != getattr(other, name)]


Choose = Callable[[Sequence[str]], str]
"""Chooses one of several synonyms."""


def canonical(words: Sequence[str]) -> str:
    """The first of several synonyms."""
    return words[0]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """Captions of scenes: a lead, and phrases between commas.

    Args:
        leads: beginnings of captions, the canonical one first.
        phrases: the phrases of all attributes of a scene, in a fixed order. It makes its choices equally often for all
            scenes, and among the same words for attributes that two scenes share.
        stated: the attributes that a caption states, with their values.
    """

    leads: Sequence[str]
    phrases: Callable[[Any, Choose], list[str]]
    stated: Callable[[str], Mapping[str, str]]

    def caption(self, phrases: Sequence[str], lead: str | None = None) -> str:
        """Phrases as a caption."""
        return f"{self.leads[0] if lead is None else lead} {', '.join(phrases)}".strip()

    def full_caption(self, scene: Any) -> str:
        """The canonical caption, which names every attribute."""
        return self.caption(self.phrases(scene, canonical))

    def reworded_caption(self, scene: Any, generator: random.Random) -> str:
        """The full caption with synonyms; with equal generators, scenes that share an attribute share its phrase."""

        def choose(words: Sequence[str]) -> str:
            return words[int(generator.random() * len(words))]

        lead = choose(self.leads)
        return self.caption(self.phrases(scene, choose), lead)


class AttributeDomain(abc.ABC):
    """Most of a domain of the benchmark, `latentedit_bench.domains.domain.Scalable`, on which models are trained.

    Its scenes are `SceneAttributes`.
    """

    name: str
    scene: type[Any]  # the class of its scenes
    grammar: Grammar
    reader: type[Any]  # the `AttributeClassifier` of its images
    side = 128  # side of its models' images, in pixels
    values: Mapping[str, Sequence[str]]
    ordered: Mapping[str, Sequence[str]]
    part_of: Mapping[str, str]
    plain_changes: Mapping[str, tuple[str, str]]
    models: Sequence[str] = ()  # trained on its training split

    @abc.abstractmethod
    def render_at(self, scene: Any, side: int) -> UInt8[np.ndarray, "side side 3"]:
        """The square image of a scene, ``side`` pixels wide and high."""

    def draw(self, split: Split, count: int, seed: int) -> list[Any]:
        return self.scene.draw_split(split, count, seed)

    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Any]:
        return self.reader.bundled().attributes(pixels)

    def phrases(self, scene: Any) -> list[str]:
        return self.grammar.phrases(scene, canonical)

    def caption(self, phrases: Sequence[str]) -> str:
        return self.grammar.caption(phrases)

    def paraphrase(self, scene: Any, generator: random.Random) -> str:
        return self.grammar.reworded_caption(scene, generator)

    def attributes(self, scene: Any) -> dict[str, str]:
        return {name: getattr(scene, name) for name in self.values}

    def alternatives(self, scene: Any) -> dict[str, list[str]]:
        return {
            name: [value for value in values if value != own and not (value == NONE and name in self.part_of)]
            for name, values in self.values.items()
            if (own := getattr(scene, name)) != NONE or name not in self.part_of
        }

    def change(self, scene: Any, change: Mapping[str, str]) -> Any:
        return scene.replace(**change)

    def words(self, caption: str) -> list[str]:
        return words_of(caption)

    def render(self, scene: Any) -> UInt8[np.ndarray, "h w 3"]:
        return self.render_at(scene, self.side)

    def images(self, model: str, count: int, seed: int) -> list[Image.Image] | None:
        if model not in self.models:
            return None
        return [Image.fromarray(self.render(scene)) for scene in self.draw("test", count, seed)]


def words_of(caption: str) -> list[str]:
    """The tokens of the domains' tokenizers: words and punctuation marks, in lower case."""
    return re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", caption.lower())


def read_table(package: str, name: str) -> dict[str, Any]:
    """The content of ``NAME.toml`` of an installed package."""
    return tomllib.loads(resources.files(package).joinpath(f"{name}.toml").read_text("utf-8"))
