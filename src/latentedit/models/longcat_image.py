"""LongCat-Image as a velocity field.

Conventions of the family: time is s itself; the output is the velocity; latents are packed; the text is Qwen2.5-VL's
last layer, 512 tokens, padding attended, in quotes letter by letter; the chat around it takes nothing of the window.
Words stand on the diagonal of the rotary grid, and the picture behind their last, 1 on the first axis. The stock
pipeline has the text encoder rewrite a prompt first (``enable_prompt_rewrite``) and shortens a guided velocity to the
norm of the conditional one (``enable_cfg_renorm``); here texts are taken as they are, and guidance is affine.

Source:
    LongCat Team 2025, LongCat-Image, arXiv 2512.07584, as diffusers 0.42.1 has it.
"""

from typing import ClassVar

import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.codec import Size
from latentedit.models.packed import FLUX_BLOCKS, PackedFlowBackbone, diagonal, positions
from latentedit.models.sites import Blocks


class LongCatImageBackbone(PackedFlowBackbone):
    """LongCat-Image: ``v(z, s, c) = transformer(tokens of z, s, text)``."""

    guidance: ClassVar[float] = 4.5
    blocks: ClassVar[tuple[Blocks, ...]] = FLUX_BLOCKS

    def _ask_packed(self, tokens: Tensor, time: Tensor, condition: Condition, sizes: list[Size]) -> Tensor:
        words, device = condition.tokens.shape[1], tokens.device
        behind = torch.tensor([0.0, words, words], device=device)
        return self._network(
            hidden_states=tokens,
            timestep=time,
            encoder_hidden_states=condition.tokens,
            txt_ids=diagonal(words, device=device),
            img_ids=positions(sizes[0], first=1, axes=3, device=device) + behind,
            return_dict=False,
        )[0]
