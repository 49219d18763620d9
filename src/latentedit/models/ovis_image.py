"""Ovis-Image as a velocity field.

Conventions of the family: time is s itself; the output is the velocity; latents are packed; the text is Qwen3's last
layer within a chat, 256 tokens, padding zero and attended. Words stand on the diagonal of the picture's rotary grid.

Source:
    Ovis Team 2025, Ovis-Image, as diffusers 0.42.1 has it.
"""

from typing import ClassVar

from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.codec import Size
from latentedit.models.packed import FLUX_BLOCKS, PackedFlowBackbone, diagonal, positions
from latentedit.models.sites import Blocks


class OvisImageBackbone(PackedFlowBackbone):
    """Ovis-Image: ``v(z, s, c) = transformer(tokens of z, s, text)``."""

    chat: ClassVar[bool] = True
    guidance: ClassVar[float] = 5.0
    window: int = 256
    blocks: ClassVar[tuple[Blocks, ...]] = FLUX_BLOCKS

    def _ask_packed(self, tokens: Tensor, time: Tensor, condition: Condition, sizes: list[Size]) -> Tensor:
        return self._network(
            hidden_states=tokens,
            timestep=time,
            encoder_hidden_states=condition.tokens,
            txt_ids=diagonal(condition.tokens.shape[1], device=tokens.device),
            img_ids=positions(sizes[0], first=0, axes=3, device=tokens.device),
            return_dict=False,
        )[0]
