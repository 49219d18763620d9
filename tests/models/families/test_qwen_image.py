"""Qwen-Image and its edit models against their stock pipelines."""

import dataclasses
from typing import Any

import pytest
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from PIL import Image

import latentedit as le
from latentedit.core.errors import ModelError, ShapeError
from latentedit.core.rng import draw
from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.integrate import sample
from latentedit.models.guidance import GuidedField
from latentedit.testing.miniatures.qwen_image import qwen_image
from latentedit.testing.tolerances import relative_error
from tests.models.families.family import CAPTION, PARITY, SETTINGS, STEPS, error_with_rounded_time
from tests.models.families.test_flux import Packed


class TestQwenImage(Packed):
    half_tolerance = 0.15  # the stock pipeline rounds time otherwise than ours: see the test of that

    def build(self) -> Any:
        return qwen_image()

    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {"true_cfg_scale": weight, "negative_prompt": ""}


def test_in_half_precision_only_the_rounding_of_time_differs() -> None:
    """The stock pipeline rounds 1000 s."""
    assert error_with_rounded_time(TestQwenImage(), lambda s: (1000 * s).to(torch.bfloat16) / 1000) <= 0.02


@pytest.mark.parametrize("zero_cond_t", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_sampling_with_references_equals_the_stock_pipeline(
    size: tuple[int, int], zero_cond_t: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pictures of different shapes, references at the picture's time or at time 0, guided and renormalised."""
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 64 * 64)
    pipeline = qwen_image("plus", zero_cond_t=zero_cond_t)
    backbone = le.from_pipeline(pipeline, settings=SETTINGS)
    images = [noise_picture(height, width) for height, width in ((64, 64), (32, 128))]
    reference = tuple(
        backbone.encode(torch.as_tensor(pipeline.image_processor.preprocess(image, image.height, image.width)))
        for image in images
    )
    z = draw((1, *backbone.latent_shape(*size)), seed=4, purpose="start")
    told = dataclasses.replace(backbone.embed([CAPTION]), reference=reference)
    texts = [pipeline.encode_prompt(text, image=None)[0] for text in (CAPTION, "")]
    stock = pipeline(
        image=images,
        prompt_embeds=texts[0],
        negative_prompt_embeds=texts[1],
        latents=Packed().stock_latents(z),
        height=size[0],
        width=size[1],
        num_inference_steps=STEPS,
        true_cfg_scale=3.0,
        output_type="latent",
    ).images
    field = GuidedField(backbone=backbone, condition=told, guidance=3.0, renormalised=True)
    grid = backbone.grid(STEPS, height_px=size[0], width_px=size[1])
    ours = sample(field, z, grid, EulerSolver()).final
    assert relative_error(ours, Packed().own_latents(stock, z)) <= PARITY
    s, swapped = torch.tensor([0.5]), dataclasses.replace(told, reference=reference[::-1])
    assert relative_error(backbone.velocity(z, s, swapped), backbone.velocity(z, s, told)) > 1e-3


def noise_picture(height: int, width: int) -> Image.Image:
    noise = draw((height, width, 3), seed=5, purpose="picture").sigmoid()
    return Image.fromarray((noise * 255).to(torch.uint8).numpy())


@pytest.mark.nightly
def test_edit_models_read_the_words_within_their_own_chat() -> None:
    """As the later stock pipeline embeds them without a picture; the first one has the same chat around the words."""
    pipeline = qwen_image("plus")
    with torch.no_grad():
        expected = pipeline.encode_prompt(CAPTION, image=None)[0]
    for model in (pipeline, qwen_image("edit")):
        told = le.from_pipeline(model, settings=SETTINGS).embed([CAPTION])
        length = expected.shape[1]
        assert relative_error(told.tokens[:, :length], expected) <= 1e-6
        assert told.mask is not None
        assert int(told.mask.sum()) == length
    plain = le.from_pipeline(qwen_image(), settings=SETTINGS).embed([CAPTION])
    assert plain.mask is not None
    assert int(plain.mask.sum()) < length


def test_an_edit_model_keeps_its_folder(tmp_path: Any) -> None:
    """Without its processor, which nothing here reads."""
    pipeline = qwen_image("plus")
    pipeline.save_pretrained(tmp_path / "model", safe_serialization=True)
    loaded = le.load(tmp_path / "model", device="cpu")
    expected = le.from_pipeline(pipeline).embed([CAPTION])
    assert relative_error(loaded.embed([CAPTION]).tokens, expected.tokens) <= 1e-5


def test_long_captions_lose_their_end() -> None:
    """The beginning of the chat takes nothing of the window."""
    backbone = le.from_pipeline(qwen_image(), settings=SETTINGS)
    assert backbone.caption_notes(["x" * 512]) == []
    assert "512 tokens" in backbone.caption_notes(["x" * 513])[0]


def test_what_does_not_fit_is_refused() -> None:
    """Parts of two models, and references where the model takes none, by name."""
    pipeline = qwen_image()
    backbone = le.from_pipeline(pipeline, settings=SETTINGS)
    z = draw((1, *backbone.latent_shape(64, 64)), seed=4, purpose="start")
    told = dataclasses.replace(backbone.embed([CAPTION]), reference=(z,))
    with pytest.raises(ShapeError, match="takes no reference pictures"):
        backbone.velocity(z, torch.tensor([0.5]), told)
    pipeline.transformer.register_to_config(in_channels=64)
    with pytest.raises(ModelError, match="takes latents of 16 channels; the VAE gives 4"):
        le.from_pipeline(pipeline)
