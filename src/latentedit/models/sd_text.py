"""Text for Stable Diffusion 1 and 2: the last layer of one CLIP encoder."""

import dataclasses
from collections.abc import Sequence

import torch

from latentedit.core.condition import Condition
from latentedit.core.errors import ModelError
from latentedit.models.text_part import TextPart, dropped_note, unseen_note


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SDText:
    """Texts as the U-Net takes them, token for token as the stock pipeline does it without ``clip_skip``.

    ``tokens`` is the encoder's last hidden state, normalised; there is no pooled part, so ``pooled`` has width 0.
    Stable Diffusion 2 takes the last layer but one of its CLIP; its folders hold an encoder that ends there.

    Args:
        part: the CLIP encoder.
        width: of a token, the U-Net's ``cross_attention_dim``.
        vocabulary: words that the model met in training; None where that is unknown.

    Raises:
        ModelError: an encoder of another width, or one that masks its padding, as no Stable Diffusion does.
    """

    part: TextPart
    width: int
    vocabulary: frozenset[str] | None = None

    def __post_init__(self) -> None:
        config = self.part.encoder.config
        if int(config.hidden_size) != self.width:
            raise ModelError(f"expected a text encoder of width {self.width}; got {config.hidden_size}")
        if getattr(config, "use_attention_mask", False):
            raise ModelError("expected a text encoder that reads its padding; this one has use_attention_mask")

    def embed(self, texts: Sequence[str]) -> Condition:
        """Texts as one condition each, in float32 or better.

        Args:
            texts: at least one; the empty text is the unconditional one.

        Raises:
            ConfigError: no text at all.

        Cost:
            One forward pass of the text encoder; no network evaluation.
        """
        tokens = self.part.encoder(self.part.token_ids(texts, self.part.clip_length))[0]
        precise = torch.promote_types(tokens.dtype, torch.float32)
        return Condition(tokens=tokens, pooled=tokens.new_zeros(len(texts), 0)).to(precise)

    def notes(self, texts: Sequence[str]) -> list[str]:
        """Words that the encoder does not read, and words that training never showed."""
        length = self.part.clip_length
        room = self.part.room(length)
        found = [
            note
            for text in texts
            for note in (*dropped_note(self.part.dropped(text, length), room), *unseen_note(text, self.vocabulary))
        ]
        return list(dict.fromkeys(found))
