"""Random weights, tokenizers, text encoders and autoencoders of the miniatures of several families."""

import functools
import string
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from diffusers import AutoencoderKL, AutoencoderKLQwenImage, AutoencoderTiny
from torch import nn
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    GlmConfig,
    GlmModel,
    LlavaProcessor,
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

WORDS = ("a", "and", "beard", "black", "face", "glasses", "hair", "no", "on", "person", "red", "smile", "wall", "with")
"""Words that are one token each."""

CLIP_TOKENS = 20
T5_WIDTH = 16
SYMBOLS = [*string.ascii_letters, *string.digits, *",.:;-'\"()<>|_/!?"]

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% set content = message['content'] %}"
    "{{ content if content is string else content[0]['text'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The turns of Qwen's chats, without tools and thoughts."""

MISTRAL_CHAT_TEMPLATE = (
    "<s>{% for message in messages %}{% set mark = 'INST' if message['role'] == 'user' else "
    "'SYSTEM_PROMPT' %}[{{ mark }}]{{ message['content'][0]['text'] }}[/{{ mark }}]{% endfor %}"
)
"""The turns of Mistral's chats, without images and tools."""

MISTRAL_LAYERS = 31
"""FLUX.2 reads the output of the thirtieth layer."""


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


def _language_model(tokenizer: Any, width: int, *, layers: int = 2, head: int = 8) -> dict[str, Any]:
    """The configuration that language models have in common."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": head,
    }


def qwen_tokenizer(marks: Sequence[str] = ("<|im_start|>", "<|im_end|>"), *, chat_template: str = CHAT_TEMPLATE) -> Any:
    """Qwen's tokenizer: letters and a few signs, one token each, and the marks of a chat."""
    vocabulary = [*SYMBOLS, "\u0120", "\u010a", "<|endoftext|>", *marks]
    return Qwen2Tokenizer(
        vocab={token: number for number, token in enumerate(vocabulary)},
        merges=[],
        additional_special_tokens=list(marks),
        chat_template=chat_template,
    )


def qwen3_text(width: int = 16, *, layers: int = 2, kind: Any = Qwen3Model) -> dict[str, Any]:
    """Qwen2's tokenizer and Qwen3's model, bare or with its head."""
    tokenizer = qwen_tokenizer()
    config = Qwen3Config(**_language_model(tokenizer, width, layers=layers), pad_token_id=tokenizer.pad_token_id)
    return {"tokenizer": tokenizer, "text_encoder": kind(config)}


def qwen_vl_text(kind: Any, config: Any, width: int = 16, *, layers: int = 2) -> dict[str, Any]:
    """Qwen2's tokenizer and a Qwen-VL model of a class and its configuration class, with a tiny vision encoder."""
    tokenizer = qwen_tokenizer(("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"))
    text = {
        **_language_model(tokenizer, width, layers=layers),
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
    return {"tokenizer": tokenizer, "text_encoder": kind(config(text_config=text, vision_config=vision))}


def mistral3_text(width: int = 16) -> dict[str, Any]:
    """A tokenizer with Mistral Small 3's chat, and the model with its vision encoder."""
    marks = ("<s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")
    tokenizer = qwen_tokenizer(marks, chat_template=MISTRAL_CHAT_TEMPLATE)
    text = {"model_type": "mistral", **_language_model(tokenizer, width, layers=MISTRAL_LAYERS, head=4)}
    vision = {
        "model_type": "pixtral",
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 16,
        "patch_size": 8,
    }
    encoder = Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=vision))
    return {"tokenizer": tokenizer, "text_encoder": encoder}


def gemma_tokenizer(words: Iterable[str] = WORDS) -> Any:
    """Gemma's tokenizer: words that follow a space, and letters and a few signs, one token each, after a mark."""
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    pieces = {f"\u2581{word[:end]}" for word in words for end in range(1, len(word) + 1)}
    beginnings = sorted(pieces, key=lambda piece: (len(piece), piece))
    vocabulary = {token: number for number, token in enumerate([*marks, *SYMBOLS, "\u2581", "\n", *beginnings])}
    merges: Any = [(beginning[:-1], beginning[-1]) for beginning in beginnings]
    return GemmaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True)


def gemma2_text(width: int = 16, *, words: Iterable[str] = WORDS) -> dict[str, Any]:
    """Gemma's tokenizer with some words, and Gemma 2's model."""
    tokenizer = gemma_tokenizer(words)
    return {"tokenizer": tokenizer, "text_encoder": Gemma2Model(Gemma2Config(**_language_model(tokenizer, width)))}


def glm_text(width: int = 16) -> dict[str, Any]:
    """A tokenizer of letters, of the generic class, that pads on the left as GLM-4's does, and GLM's model."""
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=gemma_tokenizer(words=()).backend_tokenizer, pad_token="<pad>", padding_side="left"
    )
    config = GlmConfig(**_language_model(tokenizer, width), pad_token_id=tokenizer.pad_token_id)
    return {"tokenizer": tokenizer, "text_encoder": GlmModel(config)}


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


def autoencoder_qwen(channels: int, *, kind: Any = AutoencoderKLQwenImage, stages: int = 4, **settings: Any) -> Any:
    """Qwen-Image's autoencoder for video, 8 px a latent, or 2.1's, with statistics of its own for each channel."""
    return kind(
        base_dim=4,
        z_dim=channels,
        dim_mult=[1] * stages,
        num_res_blocks=1,
        latents_mean=[0.3 * index - 0.5 for index in range(channels)],
        latents_std=[0.5 + 0.4 * index for index in range(channels)],
        **settings,
    )


def qwen3_vl_processed(width: int, *, layers: int = 2) -> tuple[Any, Any]:
    """Qwen3-VL, and a processor of text; Qwen's own reads images too, and needs torchvision."""
    kinds, processor = (
        (transformers.Qwen3VLForConditionalGeneration, transformers.Qwen3VLConfig),
        cast("Any", LlavaProcessor),
    )
    text = qwen_vl_text(*kinds, width, layers=layers)
    return text["text_encoder"], processor(CLIPImageProcessor(), text["tokenizer"], chat_template=CHAT_TEMPLATE)


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
