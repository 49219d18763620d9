"""FLUX.1 dev, schnell and Kontext against their stock pipelines."""

import dataclasses
import functools
from typing import Any, ClassVar

import pytest

import latentedit as le
from latentedit.models.codec import pack, unpack
from latentedit.numerics.rng import draw
from tests.miniatures.flow import flux
from tests.models.families.family import (
    CAPTION,
    PARITY,
    SETTINGS,
    SIZES,
    Distilled,
    Packed,
    Variants,
    call_arguments,
    sample_with_references,
)
from tests.testing.tolerances import relative_error


class TestDev(Packed, Variants):
    make = flux
    guidance = (3.5, "embedded")
    daily_variants = ("bfloat16", "fp8")


class TestSchnell(Packed, Distilled):
    make = functools.partial(flux, guidance_embeds=False)
    arguments: ClassVar[dict[str, Any]] = {"max_sequence_length": 256}
    kind_at_one = ""


@pytest.mark.slow_except("size0")
@pytest.mark.parametrize("size", SIZES)
def test_sampling_with_a_reference_equals_kontext(size: tuple[int, int]) -> None:
    """A reference image is part of the condition, and sums of conditions keep it."""
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
        max_area=size[0] * size[1],
        guidance_scale=2.5,
        **call_arguments(size),
    ).images
    ours = sample_with_references(backbone, condition, z, 2.5, size)
    assert relative_error(ours, unpack(stock, (size[0] // 16, size[1] // 16))) <= PARITY
    assert (condition + condition).reference is condition.reference
