"""FLUX.1 dev, schnell and Kontext against their stock pipelines."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

import latentedit as le
from latentedit.core.rng import draw
from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.integrate import sample
from latentedit.models.guidance import GuidedField
from latentedit.models.patches import pack, unpack
from latentedit.testing.miniatures.flux import flux
from latentedit.testing.tolerances import relative_error
from tests.models.families.family import CAPTION, PARITY, SETTINGS, STEPS, FamilyContract


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

    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {"guidance_scale": weight, "max_sequence_length": 256}

    def build(self) -> Any:
        return flux(guidance_embeds=False)


class TestKontext:
    @pytest.mark.parametrize("size", [(64, 64), (64, 96)])
    def test_sampling_with_a_reference_equals_the_stock_pipeline(self, size: tuple[int, int]) -> None:
        """A reference picture is part of the condition: another one gives another velocity, and sums keep it."""
        pipeline = flux(kontext=True)
        backbone = le.from_pipeline(pipeline, settings=SETTINGS)
        assert backbone.capabilities.guidance == 2.5
        shape = (1, *backbone.latent_shape(*size))
        z, reference = (draw(shape, seed=4, purpose=purpose) for purpose in ("start", "reference"))
        told = dataclasses.replace(backbone.embed([CAPTION]), reference=(reference,))
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
        grid = backbone.grid(STEPS, height_px=size[0], width_px=size[1])
        field = GuidedField(backbone=backbone, condition=told, guidance=2.5)
        assert (
            relative_error(sample(field, z, grid, EulerSolver()).final, unpack(stock, (size[0] // 16, size[1] // 16)))
            <= PARITY
        )
        s, other = torch.tensor([0.5]), dataclasses.replace(told, reference=(z,))
        assert relative_error(backbone.velocity(z, s, other), backbone.velocity(z, s, told)) > 1e-3
        assert (told + told).reference is told.reference
