"""Z-Image and Z-Image-Turbo as a velocity field.

Conventions of the family: time is 1 - s; the output is x - e; a call takes and gives lists, one picture and one text
each; the text is Qwen3's last but one layer within a chat template, of its true length; the makers count guidance from
zero, so their 5 is our 6. Turbo is distilled and has none.

Source:
    Tongyi Lab 2025, Z-Image, arXiv 2511.22699, as diffusers 0.42.1 has it.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.capabilities import GuidanceKind
from latentedit.models.flow import FlowBackbone
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Site

TURBO_SHIFT = 3.0
"""Shift of Turbo's levels, by which it is known; the base model has 6."""


class ZImageBackbone(FlowBackbone):
    """Z-Image and Z-Image-Turbo: ``v(z, s, c) = -transformer([z], 1 - s, [text])``.

    Turbo is the model whose scheduler shifts by 3, unless ``settings["guidance"]`` is other than 1.
    """

    text_field: ClassVar[str] = "cap_feat_dim"
    chat: ClassVar[bool] = True
    sign: ClassVar[Literal[1, -1]] = -1
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "masked"

    def _patch(self) -> int:
        return int(self._network.config.all_patch_size[0])

    def _default_guidance(self) -> tuple[float, GuidanceKind]:
        turbo = self._scheduler["shift"] == TURBO_SHIFT and self.defaults.get("guidance", 1) == 1
        return (1.0, "none") if turbo else (6.0, "cfg")

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        (tokens,), _ = self.stock.encode_prompt(
            text, device=self.device, do_classifier_free_guidance=False, max_sequence_length=self.window
        )
        return tokens[None], None, None

    def _prefix_tokens(self, text: str) -> int:
        del text
        tokenizer = self.pipeline.tokenizer
        chat = tokenizer.apply_chat_template([{"role": "user", "content": "\n"}], tokenize=False, enable_thinking=True)
        return len(tokenizer(chat[: chat.rindex("\n\n") + 1]).input_ids)

    def _time(self, s: Float[Tensor, " b"], z: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        del z
        return 1 - s

    def _ask(
        self, z: Float[Tensor, "b c h w"], time: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b c h w"]:
        texts = list(condition.tokens)
        if condition.mask is not None:
            texts = [text[: int(row.sum())] for text, row in zip(texts, condition.mask, strict=True)]
        outputs = self._network(list(z[:, :, None]), time, texts, return_dict=False)[0]
        return torch.stack(outputs)[:, :, 0]

    def _sites(self) -> Mapping[str, Site]:
        """The picture's tokens after each block, the blocks before the text joins first."""
        kinds = (("refiner", self._network.noise_refiner), ("block", self._network.layers))
        return {
            f"{kind}.{index}.image": Site(module=block, image="first")
            for kind, blocks in kinds
            for index, block in enumerate(blocks)
        }
