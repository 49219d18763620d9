"""AuraFlow as a velocity field.

Time is s itself; the output is the velocity. The text is 256 tokens of Pile-T5, with zeros as padding, which is
attended to. Positions are learned, so images have a largest size.

Source:
    fal 2024, AuraFlow, as in diffusers 0.42.1.
"""

import math
from typing import ClassVar, Literal

from torch import Tensor

from latentedit.models.flow import Clock, FlowBackbone
from latentedit.models.sites import Blocks
from latentedit.numerics.condition import Condition


class AuraFlowBackbone(FlowBackbone):
    """AuraFlow: ``v(z, s, c) = transformer(z, s, t5)``."""

    family: ClassVar[str] = "AuraFlow"
    license: ClassVar[str] = "Apache-2.0"
    pipelines: ClassVar[tuple[str, ...]] = ("AuraFlowPipeline",)
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

    def _predict(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return self._network(z, encoder_hidden_states=condition.tokens, timestep=time, return_dict=False)[0]
