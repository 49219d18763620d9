"""Qwen-Image 2.1 and Turbo against their stock pipelines, including the modular one."""

import dataclasses
import functools
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

import latentedit as le
from latentedit.numerics.rng import draw
from tests.miniatures.flow import qwen_image21
from tests.models.families.family import (
    CAPTION,
    PARITY,
    SETTINGS,
    Distilled,
    Variants,
    call_arguments,
    noise_image,
    other_width,
    sample_with_references,
    set_config,
)
from tests.testing.tolerances import relative_error


class TestQwenImage21(Variants):
    make = qwen_image21
    half_tolerance = 0.15  # the stock pipeline rounds time differently, as for Qwen-Image
    guidance = (1.0, "cfg")
    longest_caption = 1024 - 19  # the chat around the prompt
    invalid_changes = (
        other_width("context_in_dim"),
        (r"8.*4", set_config("transformer", in_channels=8)),
    )

    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {"true_cfg_scale": weight, "negative_prompt": ""}

    def stock_latents(self, z: Tensor) -> Tensor:
        return z.flatten(2).transpose(1, 2)

    def canonical_latents(self, output: Tensor, like: Tensor) -> Tensor:
        return output.transpose(1, 2).unflatten(2, tuple(like.shape[-2:]))


class TestQwenImage21Turbo(Distilled, TestQwenImage21):
    make = functools.partial(qwen_image21, turbo=True)

    def test_levels_match_the_pipeline(self, pipeline: Any, backbone: Any) -> None:
        """For its number of steps; other numbers are interpolated."""
        assert backbone._unshifted(4) == pipeline.config.sample_sigmas
        assert backbone._unshifted(8)[::2] == pytest.approx(pipeline.config.sample_sigmas)
        assert sorted(backbone._unshifted(8), reverse=True) == backbone._unshifted(8)


@pytest.mark.slow
def test_the_modular_pipeline_gives_the_same_model_and_samples() -> None:
    pipeline = qwen_image21()
    modular: Any = diffusers.QwenImage21ModularPipeline()
    modular.update_components(**{name: part for name, part in pipeline.components.items() if part is not None})
    z, s = draw((1, 4, 4, 4), seed=0, purpose="family"), torch.tensor([0.5])
    first, second = (le.from_pipeline(one, settings=SETTINGS) for one in (pipeline, modular))
    assert torch.equal(*(model.velocity(z, s, model.embed([CAPTION])) for model in (first, second)))
    known = {**call_arguments((64, 64)), "output_type": "pt"}
    stock = modular(prompt=CAPTION, latents=TestQwenImage21().stock_latents(z), output="latents", **known)
    ours = TestQwenImage21().our_sample(second, second.capabilities.guidance, (64, 64), z)
    assert relative_error(ours, stock.reshape(z.shape)) <= PARITY


@pytest.mark.slow
@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_sampling_with_references_equals_the_stock_pipeline(weight: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images of different shapes at positions in the user's turn, with texts encoded without images."""
    pipeline = qwen_image21()
    backbone: Any = le.from_pipeline(qwen_image21(), settings=SETTINGS)
    images = [noise_image(64, 64), noise_image(32, 128)]
    pixels = [pipeline.image_processor.preprocess(image, image.height, image.width) for image in images]
    reference = tuple(backbone.encode(torch.as_tensor(one)) for one in pixels)
    condition = dataclasses.replace(backbone.embed([CAPTION]), reference=reference)
    read, turn = pipeline.encode_prompt, backbone._turn[0]

    def with_image_positions(prompt: str, image: Any, **_: Any) -> tuple[Tensor, None, Tensor]:
        tokens, _mask, is_image = read(prompt)
        positions = sum(one.width * one.height // 32**2 for one in image)
        split = [tokens[:, :turn], tokens.new_zeros(1, positions, tokens.shape[-1]), tokens[:, turn:]]
        shown = [is_image[:, :turn], is_image.new_ones(1, positions), is_image[:, turn:]]
        return torch.cat(split, 1), None, torch.cat(shown, 1)

    monkeypatch.setattr(pipeline, "encode_prompt", with_image_positions)
    z = draw((1, *backbone.latent_shape(64, 96)), seed=4, purpose="start")
    stock = pipeline(
        CAPTION,
        image=images,
        negative_prompt="",
        true_cfg_scale=weight,
        latents=TestQwenImage21().stock_latents(z),
        output_resolution=64,
        **call_arguments((64, 96)),
    ).images
    ours = sample_with_references(backbone, condition, z, weight, (64, 96))
    assert relative_error(ours, TestQwenImage21().canonical_latents(stock, z)) <= PARITY
