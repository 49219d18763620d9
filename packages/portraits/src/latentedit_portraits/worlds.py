"""Worlds with known answers: their common base, and the small networks that read their images.

A scene is described by attributes, from which it is captioned and rendered; so the right answer to an edit of the
caption can be rendered as well.
"""

import abc
import dataclasses
import functools
import hashlib
import random
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from latentedit.core.errors import ConfigError
from latentedit.core.rng import seeded
from latentedit.latents.captions.base import AttributeReader
from latentedit.latents.captions.change import read_phrases
from latentedit.latents.captions.completion import Completion, complete_phrases
from latentedit.models.registry import bundled_folder

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
    """``count`` different scenes for which ``fits(scene, index)`` holds; a seed gives the same on every machine."""
    generator = random.Random(seed)
    scenes: dict[SceneT, None] = {}
    while len(scenes) < count:
        scene = draw(generator)
        if fits(scene, len(scenes)):
            scenes[scene] = None
    return list(scenes)


def words_of(caption: str) -> list[str]:
    """The tokens of the worlds' tokenizers: words and punctuation marks, in lower case."""
    return re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", caption.lower())


class World(abc.ABC):
    """What worlds of `Described` scenes share; subclasses complete a ``Domain`` of `latentedit_bench`."""

    scene: type[Any]  # the class of its scenes
    part_of: Mapping[str, str]  # attribute to the part of the scene that it describes
    side = 128  # of the images of its models, in pixels
    models: Sequence[str] = ()  # trained on its training split

    @property
    def values(self) -> Mapping[str, tuple[str, ...]]:
        """Every attribute with all its values, in the order of the classifier's heads."""
        return self.scene.values

    @abc.abstractmethod
    def draw(self, split: Split, count: int, seed: int) -> list[Any]:
        """``count`` different scenes of one split."""

    @abc.abstractmethod
    def render_at(self, scene: Any, side: int) -> UInt8[np.ndarray, "side side 3"]:
        """The image of a scene, ``side`` pixels wide and high; equal arguments give equal bytes."""

    @abc.abstractmethod
    def phrases(self, scene: Any) -> list[str]:
        """The phrases of the full caption."""

    @abc.abstractmethod
    def caption(self, phrases: Sequence[str]) -> str:
        """Phrases as a caption."""

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
        """The image of a scene at the size of the world's models."""
        return self.render_at(scene, self.side)

    def images(self, model: str, count: int, seed: int) -> list[Image.Image] | None:
        """Images of the test split for the world's models; None for others."""
        if model not in self.models:
            return None
        return [Image.fromarray(self.render(scene)) for scene in self.draw("test", count, seed)]


class ImageNetwork(nn.Module):
    """Strided convolutions that each halve the image's sides, one hidden layer, and a linear head."""

    def __init__(self, outputs: int, *, side: int, widths: Sequence[int], hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width in zip((3, *widths), widths, strict=False):
            layers += [
                nn.Conv2d(width_in, width, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(widths[-1] * (side // 2 ** len(widths)) ** 2, hidden)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b outputs"]:
        """The outputs for each image; pixels in [-1, 1]."""
        return self.head(functional.relu(self.hidden(self.features(pixels).flatten(1))))


_Stored = TypeVar("_Stored", bound="StoredNetwork")


class StoredNetwork:
    """A small network that is stored in ``KIND/KIND.safetensors`` of a model folder."""

    kind: ClassVar[str]
    model: ClassVar[str]  # the bundled model in whose folder it is stored

    def __init__(self, network: ImageNetwork) -> None:
        self.network = network.eval()

    @classmethod
    def build(cls, seed: int) -> ImageNetwork:
        """The untrained network."""
        raise NotImplementedError

    @classmethod
    def from_folder(cls: type[_Stored], folder: Path) -> _Stored:
        """The network in a model folder, in single precision."""
        network = cls.build(0)
        weights = load_file(folder / cls.kind / f"{cls.kind}.safetensors")
        network.load_state_dict({name: value.float() for name, value in weights.items()})
        return cls(network)

    @classmethod
    @functools.cache
    def bundled(cls) -> Any:
        """The network in the folder of the bundled ``model``; on the CPU, wherever the model is."""
        return cls.from_folder(bundled_folder(cls.model))

    def save(self, folder: Path) -> None:
        """Write the weights in half precision; integers stay as they are."""
        directory = folder / self.kind
        directory.mkdir(parents=True, exist_ok=True)
        weights = self.network.state_dict().items()
        halved = {name: value.half() if value.is_floating_point() else value for name, value in weights}
        save_file(halved, directory / f"{self.kind}.safetensors")


class AttributeClassifier(StoredNetwork, AttributeReader):
    """Reads the attributes of a world's images of 128 x 128 pixels, with one head per attribute."""

    kind = "reader"
    scene: ClassVar[type[Described]]

    @property
    def values(self) -> Mapping[str, tuple[str, ...]]:
        """Attribute to its values, in the order of `probabilities`."""
        return self.scene.values

    @classmethod
    def build(cls, seed: int) -> ImageNetwork:
        """The untrained network: logits of every value of every attribute."""
        with seeded(seed):
            outputs = sum(map(len, cls.scene.values.values()))
            return ImageNetwork(outputs, side=128, widths=(32, 64, 128, 192, 256), hidden=256)

    @torch.no_grad()
    def probabilities(self, pixels: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _"]]:
        """Attribute to the probability of each of its values; pixels in [-1, 1]."""
        device = next(self.network.parameters()).device
        chunks = pixels.to(device, torch.float32).clamp(-1, 1).split(64)
        logits = split_logits(torch.cat([self.network(chunk) for chunk in chunks]), self.scene)
        return {name: part.softmax(dim=1) for name, part in zip(self.values, logits, strict=True)}

    def attributes(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Any]:
        """The most likely scene of each image; pixels in [-1, 1]."""
        best = [probabilities.argmax(dim=1) for probabilities in self.probabilities(pixels).values()]
        return [self.scene.from_indices(row) for row in torch.stack(best, dim=1).tolist()]

    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[dict[str, str]]:
        """Attribute names and values of each image."""
        return [{name: getattr(scene, name) for name in self.values} for scene in self.attributes(pixels)]

    def say(self, scene: Any) -> str:
        """The complete caption of a scene in canonical phrases."""
        raise NotImplementedError

    def stated(self, caption: str) -> Mapping[str, str]:
        """The attributes and values that a caption states."""
        raise NotImplementedError

    def caption(self, pixels: Float[Tensor, "b 3 h w"]) -> list[str]:
        """The complete caption of each image."""
        return [self.say(scene) for scene in self.attributes(pixels)]

    def complete(self, pixels: Float[Tensor, "b 3 h w"], pairs: Sequence[tuple[str, str]]) -> list[Completion]:
        """Each pair by the grammar: what a caption states holds, and the classifier reads the rest."""
        return [self._completed(scene, *pair) for scene, pair in zip(self.attributes(pixels), pairs, strict=True)]

    def _completed(self, scene: Any, source: str, target: str) -> Completion:
        old, new = self.stated(source), dict(self.stated(target))
        new |= {name: NONE for name in old.keys() - new.keys() if NONE in self.values[name]}  # what the target drops
        try:
            before = scene.replace(**old)
            after = before.replace(**{name: value for name, value in new.items() if getattr(before, name) != value})
        except ConfigError:  # a caption that contradicts itself
            return Completion(source=source, target=target)
        made = [self._merged(text, state) for text, state in ((source, before), (target, after))]
        differing = {name: value for name, value in old.items() if getattr(scene, name) != value}
        return Completion(
            source=made[0][0],
            target=made[1][0],
            added=tuple(dict.fromkeys((made[0][1] if source.strip() else ()) + made[1][1])),
            notes=tuple(
                f"the caption says {name.replace('_', ' ')} {value!r}, the captioner reads {getattr(scene, name)!r}"
                for name, value in differing.items()
            ),
        )

    def _merged(self, caption: str, scene: Any) -> tuple[str, tuple[str, ...]]:
        return complete_phrases(caption, read_phrases(self.say(scene), lead=True), self.stated)


def split_logits(logits: Float[Tensor, "b values"], scene: type[Described]) -> tuple[Float[Tensor, "b k"], ...]:
    """The logits of each attribute, in the order of its scene's ``values``."""
    return logits.split([len(allowed) for allowed in scene.values.values()], dim=1)


def to_pixels(images: NDArray[np.uint8], device: str | torch.device = "cpu") -> Float[Tensor, "b 3 h w"]:
    """Bytes ``[b, h, w, 3]`` to pixels in [-1, 1]."""
    tensor = torch.from_numpy(np.array(images)).to(device)
    return tensor.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
