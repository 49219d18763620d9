"""The attribute reader: a small CNN with one head an attribute, for captions and for measuring."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from latentedit.core.rng import seeded
from latentedit.latents.captions.base import AttributeReader
from latentedit.latents.captions.change import Change
from latentedit.models.base import Backbone
from latentedit_portraits.attributes import VALUES, Attributes, draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.convnet import PictureNetwork, StoredNetwork
from latentedit_portraits.dataset import SIZE, to_pixels
from latentedit_portraits.fitting import FitSettings, Training, mixed_precision
from latentedit_portraits.rewriting import rewrite

_EXAMPLES = 22  # seed of the captions that are given as examples

_NOISE = 0.06  # largest deviation of the noise that is added in training, of a range of 2


class ReaderNetwork(PictureNetwork):
    """Logits of every value of every attribute, in the order of ``values``."""

    values: ClassVar[Mapping[str, Sequence[str]]] = VALUES
    side = SIZE
    widths = (32, 64, 128, 192, 256)
    hidden_width = 256
    outputs = sum(len(values) for values in VALUES.values())


def split_logits(
    logits: Float[Tensor, "b values"], values: Mapping[str, Sequence[str]] = VALUES
) -> tuple[Float[Tensor, "b k"], ...]:
    """The logits of each attribute, in the order of ``values``."""
    return logits.split([len(allowed) for allowed in values.values()], dim=1)


class NetworkReader(StoredNetwork, AttributeReader):
    """An attribute reader by such a network; subclasses know the world's scenes and its grammar."""

    values: ClassVar[Mapping[str, tuple[str, ...]]]
    kind = "reader"

    @torch.no_grad()
    def probabilities(self, pixels: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _"]]:
        """Attribute to the probability of each of its values in the order of ``values``; pixels in [-1, 1]."""
        device = next(self.network.parameters()).device
        chunks = pixels.to(device, torch.float32).clamp(-1, 1).split(64)
        logits = split_logits(torch.cat([self.network(chunk) for chunk in chunks]), self.values)
        return {name: part.softmax(dim=1) for name, part in zip(self.values, logits, strict=True)}

    def indices(self, pixels: Float[Tensor, "b 3 h w"]) -> list[list[int]]:
        """Of each picture the position of the most likely value of each attribute."""
        best = [probabilities.argmax(dim=1) for probabilities in self.probabilities(pixels).values()]
        return torch.stack(best, dim=1).tolist()

    @abc.abstractmethod
    def attributes(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Any]:
        """The most likely scene of each picture; pixels in [-1, 1]."""

    @abc.abstractmethod
    def full_caption(self, scene: Any) -> str:
        """What the grammar says of a scene."""

    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[dict[str, str]]:
        """Attribute names and values of each picture."""
        return [{name: getattr(item, name) for name in self.values} for item in self.attributes(pixels)]

    def caption(self, pixels: Float[Tensor, "b 3 h w"]) -> list[str]:
        """The full caption of each picture."""
        return [self.full_caption(item) for item in self.attributes(pixels)]


class PortraitReader(NetworkReader):
    """Reads the attributes of portraits of 128 x 128 pixels, and says them in the grammar's canonical caption."""

    values = VALUES
    architecture = ReaderNetwork

    def attributes(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Attributes]:
        """The most likely attributes of each picture; pixels in [-1, 1]."""
        return [Attributes.from_indices(row) for row in self.indices(pixels)]

    def full_caption(self, scene: Attributes) -> str:
        """The canonical caption."""
        return full_caption(scene)

    def examples(self, count: int) -> list[str]:
        """Full captions of portraits that neither training nor tests have seen."""
        return [full_caption(item) for item in draw_split("calibration", count, _EXAMPLES)]

    def change(self, caption: str, change: Change) -> str:
        """The caption with a change made by the grammar: see `rewrite`."""
        return rewrite(caption, change)


def reader_for(backbone: Backbone) -> PortraitReader:
    """The entry point ``portraits`` of ``latentedit.captioners``: the reader that lies beside the bundled model.

    It is on the CPU wherever the model is; its pictures may come from any device.
    """
    del backbone
    return PortraitReader.bundled()


def build_reader(seed: int) -> ReaderNetwork:
    """The untrained network."""
    with seeded(seed):
        return ReaderNetwork()


def fit_reader(
    network: ReaderNetwork,
    sources: Sequence[NDArray[np.uint8]],
    attributes: Sequence[Any],
    settings: FitSettings,
    run: Training,
) -> float:
    """Train the reader on every source equally often.

    Brightness, contrast, sharpness and noise vary, so that it does not depend on what a codec or a sampler blurs. Each
    source holds the pictures of the first scenes, as bytes ``[n, 128, 128, 3]``; ``indices()`` of a scene are the
    positions of its values.
    """
    device = next(network.parameters()).device
    labels = torch.tensor([item.indices() for item in attributes], device=device)
    network.train()

    def loss(step: int, generator: torch.Generator) -> Tensor:
        pixels = sources[step % len(sources)]
        chosen = torch.randint(len(pixels), (settings.batch,), generator=generator).sort().values
        picture = _disturb(to_pixels(pixels[chosen.numpy()], device), generator)
        with mixed_precision(device):
            logits = split_logits(network(picture), network.values)
        truth = labels[chosen.to(device)]
        losses = [functional.cross_entropy(part.float(), truth[:, i]) for i, part in enumerate(logits)]
        return torch.stack(losses).mean()

    seconds = run.fit("reader", network, loss, settings)
    network.eval()
    return seconds


def _disturb(pixels: Float[Tensor, "b 3 h w"], generator: torch.Generator) -> Float[Tensor, "b 3 h w"]:
    """Other brightness and contrast, some blur, some noise."""
    batch = len(pixels)
    contrast = 1 + 0.1 * (2 * torch.rand((batch, 1, 1, 1), generator=generator) - 1)
    brightness = 0.1 * (2 * torch.rand((batch, 1, 1, 1), generator=generator) - 1)
    blur = torch.rand((batch, 1, 1, 1), generator=generator)
    noise = _NOISE * torch.rand((batch, 1, 1, 1), generator=generator)
    blurred = functional.interpolate(functional.avg_pool2d(pixels, 2), scale_factor=2.0, mode="bilinear")
    mixed = torch.lerp(pixels, blurred, blur.to(pixels.device))
    grain = torch.randn(pixels.shape, generator=generator).to(pixels.device)
    return mixed * contrast.to(pixels.device) + brightness.to(pixels.device) + noise.to(pixels.device) * grain


def accuracy(found: list[Attributes], truth: list[Attributes]) -> dict[str, float]:
    """Share of pictures whose attribute was read right, an attribute at a time."""
    return {
        name: sum(getattr(a, name) == getattr(b, name) for a, b in zip(found, truth, strict=True)) / len(truth)
        for name in VALUES
    }
