"""Sana and Sana-Sprint as a velocity field.

The output is the velocity. Time is 1000 s times a factor of the network (the stock pipeline rounds it down to an
integer). Levels are those of DPM-Solver for flows, which begin below 1. The text is the first token and the last 299 of
Gemma 2, of a prompt that begins with an instruction; the empty text has none.

Sprint's own coordinates are angles t with s = sin t / (sin t + cos t). In flow coordinates its network gives the
velocity, time is s itself and the guidance weight is an input. It is a consistency model: its clean estimates look like
images, so its velocity is not the mean E[e - x | z, c], and the stock pipeline adds fresh noise at each step.

Source:
    Xie et al. 2024, Sana, arXiv 2410.10629; Chen et al. 2025, Sana-Sprint, arXiv 2503.09641; as in diffusers 0.42.1.
"""

import inspect
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from latentedit.models.capabilities import GuidanceKind
from latentedit.models.flow import FlowBackbone, flow_scheduler
from latentedit.models.prompts import tokens_before
from latentedit.models.sites import Blocks
from latentedit.numerics.condition import Condition

MIDDLE_ANGLE = 1.3
"""Where Sprint's second of two steps begins."""


class SanaBackbone(FlowBackbone):
    """Sana 0.6B, 1.6B and 1.5: ``v(z, s, c) = transformer(z, 1000 s, gemma)``."""

    family: ClassVar[str] = "Sana, Sana-Sprint"
    license: ClassVar[str] = "NVIDIA, see the model's card"
    multiple_px: ClassVar[int] = 32
    pipelines: ClassVar[tuple[str, ...]] = ("SanaPipeline",)
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "masked"
    text_field: ClassVar[str] = "caption_channels"
    guidance: ClassVar[float] = 4.5
    nodes: ClassVar[Literal["even", "scheduler"]] = "scheduler"
    window: int = 300
    trained_px: int = 0
    mask_at: ClassVar[int | None] = 1
    blocks: ClassVar[tuple[Blocks, ...]] = (Blocks(),)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> type["SanaBackbone"]:
        """Sprint takes the guidance weight as an input."""
        return SanaSprintBackbone if config.get("guidance_embeds") else SanaBackbone

    def _stock_prompt(self, text: str, **more: Any) -> Any:
        """Captions with the instruction, which the empty text has in Sprint alone."""
        instruction = self._instruction() if text or self.guidance_kind == "embedded" else None
        return super()._stock_prompt(text, complex_human_instruction=instruction, **more)

    def _prefix_tokens(self, text: str) -> int:
        """The last of the instruction, where that is no space that goes with the word behind it."""
        instruction = "\n".join(self._instruction())
        alone = len(self._words(instruction, add_special_tokens=False).input_ids)
        return tokens_before(self._words, instruction, text) - alone + 1

    def _instruction(self) -> list[str]:
        """The instruction that the pipeline puts before a text: the default of its call."""
        return inspect.signature(type(self.stock).__call__).parameters["complex_human_instruction"].default

    def _time(self, s: Tensor, z: Tensor) -> Tensor:
        return super()._time(s, z) * float(self._network.config.timestep_scale)

    def _predict(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        weight = self._network.config.guidance_embeds_scale * self._guidance(condition, z)
        return self._network(
            z,
            encoder_hidden_states=condition.tokens,
            encoder_attention_mask=condition.mask,
            timestep=time,
            guidance=weight if self.guidance_kind == "embedded" else None,
            return_dict=False,
        )[0]


class SanaSprintBackbone(SanaBackbone):
    """Sana-Sprint: ``v(z, s, c) = transformer(z, s, gemma, w / 10)``."""

    pipelines: ClassVar[tuple[str, ...]] = ("SanaSprintPipeline",)
    guidance_kind: ClassVar[GuidanceKind] = "embedded"

    @classmethod
    def _flow_scheduler(cls, scheduler: Any) -> dict[str, Any]:
        return flow_scheduler({"num_train_timesteps": scheduler.config.num_train_timesteps})

    def _unshifted(self, steps: int) -> list[float]:
        angles = torch.linspace(math.pi / 2, 0, steps + 1, dtype=torch.float64)[:-1]
        if steps == 2:
            angles[1] = MIDDLE_ANGLE
        return (angles.sin() / (angles.sin() + angles.cos())).tolist()

    def _time(self, s: Tensor, z: Tensor) -> Tensor:
        return s
