"""Qwen-Image, Qwen-Image-Edit (also 2509 and 2511) and Krea 2, on the latents of Qwen-Image.

Time is s itself; the output is the velocity; latents are packed, of an autoencoder for video with one frame and
statistics for each channel; padding of the text is masked.

Source:
    Qwen Team 2025, Qwen-Image, arXiv 2508.02324; Krea 2026, Krea 2; both as in diffusers 0.42.1.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from latentedit.core.errors import ModelError
from latentedit.models.capabilities import GuidanceKind
from latentedit.models.codec import Size
from latentedit.models.flow import PackedFlowBackbone, positions
from latentedit.models.libraries import pipeline_of
from latentedit.models.pipelines import components_of
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Blocks
from latentedit.numerics.condition import Condition

IMAGE_PLACEHOLDER = "<|vision_start|><|image_pad|><|vision_end|>"
"""Stands for an image in a chat."""

KREA_TURBO_SHIFT = 1.15
"""The shift that Krea 2 Turbo was distilled at."""


class QwenImageBackbone(PackedFlowBackbone):
    """Qwen-Image: ``v(z, s, c) = transformer(tokens of z, s, text, mask)``.

    The text is the last layer of Qwen2.5-VL after the fixed beginning of a chat. The stock pipelines give a guided
    velocity the norm of the conditional one, token by token (`GuidedField.renormalized`). Levels end at 0.02 before
    the last, 0 (``shift_terminal``).

    The edit models are the same with reference images, ``Condition.reference``, which follow the image in
    ``img_shapes``. The stock pipelines also show them to the text encoder. Here it reads the prompt only, in the chat
    of the edit models: a reference contributes through its latents.
    """

    family: ClassVar[str] = "Qwen-Image"
    license: ClassVar[str] = "Apache-2.0"
    pipelines: ClassVar[tuple[str, ...]] = ("QwenImagePipeline", "QwenImageEditPipeline", "QwenImageEditPlusPipeline")
    guidance: ClassVar[float] = 4.0
    guidance_kind: ClassVar[GuidanceKind] = "renormalized"
    mask_at: ClassVar[int | None] = 1
    blocks: ClassVar[tuple[Blocks, ...]] = (Blocks(text=0, image=1, attention=("attn",)),)
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "masked"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> type["QwenImageBackbone"]:
        """The network of layered images takes another input."""
        if config.get("use_additional_t_cond"):
            raise ModelError(
                "this Qwen-Image network is made for images in layers (use_additional_t_cond). Use another"
            )
        return cls

    @classmethod
    def stock_class(cls, kinds: Sequence[str], parts: Mapping[str, Any]) -> str:
        """The edit models have a processor."""
        return super().stock_class([*kinds, "QwenImageEdit"] if parts.get("processor") else kinds, parts)

    def _most_references(self) -> int:
        """One in the first version of the edit models, up to three from 2509 on (Plus)."""
        kind = type(self.pipeline).__name__
        return 0 if "Edit" not in kind else 3 if "Plus" in kind else 1

    @functools.cached_property
    def stock(self) -> Any:
        """The text-to-image pipeline, of an edit model with its chat, without the image."""
        if not self._most_references():
            return self.pipeline
        edit, text = self.pipeline, pipeline_of(self.pipelines[0], components_of(self.pipeline), {})
        text.prompt_template_encode = edit.prompt_template_encode.replace(IMAGE_PLACEHOLDER, "")
        text.prompt_template_encode_start_idx = edit.prompt_template_encode_start_idx
        return text

    def _predict_packed(self, tokens: Tensor, time: Tensor, condition: Condition, sizes: list[Size]) -> Tensor:
        return self._network(
            hidden_states=tokens,
            timestep=time,
            encoder_hidden_states=condition.tokens,
            encoder_hidden_states_mask=condition.mask,
            img_shapes=[[(1, rows, columns) for rows, columns in sizes]] * len(tokens),
            return_dict=False,
        )[0]


class Krea2Backbone(PackedFlowBackbone):
    """Krea 2 Raw and Turbo: ``v(z, s, c) = transformer(tokens of z, s, layers of text, mask)``.

    The text is several layers of Qwen3-VL, concatenated to one token here. The makers count guidance from zero: their
    4.5 is 5.5 here. Turbo, whose pipeline says ``is_distilled``, has one shift for images of every size, and no
    guidance, unless ``settings["guidance"]`` is other than 1.
    """

    family: ClassVar[str] = "Krea 2"
    pipelines: ClassVar[tuple[str, ...]] = ("Krea2Pipeline",)
    text_field: ClassVar[str] = "text_hidden_dim"
    guidance: ClassVar[float] = 5.5
    mask_at: ClassVar[int | None] = 1
    blocks: ClassVar[tuple[Blocks, ...]] = (Blocks(joined="last"),)
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "masked"

    def _text_widths(self) -> tuple[int, int]:
        config = self._network.config
        return int(config.num_text_layers) * int(config.text_hidden_dim), 0

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        layers, pooled, mask = super()._encode_prompt(text)
        return layers.flatten(2), pooled, mask

    def _prefix_tokens(self, text: str) -> int:
        """The end of the chat; its beginning does not count."""
        return int(self.stock.prompt_template_encode_num_suffix_tokens)

    def _mu(self, config: Any, tokens: int, steps: int) -> float:
        return KREA_TURBO_SHIFT if self._is_distilled() else super()._mu(config, tokens, steps)

    def _predict_packed(self, tokens: Tensor, time: Tensor, condition: Condition, sizes: list[Size]) -> Tensor:
        text_ids = torch.zeros(condition.tokens.shape[1], 3, device=tokens.device)
        return self._network(
            hidden_states=tokens,
            encoder_hidden_states=condition.tokens.unflatten(2, (int(self._network.config.num_text_layers), -1)),
            timestep=time,
            position_ids=torch.cat([text_ids, positions(sizes[0], first=0, axes=3, device=tokens.device)]),
            encoder_attention_mask=condition.mask,
            return_dict=False,
        )[0]
