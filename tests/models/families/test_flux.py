"""FLUX.1 dev, schnell and Kontext against their stock pipelines."""

import dataclasses
from typing import Any

import pytest
from diffusers import FluxImg2ImgPipeline
from torch import Tensor

import latentedit as le
from latentedit.core.rng import draw
from latentedit.models.patches import pack, unpack
from latentedit.testing.miniatures.flux import flux
from latentedit.testing.tolerances import relative_error
from tests.models.families.family import (
    CAPTION,
    PARITY,
    SETTINGS,
    SIZES,
    STEPS,
    FamilyContract,
    Variants,
    sampled_beside,
)


class Packed(FamilyContract):
    def stock_latents(self, z: Tensor) -> Tensor:
        return pack(z)

    def own_latents(self, output: Tensor, like: Tensor) -> Tensor:
        return unpack(output, (like.shape[-2] // 2, like.shape[-1] // 2))


class TestDev(Packed, Variants):
    guidance = (3.5, "embedded")
    image_to_image = (FluxImg2ImgPipeline, {})

    def build(self) -> Any:
        return flux()


class TestSchnell(Packed):
    weights = (1.0,)
    guidance = (1.0, "none")

    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {"guidance_scale": weight, "max_sequence_length": 256}

    def build(self) -> Any:
        return flux(guidance_embeds=False)


@pytest.mark.parametrize("size", SIZES)
def test_sampling_with_a_reference_equals_kontext(size: tuple[int, int]) -> None:
    """A reference picture is part of the condition, and sums of conditions keep it."""
    pipeline = flux(kontext=True)
    backbone = le.from_pipeline(pipeline, settings=SETTINGS)
    assert backbone.capabilities.guidance == 2.5
    shape = (1, *backbone.latent_shape(*size))
    z, reference = (draw(shape, seed=4, purpose=purpose) for purpose in ("start", "reference"))
    condition = dataclasses.replace(backbone.embed([CAPTION]), reference=(reference,))
    stock = pipeline(
        prompt=CAPTION,
        image=reference,
        latents=pack(z),
        height=size[0],
        width=size[1],
        max_area=size[0] * size[1],
        num_inference_steps=STEPS,
        guidance_scale=2.5,
        output_type="latent",
    ).images
    ours = sampled_beside(backbone, condition, z, 2.5, size)
    assert relative_error(ours, unpack(stock, (size[0] // 16, size[1] // 16))) <= PARITY
    assert (condition + condition).reference is condition.reference
