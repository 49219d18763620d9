"""Randomly initialised U-Net folders of a few hundred kilobytes: Stable Diffusion 1 or 2, and a DDPM on pixels.

Nothing in them is trained: they exist so that an adapter can be compared with the stock pipeline without a download.
"""

from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from latentedit.models.libraries import quiet_libraries
from latentedit.testing.miniature import CLIP_TOKENS, clip_tokenizer, draw_weights

TEXT_WIDTH = 16
_CHANNELS = 4

TrainedFor = Literal["epsilon", "v_prediction", "sample"]
"""What a U-Net of the family may predict."""


def miniature_sd(folder: Path, *, prediction: TrainedFor = "epsilon", seed: int = 0) -> Path:
    """Save a tiny stock Stable Diffusion pipeline: two sizes of blocks, pictures of 64 px, latents of 8 x 8.

    Args:
        folder: written to; made if it does not exist.
        prediction: what the U-Net is said to predict, in the scheduler's configuration; the betas are the real ones.
        seed: of every weight. The global random state is left as it was.

    Returns:
        The folder.
    """
    with torch.random.fork_rng(devices=[]):
        parts: dict[str, Any] = {"unet": _conditional_unet(), "vae": _autoencoder(), "text_encoder": _clip()}
    generator = torch.Generator().manual_seed(seed)
    for part in parts.values():
        draw_weights(part, generator)
    none: Any = None
    build: Any = StableDiffusionPipeline  # its annotations know an enumeration of schedulers only
    with quiet_libraries():
        build(
            **parts,
            tokenizer=clip_tokenizer(pad_token="<|endoftext|>"),
            scheduler=DDIMScheduler(
                beta_schedule="scaled_linear",
                beta_start=0.00085,
                beta_end=0.012,
                clip_sample=False,
                set_alpha_to_one=False,
                steps_offset=1,
                prediction_type=prediction,
            ),
            safety_checker=none,
            feature_extractor=none,
            requires_safety_checker=False,
        ).save_pretrained(folder, safe_serialization=True)
    return Path(folder)


def miniature_ddpm(folder: Path, *, learned_variance: bool = False, seed: int = 0) -> Path:
    """Save a tiny stock DDPM pipeline: two sizes of blocks, pictures of 16 px.

    Args:
        folder: written to; made if it does not exist.
        learned_variance: six channels out, of which the last three are variances.
        seed: of every weight. The global random state is left as it was.

    Returns:
        The folder.
    """
    with torch.random.fork_rng(devices=[]):
        unet = UNet2DModel(
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
    with quiet_libraries():
        DDPMPipeline(unet=unet, scheduler=DDPMScheduler()).save_pretrained(folder, safe_serialization=True)
    return Path(folder)


def _conditional_unet() -> nn.Module:
    build: Any = UNet2DConditionModel  # its annotations say tuples of four
    return build(
        sample_size=8,
        in_channels=_CHANNELS,
        out_channels=_CHANNELS,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=2,
    )


def _autoencoder() -> nn.Module:
    down: Any = ("DownEncoderBlock2D",) * 4
    up: Any = ("UpDecoderBlock2D",) * 4
    widths: Any = (4, 4, 8, 8)
    return AutoencoderKL(
        down_block_types=down,
        up_block_types=up,
        block_out_channels=widths,
        norm_num_groups=4,
        latent_channels=_CHANNELS,
        sample_size=64,
        scaling_factor=0.18215,
    )


def _clip() -> nn.Module:
    tokenizer: Any = clip_tokenizer(pad_token="!")
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CLIP_TOKENS,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)
