"""Anima, a modular pipeline of diffusers, as a velocity field.

Time is s itself; the output is the velocity; latents are those of Qwen-Image. The network is Cosmos Predict2's, for
video, of one frame, and needs torchvision. The text is Qwen3's, put onto the tokens of T5 by a conditioner and filled
up with zeros, which are attended to.

Source:
    CircleStone Labs 2026, Anima, as in diffusers 0.42.1.
"""

import functools
from typing import Any, ClassVar

from torch import Tensor

from latentedit.models.flow import Clock, FlowBackbone
from latentedit.models.libraries import library_class
from latentedit.models.network import LATENT_CHANNELS, check_sizes
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Blocks
from latentedit.numerics.condition import Condition


class AnimaBackbone(FlowBackbone):
    """Anima: ``v(z, s, c) = transformer(z, s, text)``."""

    family: ClassVar[str] = "Anima"
    parts: ClassVar[tuple[str, ...]] = (*FlowBackbone.parts, "t5_tokenizer", "text_conditioner")
    pipelines: ClassVar[tuple[str, ...]] = ("AnimaModularPipeline",)
    text_field: ClassVar[str] = "text_embed_dim"
    clock: ClassVar[Clock] = "level"
    guidance: ClassVar[float] = 4.0
    blocks: ClassVar[tuple[Blocks, ...]] = (Blocks(attention=("attn1",)),)

    def _check_parts(self) -> None:
        config = self._network.config
        check_sizes("text width", int(config.text_embed_dim), int(self.pipeline.text_conditioner.config.target_dim))
        check_sizes(LATENT_CHANNELS, self._network_channels(), self._codec.channels)

    def _patch(self) -> int:
        return int(self._network.config.patch_size[-1])

    @functools.cached_property
    def stock(self) -> Any:
        """The text's blocks of the stock pipeline."""
        blocks = library_class("diffusers", "AnimaAutoBlocks")().sub_blocks
        core = blocks["denoise"].sub_blocks["text2image"].sub_blocks
        text = {"text_encoder": blocks["text_encoder"], "text_conditioning": core["text_conditioning"]}
        made = library_class("diffusers", "SequentialPipelineBlocks").from_blocks_dict(text).init_pipeline()
        made.update_components(**{part: getattr(self.pipeline, part) for part in self.parts if part != "vae"})
        return made

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        return self.stock(prompt=text, max_sequence_length=self.window, output="prompt_embeds"), None, None

    def _predict(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        height, width = (side * self._scale for side in z.shape[-2:])
        return self._network(
            z[:, :, None],
            timestep=time,
            encoder_hidden_states=condition.tokens,
            padding_mask=z.new_zeros(1, 1, height, width),
            return_dict=False,
        )[0][:, :, 0]
