"""Randomly initialised model folders of a few hundred kilobytes: Stable Diffusion 3, 1 or 2, and a DDPM on pixels.

Nothing in them is trained: they exist so that an adapter can be compared with the stock pipeline without a download.
"""

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from latentedit.core.rng import seeded
from latentedit.models.libraries import quiet_libraries

WORDS = ("a", "and", "beard", "black", "face", "glasses", "hair", "no", "on", "person", "red", "smile", "wall", "with")
CLIP_TOKENS = 20
TEXT_WIDTH = 32
UNET_TEXT_WIDTH = 16

TrainedFor = Literal["epsilon", "v_prediction", "sample"]
"""What a U-Net of the family may predict."""


def miniature_sd3(folder: Path, *, t5: bool, channels: int = 16, seed: int = 0) -> Path:
    """Save `sd3_pipeline` and return the folder, which is made if it does not exist."""
    return _saved(sd3_pipeline(t5=t5, channels=channels, seed=seed), folder)


def sd3_pipeline(*, t5: bool, channels: int = 16, seed: int = 0) -> Any:
    """A tiny stock SD3 pipeline: two layers, two heads, pictures of 64 px, latents of 8 x 8.

    Args:
        t5: with the third text encoder; without it, its two parts are None.
        channels: of the latent; 16 as in SD3.
        seed: of every weight. The global random state is left as it was.
    """
    with seeded(seed):
        parts: dict[str, Any] = {
            "transformer": _transformer(channels),
            "vae": _autoencoder(
                channels, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False
            ),
            "text_encoder": CLIPTextModelWithProjection(_clip_config(8, "quick_gelu")),
            "text_encoder_2": CLIPTextModelWithProjection(_clip_config(16, "gelu")),
            "text_encoder_3": _t5(len(_t5_vocabulary())) if t5 else None,
        }
    generator = torch.Generator().manual_seed(seed)
    for part in parts.values():
        if part is not None:
            draw_weights(part, generator)
    return StableDiffusion3Pipeline(
        **parts,
        tokenizer=clip_tokenizer(pad_token="<|endoftext|>"),
        tokenizer_2=clip_tokenizer(pad_token="!"),
        tokenizer_3=T5Tokenizer(vocab=_t5_vocabulary(), extra_ids=0) if t5 else None,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def miniature_sd(folder: Path, *, prediction: TrainedFor = "epsilon", seed: int = 0) -> Path:
    """Save `sd_pipeline` and return the folder, which is made if it does not exist."""
    return _saved(sd_pipeline(prediction=prediction, seed=seed), folder)


def sd_pipeline(*, prediction: TrainedFor = "epsilon", seed: int = 0) -> Any:
    """A tiny stock Stable Diffusion pipeline: two sizes of blocks, pictures of 64 px, latents of 8 x 8.

    Args:
        prediction: what the U-Net is said to predict, in the scheduler's configuration; the betas are the real ones.
        seed: of every weight. The global random state is left as it was.
    """
    with seeded(seed):
        parts: dict[str, Any] = {
            "unet": _conditional_unet(),
            "vae": _autoencoder(4, scaling_factor=0.18215),
            "text_encoder": CLIPTextModel(_clip_config(UNET_TEXT_WIDTH, "quick_gelu", projected=False)),
        }
    generator = torch.Generator().manual_seed(seed)
    for part in parts.values():
        draw_weights(part, generator)
    none: Any = None
    build: Any = StableDiffusionPipeline  # its annotations know an enumeration of schedulers only
    with quiet_libraries():
        return build(
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
        )


def miniature_ddpm(folder: Path, *, learned_variance: bool = False, seed: int = 0) -> Path:
    """Save a tiny stock DDPM pipeline: two sizes of blocks, pictures of 16 px.

    Args:
        folder: written to; made if it does not exist.
        learned_variance: six channels out, of which the last three are variances.
        seed: of every weight. The global random state is left as it was.

    Returns:
        The folder.
    """
    with seeded(seed):
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
    return _saved(DDPMPipeline(unet=unet, scheduler=DDPMScheduler()), folder)


def _saved(pipeline: Any, folder: Path) -> Path:
    with quiet_libraries():
        pipeline.save_pretrained(folder, safe_serialization=True)
    return Path(folder)


def clip_tokenizer(words: Sequence[str] = WORDS, *, length: int = CLIP_TOKENS, pad_token: str) -> CLIPTokenizer:
    """A CLIP tokenizer that spells each of ``words`` as one token, and every other word letter by letter."""
    symbols = [*string.ascii_lowercase, *string.digits, *"!,.-'"]
    vocabulary = [*symbols, *(f"{symbol}</w>" for symbol in symbols)]
    merges: list[tuple[str, str]] = []
    for word in sorted(words, key=len, reverse=True):  # else a merge of "on" would break "person" apart
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        for index in range(1, len(pieces)):
            left = "".join(pieces[:index])
            if (left, pieces[index]) not in merges:
                merges.append((left, pieces[index]))
                vocabulary.append(left + pieces[index])
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    numbered = {token: number for number, token in enumerate(dict.fromkeys(vocabulary))}
    rules: Any = merges
    return CLIPTokenizer(vocab=numbered, merges=rules, pad_token=pad_token, model_max_length=length)


def _t5_vocabulary() -> list[tuple[str, float]]:
    """Pieces and log-probabilities of a Unigram tokenizer: the words, then single letters, far less likely."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -4.0)]
    words = [(f"\u2581{word}", -2.0) for word in WORDS]
    return [*special, *words, *((letter, -9.0) for letter in [*string.ascii_lowercase, *",.-"])]


def _transformer(channels: int) -> nn.Module:
    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=channels,
        out_channels=channels,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=8,
        joint_attention_dim=TEXT_WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=24,
        pos_embed_max_size=12,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )


def _conditional_unet() -> nn.Module:
    build: Any = UNet2DConditionModel  # its annotations say tuples of four
    return build(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=UNET_TEXT_WIDTH,
        attention_head_dim=2,
    )


def _autoencoder(channels: int, **settings: Any) -> nn.Module:
    down: Any = ("DownEncoderBlock2D",) * 4
    up: Any = ("UpDecoderBlock2D",) * 4
    widths: Any = (4, 4, 8, 8)
    return AutoencoderKL(
        down_block_types=down,
        up_block_types=up,
        block_out_channels=widths,
        norm_num_groups=4,
        latent_channels=channels,
        sample_size=64,
        **settings,
    )


def _clip_config(width: int, activation: str, *, projected: bool = True) -> CLIPTextConfig:
    tokenizer: Any = clip_tokenizer(pad_token="!")
    projection: dict[str, Any] = {"projection_dim": width} if projected else {}
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CLIP_TOKENS,
        hidden_act=activation,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **projection,
    )


def _t5(vocabulary: int) -> nn.Module:
    config = T5Config(
        vocab_size=vocabulary,
        d_model=TEXT_WIDTH,
        d_kv=8,
        d_ff=2 * TEXT_WIDTH,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config)


def draw_weights(module: nn.Module, generator: torch.Generator) -> None:
    """Matrices with variance 1 / fan-in, norm gains near 1, biases near 0; in the order of the parameters' names."""
    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(0.1 * noise + (1.0 if name.endswith("weight") else 0.0))
