"""Stable Diffusion 3 with random weights, a few hundred kilobytes, made without a download.

Nothing in it is trained: it shows that code works, and an adapter can be compared with the stock pipeline.
"""

import functools
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from latentedit.models.libraries import quiet_libraries
from latentedit.numerics.rng import seeded

WORDS = ("a", "and", "beard", "black", "face", "glasses", "hair", "no", "on", "person", "red", "smile", "wall", "with")
"""Words that are one token each."""

CLIP_TOKENS = 20
T5_WIDTH = 16

_diffusers: Any = diffusers
"""Annotations of constructors there name schedulers, autoencoders and tuples more narrowly than the code takes them."""


def draw_weights(module: nn.Module, generator: torch.Generator) -> None:
    """Matrices with variance 1 / fan-in, norm gains near 1, biases near 0; in the order of the parameters' names."""
    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(0.1 * noise + (1.0 if name.endswith("weight") else 0.0))


def miniature(build: Callable[..., Any], *, order: Sequence[str] = ()) -> Callable[..., Any]:
    """A function that makes a pipeline with seeded weights, and takes another keyword, the ``seed`` (0 by default).

    The networks are in evaluation mode, and the global random state is left as it was. ``order`` names the networks in
    the order in which their weights are drawn, which is sorted by default.
    """

    @functools.wraps(build)
    def made(*arguments: Any, seed: int = 0, **settings: Any) -> Any:
        with quiet_libraries(), seeded(seed):
            pipeline = build(*arguments, **settings)
        generator = torch.Generator().manual_seed(seed)
        for name in order or sorted(pipeline.components):
            part = pipeline.components[name]
            if isinstance(part, nn.Module):
                draw_weights(part, generator)
                part.eval()
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return made


def saved(pipeline: Any, folder: Path) -> Path:
    """Save a pipeline and return its folder."""
    with quiet_libraries():
        pipeline.save_pretrained(folder, safe_serialization=True)
    return Path(folder)


def clip_tokenizer(pad_token: str) -> CLIPTokenizer:
    """A CLIP tokenizer that spells each of `WORDS` as one token, and every other word letter by letter."""
    symbols = [*string.ascii_lowercase, *string.digits, *"!,.-'"]
    vocabulary = [*symbols, *(f"{symbol}</w>" for symbol in symbols)]
    merges: list[tuple[str, str]] = []
    for word in sorted(WORDS, key=len, reverse=True):  # else a merge of "on" would break "person" apart
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        for index in range(1, len(pieces)):
            left = "".join(pieces[:index])
            if (left, pieces[index]) not in merges:
                merges.append((left, pieces[index]))
                vocabulary.append(left + pieces[index])
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    numbered = {token: number for number, token in enumerate(dict.fromkeys(vocabulary))}
    rules: Any = merges
    return CLIPTokenizer(vocab=numbered, merges=rules, pad_token=pad_token, model_max_length=CLIP_TOKENS)


def clip_text(
    width: int = 16,
    suffix: str = "",
    *,
    projected: bool = False,
    pad_token: str = "<|endoftext|>",
    activation: str = "quick_gelu",
) -> dict[str, Any]:
    """CLIP's tokenizer and text encoder, with or without a projection of the pooled text."""
    tokenizer: Any = clip_tokenizer(pad_token=pad_token)
    projection: dict[str, Any] = {"projection_dim": width} if projected else {}
    config = CLIPTextConfig(
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
    encoder = (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)
    return {f"tokenizer{suffix}": tokenizer, f"text_encoder{suffix}": encoder}


def t5_text(width: int = T5_WIDTH, suffix: str = "", *, multilingual: bool = False) -> dict[str, Any]:
    """T5's tokenizer and encoder, or the encoder of UMT5: words are one token, others are spelt in letters."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -4.0)]
    words = [(f"\u2581{word}", -2.0) for word in WORDS]
    pieces = [*special, *words, *((letter, -9.0) for letter in [*string.ascii_lowercase, *",.-"])]
    settings: dict[str, Any] = {
        "vocab_size": len(pieces),
        "d_model": width,
        "d_kv": 8,
        "d_ff": 2 * width,
        "num_layers": 2,
        "num_heads": 2,
        "feed_forward_proj": "gated-gelu",
    }
    encoder = UMT5EncoderModel(UMT5Config(**settings)) if multilingual else T5EncoderModel(T5Config(**settings))
    return {f"tokenizer{suffix}": T5Tokenizer(vocab=pieces, extra_ids=0), f"text_encoder{suffix}": encoder}


def autoencoder_kl(channels: int, *, kind: Any = AutoencoderKL, **settings: Any) -> Any:
    """An AutoencoderKL, or a class like it, of 8 px a latent."""
    return kind(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        norm_num_groups=4,
        latent_channels=channels,
        sample_size=64,
        **settings,
    )


@functools.partial(miniature, order=("transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3"))
def sd3_pipeline(*, t5: bool, channels: int = 16) -> Any:
    """Stable Diffusion 3: two layers, two heads, images of 64 px, latents of 8 x 8.

    Args:
        t5: with the third text encoder; without it, its two parts are None.
        channels: of the latent; 16 as in SD3.
    """
    return _diffusers.StableDiffusion3Pipeline(
        **clip_text(8, projected=True),
        **clip_text(16, "_2", projected=True, pad_token="!", activation="gelu"),
        **(t5_text(32, "_3") if t5 else {"tokenizer_3": None, "text_encoder_3": None}),
        vae=autoencoder_kl(
            channels, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False
        ),
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=channels,
            out_channels=channels,
            num_layers=2,
            num_attention_heads=2,
            attention_head_dim=8,
            joint_attention_dim=32,
            caption_projection_dim=16,
            pooled_projection_dim=24,
            pos_embed_max_size=12,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def miniature_sd3(folder: Path, *, t5: bool, channels: int = 16, seed: int = 0) -> Path:
    """Save `sd3_pipeline` and return the folder, which is made if it does not exist."""
    return saved(sd3_pipeline(t5=t5, channels=channels, seed=seed), folder)
