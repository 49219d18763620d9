"""Chroma as a velocity field.

Conventions of the family: time is s itself; the output is the velocity; latents are packed; the text is T5's 512
tokens. T5 masks their padding; the transformer is told the true ones and one more. The stock pipeline tells it by
numbers, 1 and 0, which attention adds to its scores: the padding is attended, e times less. So it is here.

Source:
    Rock 2025, Chroma1, as diffusers 0.42.1 has it.
"""

from typing import ClassVar

import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.codec import Size
from latentedit.models.packed import DOUBLE_BLOCKS, PackedFlowBackbone, positions
from latentedit.models.sites import Blocks


class ChromaBackbone(PackedFlowBackbone):
    """Chroma1: ``v(z, s, c) = transformer(tokens of z, s, t5, mask)``."""

    guidance: ClassVar[float] = 5.0
    prompt_pipeline: ClassVar[str] = "ChromaPipeline"
    mask_at: ClassVar[int | None] = 2
    blocks: ClassVar[tuple[Blocks, ...]] = (
        DOUBLE_BLOCKS,
        Blocks(name="single", modules="single_transformer_blocks", joined="last", attention=("attn",)),
    )

    def _ask_packed(self, tokens: Tensor, time: Tensor, condition: Condition, sizes: list[Size]) -> Tensor:
        told = tokens.new_ones(len(tokens), condition.tokens.shape[1] + tokens.shape[1])
        if condition.mask is not None:
            told[:, : condition.tokens.shape[1]] = condition.mask.to(tokens.dtype)
        return self._network(
            hidden_states=tokens,
            timestep=time,
            encoder_hidden_states=condition.tokens,
            txt_ids=torch.zeros(condition.tokens.shape[1], 3, device=tokens.device),
            img_ids=positions(sizes[0], first=0, axes=3, device=tokens.device),
            attention_mask=told,
            return_dict=False,
        )[0]
