"""FLUX.2 (dev, klein and klein's base models) as a velocity field.

Conventions of the family: time is s itself; the output is the velocity; latents are patches in the statistics of the
autoencoder's batch norm, packed; the text is three layers of Mistral (dev) or Qwen3 (klein) side by side, within a chat
template, 512 tokens, padding attended. Rotary positions have four axes: reference, row, column, word. Reference
pictures stand at 10, 20, ... of the first. Dev takes its guidance weight as an input; klein needs none where its
pipeline's configuration says ``is_distilled``, and is guided as usual where it does not. Levels are shifted by the size
of the picture and by their own number.

The network rounds time and guidance to its own dtype and then multiplies them by 1000, as in FLUX.1.

Source:
    Black Forest Labs 2025, FLUX.2, as diffusers 0.42.1 has it.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.capabilities import GuidanceKind
from latentedit.models.codec import Size
from latentedit.models.packed import PackedFlowBackbone, positions
from latentedit.models.sites import Blocks

AXES = 4
"""Of a rotary position: reference, row, column, word."""

REFERENCE_STEP = 10
"""Distance of reference pictures on the first axis."""

TEXT_MARK = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands for a text in a chat."""

MANY_TOKENS = 4300
"""Pictures of more tokens are shifted alike at every number of steps."""


class Flux2Backbone(PackedFlowBackbone):
    """FLUX.2 dev, klein and klein base: ``v(z, s, c) = transformer(tokens of z, s, text, guidance)``.

    Klein that is distilled has no guidance, unless ``settings["guidance"]`` is other than 1.
    """

    text_layers: ClassVar[int] = 3
    chat: ClassVar[bool] = True
    guidance: ClassVar[float] = 4.0
    blocks: ClassVar[tuple[Blocks, ...]] = (
        Blocks(name="double", text=0, image=1),
        Blocks(name="single", modules="single_transformer_blocks", joined="last"),
    )

    def _default_guidance(self) -> tuple[float, GuidanceKind]:
        return (self.guidance, "embedded") if self._network.config.guidance_embeds else super()._default_guidance()

    def _is_distilled(self) -> bool:
        return bool(self.pipeline.config.get("is_distilled"))

    def _most_references(self) -> int:
        return 10

    def _prefix_tokens(self, text: str) -> int:
        """The beginning of the chat, which holds what the tokenizer itself would mark it with."""
        del text
        tokenizer, system = self.pipeline.tokenizer, getattr(self.stock, "system_message", None)
        chat = [{"role": "user", "content": TEXT_MARK}]
        if system is not None:
            turns = [("system", system), ("user", TEXT_MARK)]
            chat = [{"role": role, "content": [{"type": "text", "text": said}]} for role, said in turns]
        before = tokenizer.apply_chat_template(chat, tokenize=False).partition(TEXT_MARK)[0]
        return len(self._words(before, add_special_tokens=False).input_ids) - self._words.num_special_tokens_to_add()

    def _mu(self, config: Any, tokens: int, steps: int) -> float:
        """The makers' fit: lines in tokens for 200 steps and for 10, and a line in steps through both."""
        del config
        at_200 = 0.00016927 * tokens + 0.45666666
        if tokens > MANY_TOKENS:
            return at_200
        at_10 = 8.73809524e-05 * tokens + 1.89833333
        return at_200 + (at_200 - at_10) / 190 * (steps - 200)

    def _ask_packed(self, tokens: Tensor, time: Tensor, condition: Condition, sizes: list[Size]) -> Tensor:
        words, device = condition.tokens.shape[1], tokens.device
        text_ids = torch.zeros(words, AXES, device=device)
        text_ids[:, 3] = torch.arange(words, device=device)
        ids = [
            positions(size, first=REFERENCE_STEP * index, axes=AXES, device=device) for index, size in enumerate(sizes)
        ]
        return self._network(
            hidden_states=tokens,
            timestep=time,
            guidance=self._guidance(condition, tokens) if self._network.config.guidance_embeds else None,
            encoder_hidden_states=condition.tokens,
            txt_ids=text_ids,
            img_ids=torch.cat(ids),
            return_dict=False,
        )[0]
