"""Lumina-Image 2.0 as a velocity field.

Conventions of the family: time is 1 - s; the output is x - e; the text is Gemma 2's last but one layer, of a prompt
that begins with a system prompt; the empty text has none. Stock pipelines keep the conditional norm of every row of
latents. The picture's tokens stand behind the text's, so texts of one length go through the network together.

Source:
    Qin et al. 2025, Lumina-Image 2.0, arXiv 2503.21758, as diffusers 0.42.1 has it.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.capabilities import GuidanceKind
from latentedit.models.flow import Clock, FlowBackbone
from latentedit.models.notes import tokens_before
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Blocks


class Lumina2Backbone(FlowBackbone):
    """Lumina-Image 2.0: ``v(z, s, c) = -transformer(z, 1 - s, gemma)``."""

    text_field: ClassVar[str] = "cap_feat_dim"
    guidance: ClassVar[float] = 4.0
    guidance_kind: ClassVar[GuidanceKind] = "renormalised"
    guidance_norm: ClassVar[Literal["token", "row"]] = "row"
    sign: ClassVar[Literal[1, -1]] = -1
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "equal"
    clock: ClassVar[Clock] = "clean"
    window: int = 256
    blocks: ClassVar[tuple[Blocks, ...]] = (
        Blocks(name="refiner", modules="noise_refiner"),
        Blocks(modules="layers", joined="last"),
    )

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        tokens, mask, null, null_mask = self._stock_prompt(text, do_classifier_free_guidance=not text)
        return (tokens, None, mask) if text else (null, None, null_mask)

    def _prefix_tokens(self, text: str) -> int:
        """Those of the system prompt."""
        return tokens_before(self._words, f"{self.stock.system_prompt} <Prompt Start> ", text)

    def _ask(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return self._network(
            z,
            timestep=time,
            encoder_hidden_states=condition.tokens,
            encoder_attention_mask=torch.ones_like(condition.tokens[..., 0], dtype=torch.bool),
            return_dict=False,
        )[0]
