"""A small network that reads the attributes which a caption states, and pictures in which they are known."""

from collections.abc import Mapping, Sequence
from typing import final

import pytest
import torch
from torch import Tensor, nn

from latentedit.core.condition import Condition
from latentedit.core.levels import LevelGrid, uniform_grid
from latentedit.core.rng import stream
from latentedit.models.base import Backbone, Capabilities
from latentedit.models.sites import Site
from latentedit_bench.experiments.study import Study
from latentedit_portraits.attributes import VALUES, Attributes, draw_split
from latentedit_portraits.captions import parse
from latentedit_portraits.domain import PortraitDomain
from tests.editors.edits import grey

PLACES = {(name, value): index for index, (name, value) in enumerate((n, v) for n in VALUES for v in VALUES[n])}
KNOWN = draw_split("test", 20, 0)
"""What is read in the pictures of a study, by their mean brightness."""


class Layers(nn.Module):
    """``v = C tanh(A z + s B c) + z / 2`` in float64: the text counts for more, the more noise there is."""

    def __init__(self) -> None:
        super().__init__()
        generator = stream(3, "tests")
        sizes = ((24, 192), (24, len(PLACES)), (24, 192))
        latent, text, out = (torch.randn(size, generator=generator).double() for size in sizes)
        self.latent, self.text = nn.Parameter(latent / 192**0.5), nn.Parameter(text / 2)
        self.out = nn.Parameter(out / 192**0.5)
        self.mid = nn.Tanh()
        self.requires_grad_(requires_grad=False)

    def forward(self, z: Tensor, s: Tensor, text: Tensor) -> Tensor:
        return self.mid(z @ self.latent.T + s[:, None] * (text @ self.text.T)) @ self.out + z / 2


@final
class PortraitNetwork(Backbone):
    """Latents are pictures of 8 x 8 pixels; a text has a one for each attribute that it states, zeros for the others.

    Args:
        pooled: a text has a pooled part too, in which the skin alone is told.
    """

    def __init__(self, *, pooled: bool = False) -> None:
        capabilities = Capabilities(sizes=(8, 8, 8), size_multiple=8)
        super().__init__(name="portrait-network", fingerprint="portrait-network-1", capabilities=capabilities)
        self.layers, self.pooled = Layers(), pooled

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        return (3, height_px, width_px)

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        return uniform_grid(steps)

    def embed(self, texts: Sequence[str]) -> Condition:
        tokens = torch.zeros(len(texts), 1, len(PLACES), dtype=torch.float64)
        for row, text in enumerate(texts):
            for stated in parse(text).items():
                tokens[row, 0, PLACES[stated]] = 1
        return Condition(tokens=tokens, pooled=tokens[:, 0, : len(VALUES["skin"]) * self.pooled])

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels.double()

    def decode(self, z: Tensor) -> Tensor:
        return z

    def _sites(self) -> Mapping[str, Site]:
        return {"mid": Site(module=self.layers.mid)}

    def _velocity(self, z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        return self.layers(z.flatten(1), s, condition.tokens[:, 0]).reshape(z.shape)


def portrait_study(
    monkeypatch: pytest.MonkeyPatch, *, pooled: bool = False, levels: Sequence[float] = (0.9, 0.2), count: int = 2
) -> Study:
    """Grey pictures in that network, in each of which the domain reads one of the `KNOWN` portraits."""

    def read(_: PortraitDomain, pixels: Tensor) -> list[Attributes]:
        return [KNOWN[int(picture.mean() * 1e6) % len(KNOWN)] for picture in pixels]

    monkeypatch.setattr(PortraitDomain, "read", read)
    backbone = PortraitNetwork(pooled=pooled)
    backbone.defaults = {"captioner": "portraits"}
    return Study.of(backbone, [grey(seed) for seed in range(count)], levels=levels, rank=3, steps=4)
