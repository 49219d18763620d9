"""Krea 2 (Raw and Turbo) as a velocity field.

Conventions of the family: time is s itself; the output is the velocity; latents are Qwen-Image's, packed; the text is
several layers of Qwen3-VL, kept apart (joined to one token here), padding masked. The makers count guidance from zero,
so their 4.5 is our 5.5. Turbo, whose pipeline's configuration says ``is_distilled``, has none, and one shift for
pictures of every size.

Source:
    Krea 2026, Krea 2, as diffusers 0.42.1 has it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.fit import check_widths
from latentedit.models.network import QWEN_TOKENIZERS
from latentedit.models.packed import PackedFlowBackbone, positions
from latentedit.models.patches import PATCH, Size
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Site

TURBO_SHIFT = 1.15
"""The shift that Turbo was distilled at."""


class Krea2Backbone(PackedFlowBackbone):
    """Krea 2 Raw and Turbo: ``v(z, s, c) = transformer(tokens of z, s, layers of text, mask)``.

    Turbo has no guidance, unless ``settings["guidance"]`` is other than 1.

    Args:
        components: of a ``Krea2Pipeline`` by name.
        placement: name, fingerprint, settings, device, pipeline and configuration, see `NetworkBackbone`.

    Raises:
        ModelError: parts that do not fit together.
    """

    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "scheduler": ("FlowMatchEulerDiscreteScheduler",),
        "tokenizer": QWEN_TOKENIZERS,
        "text_encoder": ("Qwen3VLModel",),
        "transformer": ("Krea2Transformer2DModel",),
        "vae": ("AutoencoderKLQwenImage",),
    }
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "masked"

    def __init__(self, components: Mapping[str, Any], **placement: Any) -> None:
        config = components["transformer"].config
        check_widths(
            text=int(config.text_hidden_dim),
            encoder=components["text_encoder"],
            channels=int(config.in_channels) // PATCH**2,
            vae=components["vae"],
        )
        self._distilled = bool((placement.get("configuration") or {}).get("is_distilled"))
        unguided = self._distilled and (placement.get("settings") or {}).get("guidance", 1) == 1
        self._layers = int(config.num_text_layers)
        self._begin(
            components,
            patch=PATCH,
            widths=(self._layers * int(config.text_hidden_dim), 0),
            guidance=1.0 if unguided else 5.5,
            kind="none" if unguided else "cfg",
            **placement,
        )

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        layers, mask = self.stock.encode_prompt(text, device=self.device, max_sequence_length=self.window)
        return layers.flatten(2), None, mask

    def _prefix_tokens(self, text: str) -> int:
        """The window holds the end of the chat, and not its beginning."""
        del text
        return int(self.stock.prompt_template_encode_num_suffix_tokens)

    def _mu(self, config: Any, tokens: int, steps: int) -> float:
        return TURBO_SHIFT if self._distilled else super()._mu(config, tokens, steps)

    def _ask_packed(
        self, tokens: Float[Tensor, "b n d"], time: Float[Tensor, " b"], condition: Condition, sizes: list[Size]
    ) -> Float[Tensor, "b n d"]:
        text_ids = torch.zeros(condition.tokens.shape[1], 3, device=tokens.device)
        return self._network(
            hidden_states=tokens,
            encoder_hidden_states=condition.tokens.unflatten(2, (self._layers, -1)),
            timestep=time,
            position_ids=torch.cat([text_ids, positions(sizes[0], first=0, axes=3, device=tokens.device)]),
            encoder_attention_mask=condition.mask,
            return_dict=False,
        )[0]

    def _sites(self) -> Mapping[str, Site]:
        """The picture's tokens after each block."""
        blocks = enumerate(self._network.transformer_blocks)
        return {f"block.{index}.image": Site(module=block, image="last") for index, block in blocks}
