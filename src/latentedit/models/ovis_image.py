"""Ovis-Image as a velocity field.

Conventions of the family: time is s itself; the output is the velocity; latents are packed; the text is Qwen3's last
layer within a chat, 256 tokens, padding zero and attended. Words stand on the diagonal of the picture's rotary grid.

Source:
    Ovis Team 2025, Ovis-Image, as diffusers 0.42.1 has it.
"""

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.codec import Size
from latentedit.models.packed import PackedFlowBackbone, block_attention, block_sites, diagonal, positions
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Site


class OvisImageBackbone(PackedFlowBackbone):
    """Ovis-Image: ``v(z, s, c) = transformer(tokens of z, s, text)``."""

    chat: ClassVar[bool] = True
    guidance: ClassVar[float] = 5.0
    window: int = 256

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        tokens, *_ = self.stock.encode_prompt(
            text, do_classifier_free_guidance=False, device=self.device, max_sequence_length=self.window
        )
        return tokens, None, None

    def _ask_packed(
        self, tokens: Float[Tensor, "b n d"], time: Float[Tensor, " b"], condition: Condition, sizes: list[Size]
    ) -> Float[Tensor, "b n d"]:
        return self._network(
            hidden_states=tokens,
            timestep=time,
            encoder_hidden_states=condition.tokens,
            txt_ids=diagonal(condition.tokens.shape[1], device=tokens.device),
            img_ids=positions(sizes[0], first=0, axes=3, device=tokens.device),
            return_dict=False,
        )[0]

    def _sites(self) -> Mapping[str, Site]:
        """Both streams after each block, double blocks first."""
        return block_sites(self._network, joint=False)

    def _attention(self) -> Mapping[str, Site]:
        return block_attention(self._network)
