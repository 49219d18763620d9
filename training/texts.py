"""Stock tokenizers whose vocabularies spell the words of captions whole, and the text encoders that read them."""

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

from latentedit_portraits.worlds import Described, split_logits
from training.data import World

TEXT_WIDTH = 128
"""Of the hidden states of all text encoders."""

IGNORED = -100
"""In the place of a value's index where there is nothing to learn: what torch's cross-entropy passes over."""

_START, _END = "<|startoftext|>", "<|endoftext|>"
_END_OF_WORD = "</w>"


def build_clip_tokenizer(words: Sequence[str], max_tokens: int) -> CLIPTokenizer:
    """CLIP's tokenizer, to which each of these words is one token.

    Any other word falls apart into the bytes and pieces that the vocabulary has, so nothing is unknown to the tokenizer
    (`StableDiffusion3Backbone.caption_notes` tells the user).
    """
    alphabet = _byte_alphabet()
    merges = _merges(words)
    pieces = alphabet + [letter + _END_OF_WORD for letter in alphabet] + ["".join(merge) for merge in merges]
    tokens = [*dict.fromkeys(pieces), _START, _END]
    build: Any = CLIPTokenizer  # it takes pairs, although its annotation says strings
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
    """The printable stand-ins of the 256 bytes that byte-level BPE uses."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def _merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Merges under which every word becomes one token.

    Each word is run through the merges so far, and what is still apart is joined by new merges of lower priority. These
    cannot change an earlier word: there a merge of higher priority was always at hand until one token was left.
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
    """T5's tokenizer, likewise."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -4.0)]
    whole = [(f"\u2581{word}", -2.0) for word in words if word[0].isalnum()]
    letters = [(letter, -9.0) for letter in [*string.ascii_letters, *string.digits, *string.punctuation]]
    return T5Tokenizer(vocab=[*special, *whole, *letters], extra_ids=0)


def clip_config(tokenizer: CLIPTokenizer, layers: int) -> CLIPTextConfig:
    """Of a small text encoder for the tokenizer's words."""
    build: Any = CLIPTextConfig  # token numbers are typed as optional
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
    """Captions of random scenes of a world, tokenized, with the attribute values that they state."""

    def __init__(self, world: World, scenes: Sequence[Any], device: torch.device) -> None:
        self.world, self.scenes, self.device = world, scenes, device
        self.tokenizer = build_clip_tokenizer(world.vocabulary, world.max_tokens)

    def draw(
        self, chosen: Sequence[int], generator: torch.Generator, *, empty: float = 0.1
    ) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b attributes"]]:
        """Token ids, and the index of each stated value (`IGNORED` where the caption is silent)."""
        words = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
        captions = [self.world.draw_caption(self.scenes[i], words, empty=empty) for i in chosen]
        encoded = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
        stated = value_indices(self.world.scene, [self.world.stated(caption) for caption in captions])
        return encoded.input_ids.to(self.device), stated.to(self.device)


def value_indices(scene: type[Described], stated: Sequence[Mapping[str, str]]) -> Int[Tensor, "b attributes"]:
    """The index of each attribute's value; `IGNORED` for what is not stated, and for values that it does not have."""
    return torch.tensor(
        [
            [values.index(one[name]) if one.get(name) in values else IGNORED for name, values in scene.values.items()]
            for one in stated
        ]
    )


def attribute_loss(
    logits: Float[Tensor, "b values"], stated: Int[Tensor, "b attributes"], scene: type[Described]
) -> Float[Tensor, ""]:
    """Cross-entropy of the stated attributes, read from a text."""
    losses = [
        functional.cross_entropy(part.float(), stated[:, i], ignore_index=IGNORED, reduction="sum")
        for i, part in enumerate(split_logits(logits, scene))
    ]
    return torch.stack(losses).sum() / (stated >= 0).sum().clamp(min=1)
