"""Krea 2 (Raw and Turbo) as a velocity field.

Conventions of the family: time is s itself; the output is the velocity; latents are Qwen-Image's, packed; the text is
several layers of Qwen3-VL, kept apart (joined to one token here), padding masked. The makers count guidance from zero,
so their 4.5 is our 5.5. Turbo, whose pipeline's configuration says ``is_distilled``, has none, and one shift for
pictures of every size.

Source:
    Krea 2026, Krea 2, as diffusers 0.42.1 has it.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.codec import Size
from latentedit.models.packed import PackedFlowBackbone, positions
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Blocks

TURBO_SHIFT = 1.15
"""The shift that Turbo was distilled at."""


class Krea2Backbone(PackedFlowBackbone):
    """Krea 2 Raw and Turbo: ``v(z, s, c) = transformer(tokens of z, s, layers of text, mask)``.

    Turbo has no guidance, unless ``settings["guidance"]`` is other than 1.
    """

    text_field: ClassVar[str] = "text_hidden_dim"
    guidance: ClassVar[float] = 5.5
    mask_at: ClassVar[int | None] = 1
    blocks: ClassVar[tuple[Blocks, ...]] = (Blocks(joined="last"),)
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "masked"

    def _text_widths(self) -> tuple[int, int]:
        config = self._network.config
        return int(config.num_text_layers) * int(config.text_hidden_dim), 0

    def _is_distilled(self) -> bool:
        return bool(self.pipeline.config.get("is_distilled"))

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        layers, pooled, mask = super()._encode_prompt(text)
        return layers.flatten(2), pooled, mask

    def _prefix_tokens(self, text: str) -> int:
        """The window holds the end of the chat, and not its beginning."""
        del text
        return int(self.stock.prompt_template_encode_num_suffix_tokens)

    def _mu(self, config: Any, tokens: int, steps: int) -> float:
        return TURBO_SHIFT if self._is_distilled() else super()._mu(config, tokens, steps)

    def _ask_packed(self, tokens: Tensor, time: Tensor, condition: Condition, sizes: list[Size]) -> Tensor:
        text_ids = torch.zeros(condition.tokens.shape[1], 3, device=tokens.device)
        return self._network(
            hidden_states=tokens,
            encoder_hidden_states=condition.tokens.unflatten(2, (int(self._network.config.num_text_layers), -1)),
            timestep=time,
            position_ids=torch.cat([text_ids, positions(sizes[0], first=0, axes=3, device=tokens.device)]),
            encoder_attention_mask=condition.mask,
            return_dict=False,
        )[0]
