"""Stock tokenizers with one token per word of captions, and small text encoders for them."""

import itertools
import random
import string
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTokenizer, T5Tokenizer

from latentedit_portraits.classifiers import split_logits
from latentedit_portraits.domains import AttributeDomain, SceneAttributes

TEXT_WIDTH = 128
"""Width of the hidden states of all text encoders."""

IGNORED = -100
"""Index of an attribute without a stated value: the default ``ignore_index`` of torch's cross-entropy."""

_START, _END = "<|startoftext|>", "<|endoftext|>"
_END_OF_WORD = "</w>"


def build_clip_tokenizer(words: Sequence[str], max_tokens: int) -> CLIPTokenizer:
    """CLIP's tokenizer, with one token for each of these words.

    Other words are split into bytes and known pieces, so the tokenizer has no unknown words; the user is warned by
    `StableDiffusion3Backbone.caption_notes`.
    """
    alphabet = _byte_alphabet()
    merges = _merges(words)
    pieces = alphabet + [letter + _END_OF_WORD for letter in alphabet] + ["".join(merge) for merge in merges]
    tokens = [*dict.fromkeys(pieces), _START, _END]
    build: Any = CLIPTokenizer  # it takes pairs; its annotation is wrong
    return build(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=merges,
        unk_token=_END,
        bos_token=_START,
        eos_token=_END,
        pad_token=_END,
        model_max_length=max_tokens,
    )


def _byte_alphabet() -> list[str]:
    """The printable characters that represent the 256 bytes in byte-level BPE."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def _merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Merges that make every word one token.

    Each word is merged by the merges so far; its remaining pieces are joined by new merges of lower priority. These do
    not change earlier words: those have a merge of higher priority at every step until one token is left.
    """
    ranks: dict[tuple[str, str], int] = {}
    for word in words:
        pieces = [*word[:-1], word[-1] + _END_OF_WORD]
        while len(pieces) > 1:
            known = [(ranks[pair], i) for i, pair in enumerate(itertools.pairwise(pieces)) if pair in ranks]
            if known:
                _, at = min(known)
            else:
                at = 0
                ranks[pieces[0], pieces[1]] = len(ranks)
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return list(ranks)


def build_t5_tokenizer(words: Sequence[str]) -> T5Tokenizer:
    """T5's tokenizer, with one token for each of these words."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -4.0)]
    pieces = [(f"\u2581{word}", -2.0) for word in words if word[0].isalnum()]
    letters = [(letter, -9.0) for letter in [*string.ascii_letters, *string.digits, *string.punctuation]]
    return T5Tokenizer(vocab=[*special, *pieces, *letters], extra_ids=0)


def clip_config(tokenizer: CLIPTokenizer, layers: int) -> CLIPTextConfig:
    """Configuration of a small text encoder for the tokenizer's vocabulary."""
    build: Any = CLIPTextConfig  # its annotations of token ids are wrong
    return build(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


class CaptionBatches:
    """Random captions of a domain's scenes, tokenized, with the attribute values that they state."""

    def __init__(self, domain: AttributeDomain, scenes: Sequence[Any], device: torch.device) -> None:
        self.domain, self.scenes, self.device = domain, scenes, device
        self.tokenizer = build_clip_tokenizer(domain.grammar.vocabulary, domain.grammar.max_tokens)

    def draw(
        self, chosen: Sequence[int], generator: torch.Generator, *, empty: float = 0.1
    ) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b attributes"]]:
        """Token ids, and the index of each attribute's value (`IGNORED` if the caption does not state it)."""
        words = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
        captions = [self.domain.grammar.draw(self.scenes[i], words, empty=empty) for i in chosen]
        encoded = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
        stated = value_indices(self.domain.scene, [self.domain.grammar.stated(caption) for caption in captions])
        return encoded.input_ids.to(self.device), stated.to(self.device)


def value_indices(scene: type[SceneAttributes], stated: Sequence[Mapping[str, str]]) -> Int[Tensor, "b attributes"]:
    """The index of each attribute's value; `IGNORED` if it is not stated, or not among the attribute's values."""
    return torch.tensor(
        [
            [values.index(row[name]) if row.get(name) in values else IGNORED for name, values in scene.values.items()]
            for row in stated
        ]
    )


def attribute_loss(
    logits: Float[Tensor, "b values"], stated: Int[Tensor, "b attributes"], scene: type[SceneAttributes]
) -> Float[Tensor, ""]:
    """Cross-entropy of the stated attributes."""
    losses = [
        functional.cross_entropy(part.float(), stated[:, i], ignore_index=IGNORED, reduction="sum")
        for i, part in enumerate(split_logits(logits, scene))
    ]
    return torch.stack(losses).sum() / (stated >= 0).sum().clamp(min=1)
