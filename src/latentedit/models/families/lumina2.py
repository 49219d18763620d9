"""Lumina-Image 2.0 and Z-Image, transformers whose time is 1 - s and whose output is x - e.

Source:
    Qin et al. 2025, Lumina-Image 2.0, arXiv 2503.21758; Tongyi Lab 2025, Z-Image, arXiv 2511.22699; both as in
    diffusers 0.42.1.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from latentedit.models.capabilities import GuidanceKind
from latentedit.models.flow import Clock, FlowBackbone
from latentedit.models.prompts import EncodedPrompt, tokens_before
from latentedit.models.sites import Blocks
from latentedit.numerics.condition import Condition

Z_TURBO_SHIFT = 3.0
"""Shift of the levels of Z-Image-Turbo; the base model has 6."""


class Lumina2Backbone(FlowBackbone):
    """Lumina-Image 2.0: ``v(z, s, c) = -transformer(z, 1 - s, gemma)``.

    The text is the last layer but one of Gemma 2, of a prompt that begins with a system prompt; the empty text has
    none. The stock pipeline gives every row of guided latents the norm of the conditional one. Image tokens follow the
    text, so only texts of equal length share a call.
    """

    family: ClassVar[str] = "Lumina-Image 2.0"
    license: ClassVar[str] = "Apache-2.0"
    pipelines: ClassVar[tuple[str, ...]] = ("Lumina2Pipeline",)
    text_field: ClassVar[str] = "cap_feat_dim"
    guidance: ClassVar[float] = 4.0
    guidance_kind: ClassVar[GuidanceKind] = "renormalized"
    guidance_norm: ClassVar[Literal["token", "row"]] = "row"
    sign: ClassVar[Literal[1, -1]] = -1
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "equal"
    clock: ClassVar[Clock] = "clean"
    window: int = 256
    blocks: ClassVar[tuple[Blocks, ...]] = (
        Blocks(name="refiner", modules="noise_refiner"),
        Blocks(modules="layers", joined="last"),
    )

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        tokens, mask, null, null_mask = self._stock_prompt(text, do_classifier_free_guidance=not text)
        return (tokens, None, mask) if text else (null, None, null_mask)

    def _prefix_tokens(self, text: str) -> int:
        """The system prompt."""
        return tokens_before(self._words, f"{self.stock.system_prompt} <Prompt Start> ", text)

    def _predict(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return self._network(
            z,
            timestep=time,
            encoder_hidden_states=condition.tokens,
            encoder_attention_mask=torch.ones_like(condition.tokens[..., 0], dtype=torch.bool),
            return_dict=False,
        )[0]


class ZImageBackbone(FlowBackbone):
    """Z-Image and Z-Image-Turbo: ``v(z, s, c) = -transformer([z], 1 - s, [text])``.

    A call takes and returns lists with one image and one text each. The text is the last layer but one of Qwen3 in a
    chat template, of its true length. The makers count guidance from zero: their 5 is 6 here. The model whose
    scheduler shifts by 3 is Turbo, which has none, unless ``settings["guidance"]`` is other than 1.
    """

    family: ClassVar[str] = "Z-Image"
    license: ClassVar[str] = "Apache-2.0"
    pipelines: ClassVar[tuple[str, ...]] = ("ZImagePipeline",)
    text_field: ClassVar[str] = "cap_feat_dim"
    chat: ClassVar[bool] = True
    guidance: ClassVar[float] = 6.0
    clock: ClassVar[Clock] = "clean"
    sign: ClassVar[Literal[1, -1]] = -1
    blocks: ClassVar[tuple[Blocks, ...]] = (
        Blocks(name="refiner", modules="noise_refiner", joined="first"),
        Blocks(modules="layers", joined="first"),
    )
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "masked"

    def _patch(self) -> int:
        return int(self._network.config.all_patch_size[0])

    def _is_distilled(self) -> bool:
        return self._scheduler["shift"] == Z_TURBO_SHIFT

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        (tokens,), _ = self._stock_prompt(text)
        return tokens[None], None, None

    def _prefix_tokens(self, text: str) -> int:
        tokenizer = self.pipeline.tokenizer
        chat = tokenizer.apply_chat_template([{"role": "user", "content": "\n"}], tokenize=False, enable_thinking=True)
        return len(tokenizer(chat[: chat.rindex("\n\n") + 1]).input_ids)

    def _predict(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        texts = list(condition.tokens)
        if condition.mask is not None:
            texts = [text[: int(row.sum())] for text, row in zip(texts, condition.mask, strict=True)]
        outputs = self._network(list(z[:, :, None]), time, texts, return_dict=False)[0]
        return torch.stack(outputs)[:, :, 0]
