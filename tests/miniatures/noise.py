"""Pipelines that predict noise: Stable Diffusion 1 and XL, PixArt and DDPM; ``seed`` draws every weight."""

import functools
from pathlib import Path
from typing import Any, Literal

import diffusers
import torch
from diffusers import DDIMScheduler

from latentedit.numerics.rng import seeded
from latentedit.testing.miniature import T5_WIDTH, autoencoder_kl, clip_text, draw_weights, miniature, saved, t5_text

TrainedFor = Literal["epsilon", "v_prediction", "sample"]
"""The target of a U-Net's training."""

_UNET_BETAS: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}

_diffusers: Any = diffusers
"""Annotations of constructors there name schedulers, autoencoders and tuples more narrowly than the code takes them."""


@functools.partial(miniature, order=("unet", "vae", "text_encoder"))
def sd_pipeline(
    *, prediction: TrainedFor = "epsilon", widths: tuple[int, int] = (8, 16), heads: int = 2, groups: int = 4
) -> Any:
    """Stable Diffusion: two sizes of blocks, images of 64 px, latents of 8 x 8; the betas are the real ones."""
    return _diffusers.StableDiffusionPipeline(
        **clip_text(16),
        vae=autoencoder_kl(4, scaling_factor=0.18215),
        unet=_diffusers.UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=widths,
            layers_per_block=1,
            norm_num_groups=groups,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=heads,
        ),
        scheduler=DDIMScheduler(
            **_UNET_BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type=prediction
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def miniature_sd(folder: Path, *, prediction: TrainedFor = "epsilon", seed: int = 0) -> Path:
    """Save `sd_pipeline` and return the folder, which is made if it does not exist."""
    return saved(sd_pipeline(prediction=prediction, seed=seed), folder)


def miniature_ddpm(folder: Path, *, learned_variance: bool = False, seed: int = 0) -> Path:
    """Save a DDPM pipeline of two sizes of blocks and images of 16 px; with variances it has six channels out."""
    with seeded(seed):
        unet = _diffusers.UNet2DModel(
            sample_size=16,
            out_channels=6 if learned_variance else 3,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=4,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        )
    draw_weights(unet, torch.Generator().manual_seed(seed))
    return saved(diffusers.DDPMPipeline(unet=unet, scheduler=diffusers.DDPMScheduler()), folder)


@miniature
def sdxl(
    scheduler: Any = DDIMScheduler,
    *,
    settings: dict[str, Any] | None = None,
    force_zeros: bool = True,
    statistics: bool = False,
) -> Any:
    """Stable Diffusion XL: two sizes of blocks, images of 64 px, latents of 8 x 8.

    With ``force_zeros`` guidance starts from zeros, and not from the empty text; ``statistics`` gives the autoencoder's
    latents a mean and a deviation a channel.
    """
    channels = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [0.8, 1.1, 0.9, 1.3]} if statistics else {}
    return _diffusers.StableDiffusionXLPipeline(
        **clip_text(8),
        **clip_text(16, "_2", projected=True, pad_token="!"),
        vae=autoencoder_kl(4, scaling_factor=0.13025, force_upcast=True, **channels),
        unet=_diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=2,
            use_linear_projection=True,
            cross_attention_dim=24,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=16 + 6 * 4,
        ),
        scheduler=scheduler(**(_UNET_BETAS | (settings or {}))),
        force_zeros_for_empty_prompt=force_zeros,
        add_watermarker=False,
    )


@miniature
def pixart(*, sigma: bool = False) -> Any:
    """PixArt-alpha of 1024 px, which takes the size as an input, or PixArt-Sigma; two blocks, DDIM."""
    return (_diffusers.PixArtSigmaPipeline if sigma else _diffusers.PixArtAlphaPipeline)(
        **t5_text(),
        vae=autoencoder_kl(4, scaling_factor=0.13025 if sigma else 0.18215),
        transformer=_diffusers.PixArtTransformer2DModel(
            sample_size=128,
            use_additional_conditions=not sigma,
            num_layers=2,
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=4,
            out_channels=8,
            cross_attention_dim=24,
            caption_channels=T5_WIDTH,
        ),
        scheduler=DDIMScheduler(
            beta_schedule="linear", beta_start=1e-4, beta_end=0.02, clip_sample=False, set_alpha_to_one=True
        ),
    )
