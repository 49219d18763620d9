"""A small network that reads the attributes which a caption states, and pictures in which they are known."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import final

import pytest
import torch
from torch import Tensor, nn

from latentedit.core.condition import Condition
from latentedit.core.rng import stream
from latentedit.models.sites import Site
from latentedit_bench.experiments.study import Study
from latentedit_portraits.attributes import VALUES, Attributes, draw_split
from latentedit_portraits.domain import PortraitDomain
from tests.bench.rendered_network import PLACES, CaptionedNetwork
from tests.editors.edits import grey

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
class PortraitNetwork(CaptionedNetwork):
    """On pictures of 8 x 8 pixels.

    Args:
        pooled: a text has a pooled part too, in which the skin alone is told.
    """

    def __init__(self, *, pooled: bool = False) -> None:
        super().__init__(name="portrait-network", side=8, dtype=torch.float64)
        self.layers, self.pooled = Layers(), pooled

    def embed(self, texts: Sequence[str]) -> Condition:
        found = super().embed(texts)
        return dataclasses.replace(found, pooled=found.tokens[:, 0, : len(VALUES["skin"]) * self.pooled])

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
