"""Qwen-Image and Qwen-Image-Edit (also 2509 and 2511) as a velocity field.

Conventions of the family: time is s itself; the output is the velocity; latents are packed, of an autoencoder for video
with one frame and statistics of its own for each channel; the text is Qwen2.5-VL's last layer behind a fixed beginning
of a chat, of its true length, padding masked. The stock pipelines give a guided velocity the norm of the conditional
one, token by token (`GuidedField.renormalised`). Levels end at 0.02 before they come to 0 (``shift_terminal``).

Reference pictures of the edit models follow the picture in ``img_shapes``; which time they are modulated at is the
network's affair (2511: 0). The edit models' stock pipelines also show the references to the text encoder. Here it reads
the words alone, within the edit models' own chat: what a reference contributes comes through its latents.

Source:
    Qwen Team 2025, Qwen-Image, arXiv 2508.02324, as diffusers 0.42.1 has it.
"""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.capabilities import GuidanceKind
from latentedit.models.codec import Size
from latentedit.models.libraries import pipeline_of
from latentedit.models.packed import PackedFlowBackbone
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Site

PICTURE_SLOT = "<|vision_start|><|image_pad|><|vision_end|>"
"""Where a chat holds a picture."""


class QwenImageBackbone(PackedFlowBackbone):
    """Qwen-Image: ``v(z, s, c) = transformer(tokens of z, s, text, mask)``."""

    prompt_pipeline: ClassVar[str] = "QwenImagePipeline"
    guidance: ClassVar[float] = 4.0
    guidance_kind: ClassVar[GuidanceKind] = "renormalised"
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "masked"

    def _most_references(self) -> int:
        return 0

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        tokens, mask = self.stock.encode_prompt(text, device=self.device, max_sequence_length=self.window)
        return tokens, None, mask

    def _ask_packed(
        self, tokens: Float[Tensor, "b n d"], time: Float[Tensor, " b"], condition: Condition, sizes: list[Size]
    ) -> Float[Tensor, "b n d"]:
        return self._network(
            hidden_states=tokens,
            timestep=time,
            encoder_hidden_states=condition.tokens,
            encoder_hidden_states_mask=condition.mask,
            img_shapes=[[(1, rows, columns) for rows, columns in sizes]] * len(tokens),
            return_dict=False,
        )[0]

    def _sites(self) -> Mapping[str, Site]:
        """Both streams after each block."""
        sites: dict[str, Site] = {}
        for index, block in enumerate(self._network.transformer_blocks):
            sites[f"block.{index}.text"] = Site(module=block, item=0)
            sites[f"block.{index}.image"] = Site(module=block, item=1)
        return sites

    def _attention(self) -> Mapping[str, Site]:
        """Joint attention of each block."""
        blocks = self._network.transformer_blocks
        return {f"block.{index}": Site(module=block.attn) for index, block in enumerate(blocks)}


class QwenImageEditBackbone(QwenImageBackbone):
    """Qwen-Image-Edit and its later versions: the same with references, ``Condition.reference``."""

    def _most_references(self) -> int:
        """One in the first version, up to three from 2509 on (Plus)."""
        return 3 if "Plus" in type(self.pipeline).__name__ else 1

    @functools.cached_property
    def stock(self) -> Any:
        """The text-to-image pipeline with the chat of the edit models, less the place of their picture."""
        edit, text = self.pipeline, pipeline_of(self.prompt_pipeline, self.pipeline)
        text.prompt_template_encode = edit.prompt_template_encode.replace(PICTURE_SLOT, "")
        text.prompt_template_encode_start_idx = edit.prompt_template_encode_start_idx
        return text
