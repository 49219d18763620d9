"""Qwen-Image and its edit models against their stock pipelines."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus

import latentedit as le
from latentedit.numerics.rng import draw
from tests.miniatures.flow import qwen_image
from tests.models.families.family import (
    CAPTION,
    PARITY,
    SETTINGS,
    SIZES,
    Packed,
    Variants,
    call_arguments,
    noise_image,
    sample_with_references,
    set_config,
)
from tests.testing.tolerances import relative_error


class TestQwenImage(Packed, Variants):
    make = qwen_image
    half_tolerance = 0.15  # the stock pipeline rounds time differently: see the test below
    daily_variants = ("groups", "lora")
    guidance = (4.0, "renormalized")
    chat_as_published = False
    longest_caption = 512  # the beginning of the chat does not count
    invalid_changes = ((r"16.*4", set_config("transformer", in_channels=64)),)

    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {"true_cfg_scale": weight, "negative_prompt": ""}

    def test_in_half_precision_only_the_rounding_of_time_differs(self) -> None:
        """The stock pipeline rounds 1000 s to bfloat16."""
        pipeline = self.build().to(torch.bfloat16)
        backbone: Any = le.from_pipeline(pipeline, settings=SETTINGS)
        backbone._time = lambda s, _z: (1000 * s).to(torch.bfloat16) / 1000
        z = self.start(backbone, (64, 64))
        stock = self.canonical_latents(self.stock_image(pipeline, 1.0, (64, 64), z.to(torch.bfloat16)), z).float()
        assert relative_error(self.our_sample(backbone, 1.0, (64, 64), z), stock) <= 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("size", "zero_cond_t"), [(SIZES[0], False), (SIZES[1], True)])
def test_sampling_with_references_equals_the_stock_pipeline(
    size: tuple[int, int], zero_cond_t: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two images of different shapes, references at the image's time or at time 0, guided and renormalized."""
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 64 * 64)
    pipeline = qwen_image("plus", zero_cond_t=zero_cond_t)
    backbone = le.from_pipeline(pipeline, settings=SETTINGS)
    assert backbone.capabilities.references == 3
    images = [noise_image(height, width) for height, width in ((64, 64), (32, 128))]
    reference = tuple(
        backbone.encode(torch.as_tensor(pipeline.image_processor.preprocess(image, image.height, image.width)))
        for image in images
    )
    z = draw((1, *backbone.latent_shape(*size)), seed=4, purpose="start")
    condition = dataclasses.replace(backbone.embed([CAPTION]), reference=reference)
    texts = [pipeline.encode_prompt(text, image=None)[0] for text in (CAPTION, "")]
    stock = pipeline(
        image=images,
        prompt_embeds=texts[0],
        negative_prompt_embeds=texts[1],
        latents=Packed().stock_latents(z),
        true_cfg_scale=3.0,
        **call_arguments(size),
    ).images
    ours = sample_with_references(backbone, condition, z, 3.0, size, renormalized=True)
    assert relative_error(ours, Packed().canonical_latents(stock, z)) <= PARITY


@pytest.mark.slow
def test_edit_models_use_their_own_chat_template(tmp_path: Path) -> None:
    """The later stock pipeline embeds captions so if there is no image; the first one has the same template.

    A folder needs no processor.
    """
    pipeline = qwen_image("plus")
    with torch.no_grad():
        expected = pipeline.encode_prompt(CAPTION, image=None)[0]
    pipeline.save_pretrained(tmp_path / "model", safe_serialization=True)
    models = [le.from_pipeline(one, settings=SETTINGS) for one in (pipeline, qwen_image("edit"), qwen_image())]
    for model in (*models[:2], le.load(tmp_path / "model", device="cpu")):
        condition: Any = model.embed([CAPTION])
        assert relative_error(condition.tokens[:, : expected.shape[1]], expected) <= 1e-5
        assert int(condition.mask.sum()) == expected.shape[1]
    plain: Any = models[2].embed([CAPTION])
    assert int(plain.mask.sum()) < expected.shape[1]
