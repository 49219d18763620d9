"""Text for Stable Diffusion 3: two CLIP encoders side by side, then T5 or zero tokens behind them."""

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError, ModelError
from latentedit.models.text_part import TextPart, dropped_note, listed, unseen_note


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
        return self.clips[0].clip_length

    def embed(self, texts: Sequence[str]) -> Condition:
        """Texts as one condition each, in float32 or better.

        Args:
            texts: at least one; the empty text is the unconditional one.

        Raises:
            ConfigError: no text at all.

        Cost:
            One forward pass of each text encoder; no network evaluation.
        """
        read = [_read_clip(part, texts, self.clip_length) for part in self.clips]
        clip = torch.cat([hidden for hidden, _ in read], dim=-1)
        clip = functional.pad(clip, (0, self.width - clip.shape[-1]))
        if self.t5 is None:
            third = clip.new_zeros(len(texts), self.length, self.width)
        else:
            third = self.t5.encoder(self.t5.token_ids(texts, self.length))[0]
        tokens = torch.cat([clip, third.to(clip)], dim=-2)
        pooled = torch.cat([projected for _, projected in read], dim=-1)
        precise = torch.promote_types(tokens.dtype, torch.float32)
        return Condition(tokens=tokens, pooled=pooled).to(precise)

    def notes(self, texts: Sequence[str]) -> list[str]:
        """Words that no encoder reads, words that T5 alone reads, and words that training never showed."""
        notes: list[str] = []
        for text in texts:
            by_clip = max((part.dropped(text, self.clip_length) for part in self.clips), key=len)
            clip_room = self.clips[0].room(self.clip_length)
            if self.t5 is None:
                notes += dropped_note(by_clip, clip_room)
            else:
                by_all = self.t5.dropped(text, self.length)
                only_t5 = by_clip[: max(len(by_clip) - len(by_all), 0)]
                if only_t5:
                    notes.append(f"{listed(only_t5)} read by T5 only: the CLIP encoders take {clip_room} tokens")
                notes += dropped_note(by_all, self.t5.room(self.length))
            notes += unseen_note(text, self.vocabulary)
        return list(dict.fromkeys(notes))


def _read_clip(
    part: TextPart, texts: Sequence[str], length: int
) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b p"]]:
    """The last hidden state but one, and the projected end-of-text state."""
    output = part.encoder(part.token_ids(texts, length), output_hidden_states=True)
    return output.hidden_states[-2], output.text_embeds
