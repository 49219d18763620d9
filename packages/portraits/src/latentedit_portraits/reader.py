"""The attribute reader: a small CNN with one head an attribute, for captions and for measuring."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from latentedit.core.progress import Progress
from latentedit.latents.captions.base import AttributeReader
from latentedit.latents.captions.change import Change
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder
from latentedit_portraits.attributes import VALUES, Attributes
from latentedit_portraits.captions import full_caption
from latentedit_portraits.dataset import UNNAMED, LabelledPortraits, to_pixels
from latentedit_portraits.fitting import FitSettings, fit, load_half, save_half
from latentedit_portraits.rewriting import rewrite

_FILE = "reader.safetensors"
_WIDTHS = (32, 64, 128, 192, 256)
_NOISE = 0.06


class ReaderNetwork(nn.Module):
    """Five strided convolutions, one hidden layer, and one linear head over all values of all attributes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width_in = 3
        for width in _WIDTHS:
            layers += [
                nn.Conv2d(width_in, width, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            width_in = width
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(_WIDTHS[-1] * 16, 256)
        self.head = nn.Linear(256, sum(len(values) for values in VALUES.values()))

    def forward(self, pixels: Float[Tensor, "b 3 128 128"]) -> Float[Tensor, "b values"]:
        """Logits of every value of every attribute, in the order of ``VALUES``."""
        features = self.features(pixels).flatten(1)
        return self.head(functional.relu(self.hidden(features)))


def split_logits(logits: Float[Tensor, "b values"]) -> tuple[Float[Tensor, "b k"], ...]:
    """The logits of each attribute, in the order of ``VALUES``."""
    return logits.split([len(values) for values in VALUES.values()], dim=1)


class PortraitReader(AttributeReader):
    """Reads the attributes of portraits of 128 x 128 pixels, and says them in the grammar's canonical caption."""

    values = VALUES

    def __init__(self, network: ReaderNetwork) -> None:
        self.network = network.eval()

    @classmethod
    def from_folder(cls, folder: Path) -> "PortraitReader":
        """The reader that lies beside a model, in ``folder/reader``."""
        network = ReaderNetwork()
        load_half(network, folder / "reader" / _FILE)
        return cls(network)

    def save(self, folder: Path) -> None:
        """Write the weights to ``folder/reader`` in half precision."""
        save_half(self.network, folder / "reader" / _FILE)

    @torch.no_grad()
    def attributes(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Attributes]:
        """The most likely attributes of each picture; pixels in [-1, 1]."""
        best = [probabilities.argmax(dim=1) for probabilities in self.probabilities(pixels).values()]
        return [Attributes.from_indices(row) for row in torch.stack(best, dim=1).tolist()]

    @torch.no_grad()
    def probabilities(self, pixels: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _"]]:
        """Attribute to the probability of each of its values in the order of ``VALUES``; pixels in [-1, 1]."""
        device = next(self.network.parameters()).device
        chunks = pixels.to(device, torch.float32).clamp(-1, 1).split(64)
        logits = split_logits(torch.cat([self.network(chunk) for chunk in chunks]))
        return {name: part.softmax(dim=1) for name, part in zip(VALUES, logits, strict=True)}

    def read(self, pixels: Float[Tensor, "b 3 h w"]) -> list[dict[str, str]]:
        """Attribute names and values of each picture."""
        return [{name: getattr(item, name) for name in VALUES} for item in self.attributes(pixels)]

    def caption(self, pixels: Float[Tensor, "b 3 h w"]) -> list[str]:
        """The full caption of each picture."""
        return [full_caption(item) for item in self.attributes(pixels)]

    def change(self, caption: str, change: Change) -> str:
        """The caption with a change made by the grammar: see `rewrite`."""
        return rewrite(caption, change)


def reader_for(backbone: Backbone) -> PortraitReader:
    """The entry point ``portraits`` of ``latentedit.captioners``: the reader that lies beside the bundled model.

    It is on the CPU wherever the model is; its pictures may come from any device.
    """
    del backbone
    return _bundled_reader()


@functools.cache
def _bundled_reader() -> PortraitReader:
    return PortraitReader.from_folder(bundled_folder("portraits"))


def build_reader(seed: int) -> ReaderNetwork:
    """The untrained network."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return ReaderNetwork()


def fit_reader(
    network: ReaderNetwork,
    sources: Sequence[LabelledPortraits],
    settings: FitSettings,
    folder: Path,
    *,
    progress: Progress | None = None,
    log: Callable[[str], None] = print,
) -> float:
    """Train the reader on every source equally often; nothing is learnt of an attribute where it is ``UNNAMED``.

    Brightness, contrast, sharpness and noise vary, so that it does not depend on what a codec or a sampler blurs.

    Returns:
        Seconds of training.
    """
    device = next(network.parameters()).device
    labels = [torch.from_numpy(source.labels).to(device) for source in sources]
    network.train()

    def loss(step: int, generator: torch.Generator) -> Tensor:
        source = step % len(sources)
        pixels = sources[source].pixels
        chosen = torch.randint(len(pixels), (settings.batch,), generator=generator).sort().values
        picture = _disturb(to_pixels(pixels[chosen.numpy()], device), generator)
        with torch.autocast(device.type, torch.bfloat16):
            logits = network(picture)
        return _mean_cross_entropy(logits.float(), labels[source][chosen.to(device)])

    seconds = fit("reader", network, loss, settings, folder, progress=progress, log=log)
    network.eval()
    return seconds


def _mean_cross_entropy(logits: Float[Tensor, "b values"], labels: Int64[Tensor, "b attributes"]) -> Float[Tensor, ""]:
    """Over the attributes, of the mean over the pictures in which the attribute is named; 0 where it is in none."""
    sums = [
        functional.cross_entropy(part, labels[:, i], ignore_index=UNNAMED, reduction="sum")
        for i, part in enumerate(split_logits(logits))
    ]
    return (torch.stack(sums) / (labels != UNNAMED).sum(dim=0).clamp(min=1)).mean()


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
