"""AuraFlow as a velocity field.

Conventions of the family: time is s itself; the output is the velocity; the text is Pile-T5's 256 tokens, whose padding
is zeros that are attended to; positions are learned, so pictures have a largest size.

Source:
    fal 2024, AuraFlow, as diffusers 0.42.1 has it.
"""

import math
from typing import ClassVar, Literal

from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.flow import Clock, FlowBackbone
from latentedit.models.sites import Blocks


class AuraFlowBackbone(FlowBackbone):
    """AuraFlow: ``v(z, s, c) = transformer(z, s, t5)``."""

    guidance: ClassVar[float] = 3.5
    nodes: ClassVar[Literal["even", "scheduler"]] = "scheduler"
    clock: ClassVar[Clock] = "level"
    window: int = 256
    blocks: ClassVar[tuple[Blocks, ...]] = (
        Blocks(name="double", modules="joint_transformer_blocks", text=0, image=1),
        Blocks(name="single", modules="single_transformer_blocks", joined="last"),
    )

    def _largest_side(self) -> int:
        return math.isqrt(self._network.config.pos_embed_max_size) * self._multiple

    def _ask(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return self._network(z, encoder_hidden_states=condition.tokens, timestep=time, return_dict=False)[0]
