"""CogView4 as a velocity field.

The output is the velocity. The time is that of the level before it was shifted, 1000 s / (s + a (1 - s)) with a shift a
by image size. The sizes of the image and its crop are inputs. The text is GLM-4's last layer but one, padded on the
left to a multiple of 16; the padding is attended to, so only texts of equal length share a call.

Source:
    Zhipu AI 2025, CogView4, as in diffusers 0.42.1.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from latentedit.models.flow import FlowBackbone
from latentedit.models.sites import Blocks
from latentedit.numerics.condition import Condition


class CogView4Backbone(FlowBackbone):
    """CogView4: ``v(z, s, c) = transformer(z, 1000 s / (s + a (1 - s)), glm, sizes)``."""

    family: ClassVar[str] = "CogView4"
    license: ClassVar[str] = "Apache-2.0"
    pipelines: ClassVar[tuple[str, ...]] = ("CogView4Pipeline",)
    text_field: ClassVar[str] = "text_embed_dim"
    guidance: ClassVar[float] = 5.0
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "equal"
    window: int = 1024
    blocks: ClassVar[tuple[Blocks, ...]] = (Blocks(image=0),)  # the text's tokens differ in number

    def _unshifted(self, steps: int) -> list[float]:
        """Even in the trained times, rounded down."""
        trained = int(self._scheduler["num_train_timesteps"])
        return (np.floor(np.linspace(trained, 1, steps)) / trained).tolist()

    def _mu(self, config: Mapping[str, Any], tokens: int, steps: int) -> float:
        """A function of the image side, counted in tokens."""
        return math.sqrt(tokens / config["base_image_seq_len"]) * config["max_shift"] + config["base_shift"]

    def _time(self, s: Tensor, z: Tensor) -> Tensor:
        config = self._scheduler
        shift = float(config["shift"])
        if config["use_dynamic_shifting"]:
            mu = self._mu(config, z.shape[-2] * z.shape[-1] // self._stride**2, 0)
            shift = mu if config["time_shift_type"] == "linear" else math.exp(mu)
        return super()._time(s / (s + shift * (1 - s)), z)

    def _predict(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        size = z.new_tensor([[side * self._scale for side in z.shape[-2:]]]).expand(len(z), 2)
        return self._network(
            z,
            encoder_hidden_states=condition.tokens,
            timestep=time,
            original_size=size,
            target_size=size,
            crop_coords=torch.zeros_like(size),
            return_dict=False,
        )[0]
