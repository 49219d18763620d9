"""FLUX.1 dev, schnell and Kontext against their stock pipelines."""

from typing import Any

from torch import Tensor

from latentedit.models.patches import pack, unpack
from latentedit.testing.miniatures.flux import flux
from tests.models.families.family import FamilyContract


class Packed(FamilyContract):
    def stock_latents(self, z: Tensor) -> Tensor:
        return pack(z)

    def own_latents(self, output: Tensor, like: Tensor) -> Tensor:
        return unpack(output, (like.shape[-2] // 2, like.shape[-1] // 2))


class TestDev(Packed):
    def build(self) -> Any:
        return flux()


class TestSchnell(Packed):
    weights = (1.0,)

    def build(self) -> Any:
        return flux(guidance_embeds=False)
