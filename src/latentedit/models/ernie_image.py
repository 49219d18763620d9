"""ERNIE-Image as a velocity field.

The output is the velocity, and time that of training; latents are those of FLUX.2, with another epsilon of their
statistics. The text is the last layer but one of Mistral 3, masked by its length. The prompt enhancer of the stock
pipeline is not used: captions are read as they are.

Source:
    Baidu 2026, ERNIE-Image, as in diffusers 0.42.1.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.codec import PATCH, patchify, unpatchify
from latentedit.models.flow import FlowBackbone
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Site

EPSILON = 1e-5
"""Added to the variance of latents, whatever the autoencoder's configuration says."""


class ErnieImageBackbone(FlowBackbone):
    """ERNIE-Image: ``v(z, s, c) = transformer(patches of z, 1000 s, text, its length)``."""

    pipelines: ClassVar[tuple[str, ...]] = ("ErnieImagePipeline",)
    text_field: ClassVar[str] = "text_in_dim"
    guidance: ClassVar[float] = 4.0
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "masked"

    def __init__(self, pipeline: Any, **facts: Any) -> None:
        super().__init__(pipeline, **facts)
        self._codec.epsilon = EPSILON

    def _network_channels(self) -> int:
        return int(self._network.config.in_channels) // PATCH**2

    def _patch(self) -> int:
        return PATCH

    def _attention(self) -> Mapping[str, Site]:
        """The blocks themselves put the sequence before the batch, and are no sites."""
        layers = enumerate(self._network.layers)
        return {f"block.{index}": Site(module=layer.self_attention, image="first") for index, layer in layers}

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        return self.stock.encode_prompt(text, self.device)[0][None], None, None

    def _ask(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        whole = torch.full((len(z),), condition.tokens.shape[1], device=z.device)
        lengths = whole if condition.mask is None else condition.mask.sum(1)
        given = {"text_bth": condition.tokens, "text_lens": lengths, "return_dict": False}
        return unpatchify(self._network(patchify(z), time, **given)[0])
