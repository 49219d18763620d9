"""Text for Stable Diffusion 3: two CLIP encoders side by side, then T5 or zero tokens behind them."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from latentedit.errors import ConfigError, ModelError
from latentedit.types import Condition

_PIECE = re.compile(r"[^\W\d_]+|\d")
_PUNCTUATION = ",.;:!?\"'()"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextPart:
    """A tokenizer and the encoder that reads its tokens.

    Args:
        tokenizer: of transformers.
        encoder: of transformers, in evaluation mode.
    """

    tokenizer: Any
    encoder: Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SD3Text:
    """Texts as SD3's transformer takes them, token for token as the stock pipeline does it.

    ``tokens = [ [clip_1 | clip_2 | 0] ; t5 or 0 ]``: the last hidden state but one of both CLIPs joined on features and
    padded with zeros to the transformer's width, followed by T5's tokens, or by zero tokens in their place.
    ``pooled = [clip_1 | clip_2]``: the projected end-of-text states.

    Args:
        clips: the two CLIP encoders.
        t5: the third encoder, or None.
        width: of a token, the transformer's ``joint_attention_dim``.
        length: number of T5 tokens, or of zero tokens in their place (``max_sequence_length`` of the stock pipeline).
        vocabulary: words that the model met in training; None where that is unknown.

    Raises:
        ConfigError: a length below 0, or below 1 with T5.
        ModelError: encoders that do not fit the transformer's width, or a number of CLIPs other than two.
    """

    clips: tuple[TextPart, ...]
    t5: TextPart | None
    width: int
    length: int
    vocabulary: frozenset[str] | None = None

    def __post_init__(self) -> None:
        lowest = 0 if self.t5 is None else 1
        if self.length < lowest:
            raise ConfigError(f"expected max_sequence_length of at least {lowest}; got {self.length}")
        clip_width = sum(int(part.encoder.config.hidden_size) for part in self.clips)
        if len(self.clips) != 2 or clip_width > self.width:
            raise ModelError(
                f"expected two CLIP encoders of joint width {self.width} at most; got {len(self.clips)} of {clip_width}"
            )
        if self.t5 is not None and self.t5.encoder.config.d_model != self.width:
            raise ModelError(f"expected T5 of width {self.width}; got {self.t5.encoder.config.d_model}")

    @property
    def clip_length(self) -> int:
        """Number of CLIP tokens, with the two that mark start and end."""
        first = self.clips[0]
        return min(int(first.tokenizer.model_max_length), int(first.encoder.config.max_position_embeddings))

    def embed(self, texts: Sequence[str]) -> Condition:
        """Texts as one condition each, in float32 or better.

        Args:
            texts: at least one; the empty text is the unconditional one.

        Raises:
            ConfigError: no text at all.

        Cost:
            One forward pass of each text encoder; no network evaluation.
        """
        if not texts:
            raise ConfigError("expected at least one text; got none. The empty text '' is the unconditional one")
        read = [_read_clip(part, texts, self.clip_length) for part in self.clips]
        clip = torch.cat([hidden for hidden, _ in read], dim=-1)
        clip = functional.pad(clip, (0, self.width - clip.shape[-1]))
        if self.t5 is None:
            third = clip.new_zeros(len(texts), self.length, self.width)
        else:
            third = self.t5.encoder(_token_ids(self.t5, texts, self.length))[0]
        tokens = torch.cat([clip, third.to(clip)], dim=-2)
        pooled = torch.cat([projected for _, projected in read], dim=-1)
        precise = torch.promote_types(tokens.dtype, torch.float32)
        return Condition(tokens=tokens, pooled=pooled).to(precise)

    def notes(self, texts: Sequence[str]) -> list[str]:
        """Words that no encoder reads, words that T5 alone reads, and words that training never showed."""
        notes: list[str] = []
        for text in texts:
            by_clip = max((_dropped(part, text, self.clip_length) for part in self.clips), key=len)
            clip_room = _room(self.clips[0], self.clip_length)
            if self.t5 is None:
                if by_clip:
                    notes.append(f"{_listed(by_clip)} dropped: the text encoder takes {clip_room} tokens")
            else:
                by_all = _dropped(self.t5, text, self.length)
                only_t5 = by_clip[: max(len(by_clip) - len(by_all), 0)]
                if only_t5:
                    notes.append(f"{_listed(only_t5)} read by T5 only: the CLIP encoders take {clip_room} tokens")
                if by_all:
                    room = _room(self.t5, self.length)
                    notes.append(f"{_listed(by_all)} dropped: the text encoder takes {room} tokens")
            unseen = self._unseen(text)
            if unseen:
                notes.append(f"{_listed(unseen)} never seen by the model in training")
        return list(dict.fromkeys(notes))

    def _unseen(self, text: str) -> list[str]:
        if self.vocabulary is None:
            return []
        words = (word.strip(_PUNCTUATION) for word in text.split())
        return [word for word in dict.fromkeys(words) if not word_pieces([word]) <= self.vocabulary]


def word_pieces(words: Sequence[str]) -> frozenset[str]:
    """Runs of letters and single digits in lower case, the units that CLIP's tokenizer splits text into."""
    return frozenset(piece for word in words for piece in _PIECE.findall(word.lower()))


def _token_ids(part: TextPart, texts: Sequence[str], length: int) -> Tensor:
    encoded = part.tokenizer(
        list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt", verbose=False
    )
    return encoded.input_ids.to(part.encoder.device)


def _read_clip(
    part: TextPart, texts: Sequence[str], length: int
) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b p"]]:
    """The last hidden state but one, and the projected end-of-text state."""
    output = part.encoder(_token_ids(part, texts, length), output_hidden_states=True)
    return output.hidden_states[-2], output.text_embeds


def _room(part: TextPart, length: int) -> int:
    """Tokens that are left for the text itself."""
    return length - int(part.tokenizer.num_special_tokens_to_add())


def _dropped(part: TextPart, text: str, length: int) -> list[str]:
    """The words of a text that lose a token or more when it is cut to ``length`` tokens."""
    encoded = part.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    spans: list[tuple[int, int]] = encoded["offset_mapping"]
    room = _room(part, length)
    if len(spans) <= room:
        return []
    start = spans[max(room, 0)][0]
    while start < len(text) and text[start].isspace():
        start += 1
    while start > 0 and not text[start - 1].isspace():
        start -= 1
    words = (word.strip(_PUNCTUATION) for word in text[start:].split())
    return [word for word in words if word]


def _listed(words: Sequence[str]) -> str:
    quoted = ", ".join(repr(word) for word in words)
    return f"the word {quoted} was" if len(words) == 1 else f"the words {quoted} were"
