"""Image-to-text models of a few kilobytes with random weights, saved as folders in the format of transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import (
    BartTokenizer,
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2Tokenizer,
)

from latentedit.models.libraries import quiet_libraries
from latentedit.numerics.rng import seeded
from latentedit.testing.miniature import WORDS

CHAT = (  # a chat template like Qwen's; IMAGE stands for each model's image token
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_TEXT: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@seeded(0)
def save_blip(folder: Path) -> Path:
    """BLIP: a text from an image alone; WordPiece."""
    tokens = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", ",", *WORDS)
    tokenizer = BertTokenizer(vocab=_numbered(tokens), extra_special_tokens=["[DEC]"])
    vision = _TEXT | {"projection_dim": 16, "image_size": 16, "patch_size": 8}
    text = _TEXT | {"projection_dim": 16, "encoder_hidden_size": 16, "vocab_size": len(tokens)}
    special = {"bos_token_id": 5, "eos_token_id": 3, "pad_token_id": 0, "sep_token_id": 3}
    config = BlipConfig(
        text_config=text | special | {"max_position_embeddings": 96}, vision_config=vision, projection_dim=16
    )
    processor = BlipProcessor(BlipImageProcessor(size={"height": 16, "width": 16}), tokenizer)
    network = BlipForConditionalGeneration(config)
    with torch.no_grad():  # its decoder ignores the generation settings of the folder
        network.text_decoder.cls.predictions.bias[: tokens.index(",")] = -1e4
    return _save(network, processor, folder)


@seeded(0)
def save_florence(folder: Path) -> Path:
    """Florence-2: a text from an image and a task, by an encoder and a decoder; byte-level BPE."""
    vocabulary = _byte_vocabulary("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    tokenizer = BartTokenizer(vocab=vocabulary, merges=[], extra_special_tokens={"image_token": "<image>"})
    sides: dict[str, Any] = {"d_model": 16, "max_position_embeddings": 160, "vocab_size": len(tokenizer)}
    for part in ("encoder", "decoder"):
        sides |= {f"{part}_layers": 1, f"{part}_attention_heads": 2, f"{part}_ffn_dim": 32}
    special = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    stages = {"depths": (1,) * 4, "embed_dim": (8,) * 4, "num_heads": (1,) * 4, "num_groups": (1,) * 4}
    config = Florence2Config(
        text_config={"model_type": "bart", "forced_eos_token_id": 2} | sides | special,
        vision_config=stages | {"window_size": 4, "projection_dim": 16, "drop_path_rate": 0.0},
        image_token_id=tokenizer.image_token_id,
    )
    images = CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False, image_seq_length=2)
    return _save(Florence2ForConditionalGeneration(config), Florence2Processor(images, tokenizer), folder)


@seeded(0)
def save_llava(folder: Path) -> Path:
    """LLaVA: a chat model whose processor takes only images and texts."""
    vocabulary = _byte_vocabulary("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>")
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        eos_token="<|im_end|>",
        extra_special_tokens={"image_token": "<image>", "start_token": "<|im_start|>"},
    )
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"height": 16, "width": 16}, do_center_crop=False),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=1,
        chat_template=CHAT.replace("IMAGE", "<image>"),
    )
    config = LlavaConfig(
        vision_config=_TEXT
        | {"model_type": "clip_vision_model", "projection_dim": 16, "image_size": 16, "patch_size": 8},
        text_config=_chat_text(len(tokenizer)) | {"model_type": "qwen2"},
        image_token_id=tokenizer.image_token_id,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )
    return _save(LlavaForConditionalGeneration(config), processor, folder)


def _chat_text(vocabulary: int) -> dict[str, Any]:
    special = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    return _TEXT | special | {"vocab_size": vocabulary, "num_key_value_heads": 1, "max_position_embeddings": 2048}


def _byte_vocabulary(*special: str) -> dict[str, int]:
    """Special tokens, all bytes, and words after a space, as byte-level BPE writes them."""
    return _numbered((*special, *sorted(ByteLevel.alphabet()), *(f"\u0120{word}" for word in WORDS)))


def _numbered(tokens: Sequence[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens)}


def _save(network: Any, processor: Any, folder: Path) -> Path:
    """Save a captioner whose weights are large enough to distinguish images; by default, its settings sample."""
    generator = torch.Generator().manual_seed(0)
    _draw_weights(network, generator)
    tokenizer, settings = processor.tokenizer, network.generation_config
    text = {tokenizer.vocab.get(word) for word in (",", *WORDS, *(f"\u0120{word}" for word in WORDS))}
    text.add(settings.eos_token_id)
    settings.update(suppress_tokens=sorted(set(range(len(tokenizer))) - text))
    settings.update(do_sample=True, temperature=9.0, num_beams=3)
    with quiet_libraries():
        network.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder


def _draw_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Matrices with variance 4 / fan-in, in the order of their names; vectors keep their initial values."""
    with torch.no_grad():
        for _, parameter in sorted(network.named_parameters()):
            if parameter.ndim > 1:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(2 * noise / parameter[0].numel() ** 0.5)
