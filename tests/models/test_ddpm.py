"""The adapter of pixel models against the stock network and scheduler, on miniatures with random weights."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image
from torch import Tensor

import latentedit as le
from latentedit.core.errors import ConfigError, ModelError, ShapeError
from latentedit.models.base import Backbone
from latentedit.models.families.unet import DDPMBackbone
from latentedit.models.guidance import GuidedField
from latentedit.models.registry import load
from latentedit.numerics.rng import draw, seeded
from latentedit.numerics.solvers import EulerSolver, integrate
from latentedit.testing.contracts.backbone import BackboneContract
from tests.miniatures.noise import miniature_ddpm
from tests.models.folders import folder_with
from tests.testing.tolerances import relative_error

PARITY = 1e-4
SCHEDULER = "scheduler/scheduler_config.json"


class TestContract(BackboneContract):
    texts = ()

    @pytest.fixture
    def backbone(self, ddpm: DDPMBackbone) -> Backbone:
        return ddpm


def stock_sample(folder: Path, x_t: Tensor, steps: int, **settings: Any) -> Tensor:
    """DDIM as in the stock pipeline, without clipping the image at the end."""
    unet: Any = UNet2DModel.from_pretrained(folder / "unet")
    scheduler: Any = DDIMScheduler.from_pretrained(folder / "scheduler", **settings)
    scheduler.set_timesteps(steps)
    with torch.no_grad():
        for time in scheduler.timesteps:
            output = unet(x_t, time).sample[:, :3]
            x_t = scheduler.step(output, time, x_t).prev_sample
    return x_t


def own_sample(backbone: Backbone, x_t: Tensor, steps: int) -> Tensor:
    grid = backbone.grid(steps)
    first = grid.levels[0]
    field = GuidedField(backbone=backbone, condition=backbone.embed([""]))
    return integrate(field, x_t * ((1 - first) ** 2 + first**2) ** 0.5, grid.levels, EulerSolver())


@pytest.mark.slow_except("sample-False")
@pytest.mark.parametrize(("prediction", "learned"), [("epsilon", True), ("sample", False), ("v_prediction", False)])
def test_sampling_equals_the_stock_sampler_without_clipping(tmp_path: Path, prediction: str, learned: bool) -> None:
    """Learned variances are ignored."""
    miniature = miniature_ddpm(tmp_path / "made", learned_variance=learned)
    folder = folder_with(miniature, tmp_path / "model", SCHEDULER, prediction_type=prediction)
    x_t = draw((1, 3, 16, 32), seed=3, purpose="start")
    got = own_sample(load(folder, device="cpu"), x_t, 5)
    assert relative_error(got, stock_sample(folder, x_t, 5, clip_sample=False)) <= PARITY
    assert relative_error(got, stock_sample(folder, x_t, 5, clip_sample=True)) > 100 * PARITY


def test_pixels_are_the_latents_and_texts_are_not_read(ddpm: DDPMBackbone) -> None:
    pixels = draw((1, 3, 16, 24), seed=0, purpose="pixels")
    assert torch.equal(ddpm.decode(ddpm.encode(pixels)), pixels)
    assert ddpm.latent_shape(16, 24) == (3, 16, 24)
    assert (ddpm.capabilities.size_multiple, ddpm.capabilities.sizes) == (2, (4, 16, 24))
    with pytest.raises(ShapeError):
        ddpm.encode(pixels[..., :-1])
    condition = ddpm.embed(["a face", ""])
    assert (condition.tokens.shape, condition.pooled.shape) == ((2, 1, 1), (2, 0))
    assert ddpm.caption_notes(["a face"]) == ["the caption was not read: this model takes no text"]
    assert ddpm.caption_notes(["", " "]) == []


def test_a_text_is_refused_before_any_evaluation(ddpm: DDPMBackbone) -> None:
    image, text = Image.new("RGB", (16, 16), "gray"), {"source_prompt": "a face", "change": "=> a hat"}
    latent = le.encode(ddpm, image, source_prompt="a face")
    with ddpm.count() as spent:
        for act in (
            lambda: le.edit(ddpm, image, **text),
            lambda: le.sweep(ddpm, image, strengths=[0, 1], **text),
            lambda: le.Session(latent).edit(change="=> a hat", method="sdedit"),
            lambda: le.identify(latent, change="=> a hat"),
        ):
            with pytest.raises(ConfigError, match="takes no text"):
                act()
    assert spent.evaluations == 0


def test_parts_at_the_root_load_as_parts_in_folders(folder_ddpm, ddpm, tmp_path) -> None:
    """The layout of ``google/ddpm-*`` on the hub."""
    files = ("model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", SCHEDULER)
    for file in files:
        shutil.copy(folder_ddpm / file, tmp_path)
    backbone = load(tmp_path, device="cpu")
    assert backbone.fingerprint == ddpm.fingerprint
    assert backbone.grid(7) == ddpm.grid(7)


def test_models_of_gray_images_are_rejected() -> None:
    build: Any = seeded(0)(UNet2DModel)
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (4,)}
    gray = build(in_channels=1, out_channels=1, norm_num_groups=4, **blocks)
    with pytest.raises(ModelError):
        le.from_pipeline(DDPMPipeline(unet=gray, scheduler=DDPMScheduler()))
