"""Small networks that read the attributes of a domain's images, and the captioner that is built on them."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from latentedit.core import ConfigError
from latentedit.encoding import AttributeReader, Caption, Completion, complete_phrases
from latentedit.models import bundled_folder
from latentedit.numerics import seeded
from latentedit_portraits.domains import NONE, Grammar, SceneAttributes

_EXAMPLES = 22  # seed of the example captions
_SURE = 0.8  # probability from which a value counts as read: materials seen in a bad light have .5 to .7


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
        """The network in the folder of the bundled ``model``; always on the CPU."""
        return cls.from_folder(bundled_folder(cls.model))

    def save(self, folder: Path) -> None:
        """Write the weights in half precision; integers stay as they are."""
        directory = folder / self.kind
        directory.mkdir(parents=True, exist_ok=True)
        weights = self.network.state_dict().items()
        halved = {name: value.half() if value.is_floating_point() else value for name, value in weights}
        save_file(halved, directory / f"{self.kind}.safetensors")


class AttributeClassifier(StoredNetwork, AttributeReader):
    """Classifies the attributes of a domain's images of 128 x 128 pixels, and writes the canonical caption."""

    kind = "reader"
    scene: ClassVar[type[SceneAttributes]]
    grammar: ClassVar[Grammar]

    @property
    def values(self) -> Mapping[str, tuple[str, ...]]:
        """Attribute to its values, in the order of `probabilities`."""
        return self.scene.values

    @classmethod
    def build(cls, seed: int) -> ImageNetwork:
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
        return self._most_likely(self.probabilities(pixels))

    def _most_likely(self, probabilities: Mapping[str, Float[Tensor, "b _"]]) -> list[Any]:
        best = torch.stack([part.argmax(dim=1) for part in probabilities.values()], dim=1)
        return [self.scene.from_indices(row) for row in best.tolist()]

    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[dict[str, str]]:
        return [{name: getattr(scene, name) for name in self.values} for scene in self.attributes(pixels)]

    def read_surely(self, pixels: Float[Tensor, "b 3 h w"]) -> list[dict[str, str]]:
        probabilities = self.probabilities(pixels)
        probable = {name: part.amax(1).tolist() for name, part in probabilities.items()}
        return [
            {name: getattr(scene, name) for name in self.values if probable[name][index] >= _SURE}
            for index, scene in enumerate(self._most_likely(probabilities))
        ]

    def stated(self, caption: str) -> Mapping[str, str]:
        return self.grammar.stated(caption)

    def caption(self, pixels: Float[Tensor, "b 3 h w"]) -> list[str]:
        return [self.grammar.full_caption(scene) for scene in self.attributes(pixels)]

    def examples(self, count: int) -> list[str]:
        # drawn from a split that neither training nor tests use
        return [self.grammar.full_caption(scene) for scene in self.scene.draw_split("calibration", count, _EXAMPLES)]

    def complete(self, pixels: Float[Tensor, "b 3 h w"], pairs: Sequence[tuple[str, str]]) -> list[Completion]:
        return [self._completed(scene, *pair) for scene, pair in zip(self.attributes(pixels), pairs, strict=True)]

    def _completed(self, scene: Any, source: str, target: str) -> Completion:
        """A caption's own attributes, and those of the classifier for the rest."""
        old, new = self.stated(source), dict(self.stated(target))
        new |= {name: NONE for name in old.keys() - new.keys() if NONE in self.values[name]}  # the target omits them
        try:
            before = scene.replace(**old)
            after = before.replace(**{name: value for name, value in new.items() if getattr(before, name) != value})
        except ConfigError:  # the caption contradicts itself
            return Completion(source=source, target=target)
        completed = [self._merged(text, state) for text, state in ((source, before), (target, after))]
        differing = {name: value for name, value in old.items() if getattr(scene, name) != value}
        return Completion(
            source=completed[0][0],
            target=completed[1][0],
            added=tuple(dict.fromkeys((completed[0][1] if source.strip() else ()) + completed[1][1])),
            notes=tuple(
                f"the caption states {name.replace('_', ' ')} {value!r}, the captioner reads {getattr(scene, name)!r}"
                for name, value in differing.items()
            ),
        )

    def _merged(self, caption: str, scene: Any) -> tuple[str, tuple[str, ...]]:
        return complete_phrases(caption, Caption.of(self.grammar.full_caption(scene)), self.stated)


def split_logits(logits: Float[Tensor, "b values"], scene: type[SceneAttributes]) -> tuple[Float[Tensor, "b k"], ...]:
    """The logits of each attribute, in the order of the scene's ``values``."""
    return logits.split([len(allowed) for allowed in scene.values.values()], dim=1)


def to_pixels(images: NDArray[np.uint8], device: str | torch.device = "cpu") -> Float[Tensor, "b 3 h w"]:
    """Bytes ``[b, h, w, 3]`` to pixels in [-1, 1]."""
    tensor = torch.from_numpy(np.array(images)).to(device)
    return tensor.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
