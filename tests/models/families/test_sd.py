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
from latentedit.models.unet import StableDiffusionBackbone
from tests.miniatures.noise import sd_pipeline
from tests.models.families.family import SETTINGS, VPContract, configured
from tests.models.folders import folder_with


class TestNoise(VPContract):
    make = sd_pipeline
    guidance = (7.5, "cfg")
    misfits = (
        ("latent channels of the denoiser is 9, .* 4", configured("unet", in_channels=9)),
        ("latent channels of the denoiser is 8, .* 4", configured("unet", in_channels=8, out_channels=8)),
        ("text width of the denoiser is 8, .* 16", configured("unet", cross_attention_dim=[16, 8])),
        ("text width of the denoiser is 24, .* 16", configured("unet", cross_attention_dim=24)),
        ("num_class_embeds = 3", configured("unet", num_class_embeds=3)),
        ("addition_embed_type", configured("unet", addition_embed_type="text")),
        ("encoder_hid_dim_type", configured("unet", encoder_hid_dim_type="ip_image_proj")),
        ("time_cond_proj_dim", configured("unet", time_cond_proj_dim=256)),
        ("fourier", configured("unet", time_embedding_type="fourier")),
    )

    def build(self) -> Any:
        pipeline = super().build()
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, set_alpha_to_one=True)
        return pipeline

    def test_the_network_is_evaluated_at_whole_trained_times_on_its_grid(self, backbone: Any) -> None:
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
    misfits = ()


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
def test_for_any_the_scheduler_its_betas_are_walked_with_ddim(
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
