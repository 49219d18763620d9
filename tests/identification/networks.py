"""A small network with one named feature, for tests that read and shift features."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from latentedit.encoding.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.capabilities import Capabilities
from latentedit.models.sites import Site
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import LevelGrid, uniform_grid
from latentedit.numerics.rng import stream


class Layers(nn.Module):
    """``v = C tanh(A z + B c + s) + z / 2`` in float64; ``mid`` is the tanh."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        generator = stream(3, "tests")
        weights = [torch.randn(hidden, size, generator=generator).double() / size**0.5 for _ in range(3)]
        self.latent, self.text, self.out = (nn.Parameter(weight, requires_grad=False) for weight in weights)
        self.mid = nn.Tanh()

    def forward(self, z: Tensor, s: Tensor, text: Tensor) -> Tensor:
        hidden = self.mid(z @ self.latent.T + text @ self.text.T + s[:, None])
        return hidden @ self.out + z / 2


@final
class NetworkBackbone(Backbone):
    """Latents of shape [2, 3] and a feature "mid" of size ``hidden``; a text is the codes of its first six letters."""

    def __init__(self, *, hidden: int = 9, s_min: float = 0.0, s_max: float = 1.0) -> None:
        super().__init__(
            name="network",
            fingerprint="network-1",
            capabilities=Capabilities(s_min=s_min, s_max=s_max, start_std=0.9, pixels=False),
        )
        self.layers = Layers(6, hidden)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        return (2, 3)

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        return uniform_grid(steps, start=self.capabilities.s_max, end=self.capabilities.s_min)

    def embed(self, texts: Sequence[str]) -> Condition:
        tokens = torch.zeros(len(texts), 1, 6, dtype=torch.float64)
        for row, text in enumerate(texts):
            for position, letter in enumerate(text[:6]):
                tokens[row, 0, position] = ord(letter) / 128
        return Condition(tokens=tokens, pooled=torch.zeros(len(texts), 0, dtype=torch.float64))

    def encode(self, pixels: Tensor) -> Tensor:
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        raise NotImplementedError

    def _sites(self) -> Mapping[str, Site]:
        return {"mid": Site(module=self.layers.mid)}

    def _velocity(self, z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        return self.layers(z.flatten(1), s, condition.tokens[:, 0]).reshape(z.shape)


def network_image(backbone: NetworkBackbone, seed: int) -> JointLatent:
    """A random clean latent with an empty caption."""
    z = torch.randn(1, 2, 3, generator=stream(seed, "tests")).double()
    return JointLatent(backbone=backbone, z=z, condition=backbone.embed([""]), captions=("",))


def network_latent(backbone: NetworkBackbone, count: int = 2) -> JointLatent:
    """Random clean latents, each with its own caption."""
    captions = tuple("abcd"[index:] for index in range(count))
    z = torch.randn(count, 2, 3, generator=stream(8, "tests")).double()
    return JointLatent(backbone=backbone, z=z, condition=backbone.embed(captions), captions=captions)
