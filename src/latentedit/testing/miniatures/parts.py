"""Tokenizers, text encoders and autoencoders that the miniatures of several families share."""

import string
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderKLQwenImage, AutoencoderTiny
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    GlmConfig,
    GlmModel,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from latentedit.core.rng import seeded
from latentedit.models.libraries import quiet_libraries
from latentedit.testing.miniature import CLIP_TOKENS, WORDS, clip_tokenizer, draw_weights

T5_WIDTH = 16


def drawn(build: Callable[[], Any], *, seed: int) -> Any:
    """A pipeline with seeded weights: its networks are built, drawn anew and put into evaluation mode.

    Args:
        build: makes the pipeline.
        seed: of every weight. The global random state is left as it was.
    """
    with quiet_libraries(), seeded(seed):
        pipeline = build()
    generator = torch.Generator().manual_seed(seed)
    for name in sorted(pipeline.components):
        part = pipeline.components[name]
        if isinstance(part, nn.Module):
            draw_weights(part, generator)
            part.eval()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def clip_text(width: int = 16, *, projected: bool = False, pad_token: str = "<|endoftext|>") -> tuple[Any, Any]:
    """CLIP's tokenizer and text encoder, the latter with or without a projection of the whole text."""
    tokenizer: Any = clip_tokenizer(pad_token=pad_token)
    projection: dict[str, Any] = {"projection_dim": width} if projected else {}
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CLIP_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **projection,
    )
    return tokenizer, (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def t5_text(width: int = T5_WIDTH, *, multilingual: bool = False) -> tuple[Any, Any]:
    """T5's tokenizer and encoder, or with it the encoder of UMT5."""
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
    return T5Tokenizer(vocab=pieces, extra_ids=0), encoder


CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The turns of Qwen's chats, without tools and thoughts."""


MISTRAL_CHAT_TEMPLATE = (
    "<s>{% for message in messages %}{% set mark = 'INST' if message['role'] == 'user' else "
    "'SYSTEM_PROMPT' %}[{{ mark }}]{{ message['content'][0]['text'] }}[/{{ mark }}]{% endfor %}"
)
"""The turns of Mistral's chats, without pictures and tools."""

MISTRAL_LAYERS = 31
"""FLUX.2 reads the thirtieth."""


def qwen_tokenizer(marks: Sequence[str] = ("<|im_start|>", "<|im_end|>"), *, chat_template: str = CHAT_TEMPLATE) -> Any:
    """Qwen's tokenizer: letters and a few signs, one token each, and the marks of a chat."""
    symbols = [*string.ascii_letters, *string.digits, *",.:;-'\"()<>|_/!?", "\u0120", "\u010a"]
    vocabulary = {token: number for number, token in enumerate([*symbols, "<|endoftext|>", *marks])}
    return Qwen2Tokenizer(
        vocab=vocabulary, merges=[], additional_special_tokens=list(marks), chat_template=chat_template
    )


def qwen3_text(width: int = 16, *, layers: int = 2, kind: Any = Qwen3Model) -> tuple[Any, Any]:
    """Qwen2's tokenizer and Qwen3's model, bare or with its head."""
    tokenizer = qwen_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer, kind(config)


def qwen_vl_text(kind: Any, config: Any, width: int = 16, *, layers: int = 2) -> tuple[Any, Any]:
    """Qwen2's tokenizer and a Qwen-VL model, the reader of pictures as small as can be.

    Args:
        kind: of the model.
        config: of its class.
        width: of a text token.
        layers: of text.
    """
    tokenizer = qwen_tokenizer(("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"))
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "rope_scaling": {"type": "default", "mrope_section": [1, 1, 2]},
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "depth": 1,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_heads": 1,
        "out_hidden_size": width,
        "fullatt_block_indexes": [0],
        "deepstack_visual_indexes": [0],
    }
    return tokenizer, kind(config(text_config=text, vision_config=vision))


def mistral3_text(width: int = 16) -> tuple[Any, Any]:
    """A tokenizer with Mistral Small 3's chat, and the model that reads pictures too."""
    marks = ("<s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")
    tokenizer = qwen_tokenizer(marks, chat_template=MISTRAL_CHAT_TEMPLATE)
    text = {
        "model_type": "mistral",
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": MISTRAL_LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 16,
        "patch_size": 8,
    }
    return tokenizer, Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=vision))


def gemma_tokenizer(words: Iterable[str] = WORDS) -> Any:
    """Gemma's tokenizer: words that follow a space, and letters and a few signs, one token each, after a mark."""
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    symbols = [*string.ascii_letters, *string.digits, *",.:;-'\"()<>|_/!?", "\u2581", "\n"]
    beginnings = sorted({f"\u2581{word[:end]}" for word in words for end in range(1, len(word) + 1)}, key=len)
    vocabulary = {token: number for number, token in enumerate([*marks, *symbols, *beginnings])}
    merges: Any = [(beginning[:-1], beginning[-1]) for beginning in beginnings]
    return GemmaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True)


def gemma2_text(width: int = 16, *, words: Iterable[str] = WORDS) -> tuple[Any, Any]:
    """Gemma's tokenizer, which knows some words, and Gemma 2's model."""
    tokenizer = gemma_tokenizer(words)
    config = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    return tokenizer, Gemma2Model(config)


def glm_text(width: int = 16) -> tuple[Any, Any]:
    """A tokenizer of letters, of no class of its own, that pads on the left as GLM-4's does, and GLM's model."""
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=gemma_tokenizer(words=()).backend_tokenizer, pad_token="<pad>", padding_side="left"
    )
    config = GlmConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer, GlmModel(config)


def autoencoder_kl(channels: int, *, kind: Any = AutoencoderKL, **settings: Any) -> Any:
    """An AutoencoderKL, or one of its kind, of 8 px a latent."""
    down: Any = ("DownEncoderBlock2D",) * 4
    up: Any = ("UpDecoderBlock2D",) * 4
    widths: Any = (4, 4, 8, 8)
    return kind(
        down_block_types=down,
        up_block_types=up,
        block_out_channels=widths,
        norm_num_groups=4,
        latent_channels=channels,
        sample_size=64,
        **settings,
    )


def autoencoder_qwen(channels: int) -> Any:
    """Qwen-Image's autoencoder for video, 8 px a latent, with statistics of its own for each channel."""
    return AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=channels,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.3 * index - 0.5 for index in range(channels)],
        latents_std=[0.5 + 0.4 * index for index in range(channels)],
    )


def autoencoder_tiny(channels: int) -> Any:
    """An AutoencoderTiny of 8 px a latent."""
    widths: Any = (4, 4, 4, 4)
    return AutoencoderTiny(
        latent_channels=channels,
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    )
