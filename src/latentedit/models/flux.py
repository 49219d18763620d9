"""FLUX.1 (dev, schnell) and Kontext as a velocity field.

Conventions of the family: time is s itself; the output is the velocity; latents are packed; the text is T5's 512 tokens
(256 in schnell), padding attended, with CLIP's pooled state; dev takes its guidance weight as an input, schnell none.
Kontext's reference picture has 1 as the first of its rotary positions.

The network rounds time and guidance to its own dtype and then multiplies them by 1000, which in bfloat16 moves a level
by up to 0.004. The stock pipeline rounds 1000 s instead; the two differ by as much.

Source:
    Black Forest Labs 2024, FLUX.1, and 2025, FLUX.1 Kontext, arXiv 2506.15742, as diffusers 0.42.1 has them.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.models.capabilities import GuidanceKind
from latentedit.models.codec import Size
from latentedit.models.packed import FLUX_BLOCKS, PackedFlowBackbone, positions
from latentedit.models.sites import Blocks


class FluxBackbone(PackedFlowBackbone):
    """FLUX.1 dev, schnell and Kontext: ``v(z, s, c) = transformer(tokens of z, s, t5, clip, guidance)``.

    Of the settings it reads "window" too, tokens of a text. A network that takes no guidance weight was distilled to
    need none, unless they name a "guidance".
    """

    parts: ClassVar[tuple[str, ...]] = (
        "tokenizer",
        "tokenizer_2",
        "text_encoder",
        "text_encoder_2",
        "transformer",
        "vae",
    )
    tokenizer: ClassVar[str] = "tokenizer_2"
    pooled_at: ClassVar[int | None] = 1
    blocks: ClassVar[tuple[Blocks, ...]] = FLUX_BLOCKS
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "flowedit": {"level": 0.95, "steps": 28, "source_guidance": 1.5, "target_guidance": 5.5},  # 24 of 28, 1024 px
        "rf-inversion": {"steps": 28, "guidance": 3.5},
        "rf-solver": {"steps": 25, "share": 2, "guidance": 2.0},
        "fireflow": {"steps": 8, "share": 1, "guidance": 2.0},
        "stable-flow": {"steps": 50, "guidance": 3.0, "layers": (0, 1, 17, 18, 25, 28, 53, 54, 56)},
    }

    def __init__(self, pipeline: Any, **facts: Any) -> None:
        super().__init__(pipeline, **facts)
        self.window = int(self.defaults.get("window", 512 if self._network.config.guidance_embeds else 256))

    def _default_guidance(self) -> tuple[float, GuidanceKind]:
        """The weight in the model cards' examples: Kontext 2.5, dev 3.5; schnell takes none."""
        if not self._network.config.guidance_embeds:
            return 1.0, "cfg" if "guidance" in self.defaults else "none"
        return 2.5 if self._most_references() else 3.5, "embedded"

    def _most_references(self) -> int:
        return int("Kontext" in type(self.pipeline).__name__)

    def _ask_packed(self, tokens: Tensor, time: Tensor, condition: Condition, sizes: list[Size]) -> Tensor:
        ids = [positions(size, first=int(index > 0), axes=3, device=tokens.device) for index, size in enumerate(sizes)]
        return self._network(
            hidden_states=tokens,
            timestep=time,
            guidance=self._guidance(condition, tokens) if self._network.config.guidance_embeds else None,
            pooled_projections=condition.pooled,
            encoder_hidden_states=condition.tokens,
            txt_ids=tokens.new_zeros(condition.tokens.shape[1], 3),
            img_ids=torch.cat(ids),
            return_dict=False,
        )[0]
