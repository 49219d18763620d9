"""A model of images whose pixels are independent Gaussians around the color that the text names."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from latentedit.encoding.captions.base import AttributeReader
from latentedit.encoding.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.capabilities import Capabilities
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import LevelGrid, uniform_grid

COLORS = {"red": (0.6, -0.4, -0.4), "green": (-0.4, 0.6, -0.4), "blue": (-0.4, -0.4, 0.6), "gray": (0.0, 0.0, 0.0)}
VARIANCE = 0.05


@final
class ColorBackbone(Backbone):
    """Latents are the images themselves; sides are multiples of 4."""

    def __init__(self, *, sizes: tuple[int, int, int] = (8, 8, 8)) -> None:
        super().__init__(name="colors", fingerprint="colors-1", capabilities=Capabilities(sizes=sizes, size_multiple=4))

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        return (3, height_px, width_px)

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        return uniform_grid(steps)

    def embed(self, texts: Sequence[str]) -> Condition:
        colors = [COLORS.get(text.split()[0] if text.split() else "gray", COLORS["gray"]) for text in texts]
        return Condition(tokens=torch.tensor(colors)[:, None], pooled=torch.zeros(len(texts), 0))

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        return [f"unknown color in {text!r}" for text in texts if text.split()[0] not in COLORS]

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels

    def decode(self, z: Tensor) -> Tensor:
        return z

    def _velocity(self, z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        level = s[:, None, None, None]
        mean = condition.tokens[:, 0, :, None, None]
        slope = (level - (1 - level) * VARIANCE) / ((1 - level) ** 2 * VARIANCE + level**2)
        return slope * (z - (1 - level) * mean) - mean


@final
class ColorReader(AttributeReader):
    """Names the color nearest to the mean pixel."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def caption(self, pixels: Tensor) -> list[str]:
        return [reading["color"] for reading in self.read(pixels)]

    def read(self, pixels: Tensor) -> list[dict[str, str]]:
        names, values = list(COLORS), torch.tensor(list(COLORS.values()))
        nearest = torch.cdist(pixels.mean(dim=(2, 3)), values).argmin(dim=1)
        return [{"color": names[int(index)]} for index in nearest]


def red_and_blue() -> JointLatent:
    """The latent of a red and a blue image."""
    model, captions = ColorBackbone(), ("red", "blue")
    noise = 0.1 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    z = noise + torch.tensor([COLORS[name] for name in captions])[:, :, None, None]
    return JointLatent(backbone=model, z=z, condition=model.embed(captions), captions=captions, decoded=z)
