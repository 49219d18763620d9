"""Qwen-Image 2.1 and 2.1 Turbo: one network for text-to-image and for instructions with reference images.

Time is s itself; the output is the velocity; latents are not packed, of an autoencoder of 16 px a latent for images
with an alpha channel. Text, reference images and image form one causal sequence; the first two are at time 0.

Source:
    Qwen Team 2026, Qwen-Image 2.1, as in diffusers 0.42.1.
"""

import functools
import math
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from latentedit.models.codec import PATCH_SIDE
from latentedit.models.flow import Clock, FlowBackbone
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Blocks
from latentedit.numerics.condition import Condition


class QwenImage21Backbone(FlowBackbone):
    """Qwen-Image 2.1: ``v(z, s, c) = transformer(text with references, z, s)``.

    The text is Qwen3-VL's last layer before its norm, behind the system's turn of a chat. The makers sample without
    guidance, a weight of 1. Turbo, whose pipeline has ``sample_sigmas``, needs none, and has levels of its own, which
    are interpolated for another number of steps.

    Reference images take the places of latents in the user's turn, before the prompt, one place for 2 x 2 latents. The
    stock pipeline also shows them to the text encoder. Here it reads the prompt only, in the chat of text-to-image: a
    reference contributes through its latents.
    """

    family: ClassVar[str] = "Qwen-Image 2.1"
    license: ClassVar[str] = "Qwen Research"
    multiple_px: ClassVar[int] = 32
    parts: ClassVar[tuple[str, ...]] = ("processor", "text_encoder", "transformer", "vae")
    pipelines: ClassVar[tuple[str, ...]] = ("QwenImage21Pipeline",)
    tokenizer: ClassVar[str] = "processor"
    text_field: ClassVar[str] = "context_in_dim"
    clock: ClassVar[Clock] = "level"
    mask_at: ClassVar[int | None] = 1
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "equal"
    window: int = 1024
    blocks: ClassVar[tuple[Blocks, ...]] = (Blocks(joined="last", attention=("attn",)),)

    def _patch(self) -> int:
        return PATCH_SIDE

    def _is_distilled(self) -> bool:
        return bool(self.pipeline.config.get("sample_sigmas"))

    def _most_references(self) -> int:
        return 10

    @functools.cached_property
    def _turn(self) -> tuple[int, int]:
        """Numbers of tokens before and after the prompt, without those of the system's turn."""
        before, after = (len(self._words(part).input_ids) for part in self.stock.prompt_template_t2i.split("{}"))
        return before - self.stock._drop_idx, after

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        room, ids = self.window - sum(self._turn), self._words(text).input_ids
        return super()._encode_prompt(text if len(ids) <= room else self._words.decode(ids[:room]))

    def _prefix_tokens(self, text: str) -> int:
        return sum(self._turn)

    def _unshifted(self, steps: int) -> list[float] | None:
        own = self.pipeline.config.get("sample_sigmas")
        if not own:
            return super()._unshifted(steps)
        return np.interp(np.linspace(0, len(own), steps + 1)[:-1], range(len(own) + 1), [*own, 0.0]).tolist()

    def _mu(self, config: Any, tokens: int, steps: int) -> float:
        return super()._mu(config, tokens * PATCH_SIDE**2, steps)

    def _image_tokens(self, z: Tensor, condition: Condition) -> int:
        # Without the references of the condition, which are not the image's neighbors: the text is between them.
        return z.shape[-2] * z.shape[-1]

    def _predict(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        images = [*(latents.to(z.dtype) for latents in condition.reference or ()), z]
        shapes = [(1, *latents.shape[-2:]) for latents in images]
        *shown, own = (math.prod(shape) // PATCH_SIDE**2 for shape in shapes)
        before, after = condition.tokens.tensor_split([self._turn[0]], dim=1)
        places = before.new_zeros(len(z), sum(shown), before.shape[-1])
        words = torch.cat([before, places, after], dim=1)
        is_image = torch.ones(len(z), words.shape[1] + own, dtype=torch.bool, device=z.device)
        is_image[:, : before.shape[1]] = is_image[:, before.shape[1] + sum(shown) : words.shape[1]] = False
        output = self._network(
            hidden_states=torch.cat([latents.flatten(2).transpose(1, 2) for latents in images], dim=1),
            encoder_hidden_states=words,
            timestep=time,
            img_shapes=[shapes] * len(z),
            img_mask=is_image,
            return_dict=False,
        )[0]
        return output[:, -z.shape[-2] * z.shape[-1] :].transpose(1, 2).unflatten(2, tuple(z.shape[-2:]))
