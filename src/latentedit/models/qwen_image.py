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
from typing import Any, ClassVar, Literal

from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.capabilities import GuidanceKind
from latentedit.models.codec import Size
from latentedit.models.libraries import pipeline_of
from latentedit.models.packed import PackedFlowBackbone
from latentedit.models.sites import Blocks

PICTURE_SLOT = "<|vision_start|><|image_pad|><|vision_end|>"
"""Where a chat holds a picture."""


class QwenImageBackbone(PackedFlowBackbone):
    """Qwen-Image: ``v(z, s, c) = transformer(tokens of z, s, text, mask)``."""

    prompt_pipeline: ClassVar[str] = "QwenImagePipeline"
    guidance: ClassVar[float] = 4.0
    guidance_kind: ClassVar[GuidanceKind] = "renormalised"
    mask_at: ClassVar[int | None] = 1
    blocks: ClassVar[tuple[Blocks, ...]] = (Blocks(text=0, image=1, attention=("attn",)),)
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "masked"

    def _ask_packed(self, tokens: Tensor, time: Tensor, condition: Condition, sizes: list[Size]) -> Tensor:
        return self._network(
            hidden_states=tokens,
            timestep=time,
            encoder_hidden_states=condition.tokens,
            encoder_hidden_states_mask=condition.mask,
            img_shapes=[[(1, rows, columns) for rows, columns in sizes]] * len(tokens),
            return_dict=False,
        )[0]


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
