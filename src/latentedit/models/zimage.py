"""Z-Image and Z-Image-Turbo as a velocity field.

Conventions of the family: time is 1 - s; the output is x - e; a call takes and gives lists, one picture and one text
each; the text is Qwen3's last but one layer within a chat template, of its true length; the makers count guidance from
zero, so their 5 is our 6. Turbo is distilled and has none.

Source:
    Tongyi Lab 2025, Z-Image, arXiv 2511.22699, as diffusers 0.42.1 has it.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.flow import Clock, FlowBackbone
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Blocks

TURBO_SHIFT = 3.0
"""Shift of Turbo's levels, by which it is known; the base model has 6."""


class ZImageBackbone(FlowBackbone):
    """Z-Image and Z-Image-Turbo: ``v(z, s, c) = -transformer([z], 1 - s, [text])``.

    Turbo is the model whose scheduler shifts by 3, unless ``settings["guidance"]`` is other than 1.
    """

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
        return self._scheduler["shift"] == TURBO_SHIFT

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        (tokens,), _ = self._stock_prompt(text)
        return tokens[None], None, None

    def _prefix_tokens(self, text: str) -> int:
        del text
        tokenizer = self.pipeline.tokenizer
        chat = tokenizer.apply_chat_template([{"role": "user", "content": "\n"}], tokenize=False, enable_thinking=True)
        return len(tokenizer(chat[: chat.rindex("\n\n") + 1]).input_ids)

    def _ask(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        texts = list(condition.tokens)
        if condition.mask is not None:
            texts = [text[: int(row.sum())] for text, row in zip(texts, condition.mask, strict=True)]
        outputs = self._network(list(z[:, :, None]), time, texts, return_dict=False)[0]
        return torch.stack(outputs)[:, :, 0]
