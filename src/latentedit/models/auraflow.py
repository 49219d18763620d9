"""AuraFlow as a velocity field.

Conventions of the family: time is s itself; the output is the velocity; the text is Pile-T5's 256 tokens, whose padding
is zeros that are attended to; positions are learned, so pictures have a largest size.

Source:
    fal 2024, AuraFlow, as diffusers 0.42.1 has it.
"""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.flow import FlowBackbone
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Site


class AuraFlowBackbone(FlowBackbone):
    """AuraFlow: ``v(z, s, c) = transformer(z, s, t5)``."""

    guidance: ClassVar[float] = 3.5
    nodes: ClassVar[Literal["even", "scheduler"]] = "scheduler"
    window: int = 256

    def _largest_side(self) -> int:
        return math.isqrt(self._network.config.pos_embed_max_size) * self._multiple

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        tokens, *_ = self.stock.encode_prompt(
            text, do_classifier_free_guidance=False, device=self.device, max_sequence_length=self.window
        )
        return tokens, None, None

    def _time(self, s: Float[Tensor, " b"], z: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        del z
        return s

    def _ask(
        self, z: Float[Tensor, "b c h w"], time: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b c h w"]:
        return self._network(z, encoder_hidden_states=condition.tokens, timestep=time, return_dict=False)[0]

    def _sites(self) -> Mapping[str, Site]:
        """Both streams after each double block, and the picture's tokens after each single one."""
        sites: dict[str, Site] = {}
        for index, block in enumerate(self._network.joint_transformer_blocks):
            sites[f"double.{index}.text"] = Site(module=block, item=0)
            sites[f"double.{index}.image"] = Site(module=block, item=1)
        for index, block in enumerate(self._network.single_transformer_blocks):
            sites[f"single.{index}.image"] = Site(module=block, image="last")
        return sites
