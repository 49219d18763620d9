"""A stock CLIPTokenizer whose vocabulary spells the words of the captions whole."""

import itertools
from collections.abc import Sequence
from typing import Any

from transformers import CLIPTokenizer

from latentedit_portraits.captions import MAX_TOKENS, vocabulary

_START, _END = "<|startoftext|>", "<|endoftext|>"
_END_OF_WORD = "</w>"


def build_tokenizer(words: Sequence[str] | None = None, max_tokens: int = MAX_TOKENS) -> CLIPTokenizer:
    """The tokenizer of the bundled models, which knows these words; those of the captions by default.

    A word of the grammar is one token. Any other word falls apart into the bytes and pieces that the vocabulary has, so
    nothing is unknown to the tokenizer (`StableDiffusion3Backbone.caption_notes` tells the user).
    """
    alphabet = _byte_alphabet()
    merges = _merges(vocabulary() if words is None else words)
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
