"""Tokenizers, text encoders and autoencoders of the miniatures of several families."""

import string
from collections.abc import Iterable, Sequence
from typing import Any, cast

import transformers
from diffusers import AutoencoderKLQwenImage, AutoencoderTiny
from transformers import (
    CLIPImageProcessor,
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
)

from latentedit.testing.miniature import WORDS

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
