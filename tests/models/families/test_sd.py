"""Stable Diffusion 1 and 2 against the stock pipeline with DDIM."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)
from torch import Tensor

import latentedit as le
from latentedit.models.registry import load
from latentedit.models.sd import StableDiffusionBackbone
from latentedit.testing.miniatures.noise import sd_pipeline
from latentedit.testing.tolerances import relative_error
from tests.models.families.family import CAPTION, PARITY, SETTINGS, VPContract
from tests.models.folders import folder_with


class TestNoise(VPContract):
    make = sd_pipeline
    guidance = (7.5, "cfg")
    image_to_image = (StableDiffusionImg2ImgPipeline, {"requires_safety_checker": False})

    def build(self) -> Any:
        pipeline = super().build()
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, set_alpha_to_one=True)
        return pipeline

    def test_prompt_embeddings_equal_the_pipelines(self, pipeline: Any, backbone: Any) -> None:
        texts = [CAPTION, "", "zebra, a very long and unknown text that no tokenizer of twenty tokens takes as a whole"]
        with torch.no_grad():  # the kernels that PyTorch chooses with and without gradients round differently
            tokens, _ = pipeline.encode_prompt(texts, "cpu", 1, False)
            condition = backbone.embed(texts)
        assert relative_error(condition.tokens, tokens) <= 1e-6
        assert condition.pooled.shape == (3, 0)

    def test_the_network_is_asked_at_whole_trained_times_on_its_grid(self, backbone: Any) -> None:
        seen: list[Tensor] = []
        hook = backbone._network.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[1]))
        levels, z = torch.tensor(backbone.grid(50).levels[:-1]), self.start(backbone, (64, 64))
        backbone.velocity(z.expand(50, -1, -1, -1), levels, backbone.embed([""]))
        backbone.velocity(z, torch.tensor([0.5]), backbone.embed([""]))
        hook.remove()
        assert seen[0].tolist() == list(range(981, 0, -20))
        assert not float(seen[1]).is_integer()


class TestVelocity(TestNoise):
    make = functools.partial(sd_pipeline, prediction="v_prediction")


@pytest.mark.nightly
@pytest.mark.parametrize(
    "settings",
    [
        {"timestep_spacing": "trailing"},
        {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"num_train_timesteps": 200, "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.05},
    ],
    ids=["trailing", "zero terminal SNR", "cosine", "200 times"],
)
def test_schedules_equal_the_stock_pipelines(settings: dict[str, Any]) -> None:
    family = TestVelocity()
    pipeline = family.build()
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, **settings)
    backbone = le.from_pipeline(pipeline, settings=SETTINGS)
    z = family.start(backbone, (64, 64))
    stock = family.stock_picture(pipeline, 2.0, (64, 64), z)
    assert relative_error(family.ours(backbone, 2.0, (64, 64), z), stock) <= PARITY


@pytest.mark.parametrize(("spacing", "expected"), [("trailing", (1.0, "none")), ("leading", (7.5, "cfg"))])
def test_turbo_is_known_by_its_scheduler(spacing: str, expected: tuple[float, str]) -> None:
    """Of either class of pipeline."""
    pipeline = sd_pipeline()
    config = pipeline.scheduler.config
    pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(config, timestep_spacing=spacing)
    for kind in (type(pipeline), StableDiffusionImg2ImgPipeline):
        live: Any = kind(**pipeline.components, requires_safety_checker=False)
        capabilities = le.from_pipeline(live, settings=SETTINGS).capabilities
        assert (capabilities.guidance, capabilities.guidance_kind) == expected


@pytest.mark.parametrize("scheduler", [PNDMScheduler, EulerDiscreteScheduler], ids=["PNDM", "Euler"])
def test_whatever_the_scheduler_its_betas_are_walked_with_ddim(
    folder_sd: Path, sd: StableDiffusionBackbone, tmp_path: Path, scheduler: Any
) -> None:
    """Stable Diffusion 1.5 ships PNDM, others Euler: same betas, same network, same velocity.

    The safety checker that it names too is not there, and nobody looks for it.
    """
    folder = folder_with(
        folder_sd,
        tmp_path / "model",
        "model_index.json",
        scheduler=["diffusers", scheduler.__name__],
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )
    made = scheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="leading")
    made.save_pretrained(folder / "scheduler")
    backbone = load(folder, device="cpu")
    assert backbone.grid(20) == sd.grid(20)
    assert (backbone.capabilities, backbone.fingerprint) == (sd.capabilities, sd.fingerprint)


@pytest.mark.nightly
def test_folders_from_before_diffusers_0_9_are_of_512_px(folder_sd: Path, tmp_path: Path) -> None:
    """Their configurations say 32 latents a side, or none that is right, and the stock pipeline takes 64."""
    for version, preferred in (("0.8.1", 512), ("0.9.0", 64)):
        place = folder_with(folder_sd, tmp_path / version, "unet/config.json", _diffusers_version=version)
        assert load(place, device="cpu").capabilities.sizes[1] == preferred
        assert StableDiffusionPipeline.from_pretrained(place).unet.config.sample_size * 8 == preferred
