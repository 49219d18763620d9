"""Stable Diffusion 1 and 2 against the stock pipeline with DDIM."""

import functools
from pathlib import Path
from typing import Any

import pytest
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)

import latentedit as le
from latentedit.models.families.unet import StableDiffusionBackbone
from latentedit.models.registry import load
from tests.miniatures.noise import sd_pipeline
from tests.models.families.family import SETTINGS, VPContract, set_config
from tests.models.folders import folder_with


class TestNoise(VPContract):
    make = sd_pipeline
    guidance = (7.5, "cfg")
    invalid_changes = (
        (r"9.*4", set_config("unet", in_channels=9)),
        (r"8.*4", set_config("unet", in_channels=8, out_channels=8)),
        (r"8.*16", set_config("unet", cross_attention_dim=[16, 8])),
        (r"24.*16", set_config("unet", cross_attention_dim=24)),
        ("num_class_embeds = 3", set_config("unet", num_class_embeds=3)),
        ("addition_embed_type", set_config("unet", addition_embed_type="text")),
        ("encoder_hid_dim_type", set_config("unet", encoder_hid_dim_type="ip_image_proj")),
        ("time_cond_proj_dim", set_config("unet", time_cond_proj_dim=256)),
        ("fourier", set_config("unet", time_embedding_type="fourier")),
    )

    def build(self) -> Any:
        pipeline = super().build()
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, set_alpha_to_one=True)
        return pipeline


class TestVelocity(TestNoise):
    make = functools.partial(sd_pipeline, prediction="v_prediction")
    invalid_changes = ()


@pytest.mark.slow_except("leading-expected1")
@pytest.mark.parametrize(("spacing", "expected"), [("trailing", (1.0, "none")), ("leading", (7.5, "cfg"))])
def test_turbo_is_recognized_by_its_scheduler(spacing: str, expected: tuple[float, str]) -> None:
    """Both classes of pipelines are recognized."""
    pipeline = sd_pipeline()
    config = pipeline.scheduler.config
    pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(config, timestep_spacing=spacing)
    for kind in (type(pipeline), StableDiffusionImg2ImgPipeline):
        live: Any = kind(**pipeline.components, requires_safety_checker=False)
        capabilities = le.from_pipeline(live, settings=SETTINGS).capabilities
        assert (capabilities.guidance, capabilities.guidance_kind) == expected


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", [PNDMScheduler, EulerDiscreteScheduler], ids=["PNDM", "Euler"])
def test_any_scheduler_is_replaced_by_ddim_with_its_betas(
    folder_sd: Path, sd: StableDiffusionBackbone, tmp_path: Path, scheduler: Any
) -> None:
    """Stable Diffusion 1.5 ships PNDM, others Euler: same betas, same network, same velocity.

    The index names a safety checker that is missing, which does not matter.
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
def test_folders_from_before_diffusers_0_9_prefer_512_px(folder_sd: Path, tmp_path: Path) -> None:
    """Their configurations have a side of 32 latents or another wrong one; the stock pipeline uses 64."""
    for version, preferred in (("0.8.1", 512), ("0.9.0", 64)):
        folder = folder_with(folder_sd, tmp_path / version, "unet/config.json", _diffusers_version=version)
        assert load(folder, device="cpu").capabilities.sizes[1] == preferred
        assert StableDiffusionPipeline.from_pretrained(folder).unet.config.sample_size * 8 == preferred
