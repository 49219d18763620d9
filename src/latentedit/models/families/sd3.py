"""Stable Diffusion 3 and 3.5 as a velocity field.

Time is 1000 s; the output is the velocity; guidance starts from the empty text.

- Levels: FlowMatchEulerDiscreteScheduler shifts its smallest level once when it is constructed and again when it makes
  the grid (shift 3: 0.0030 becomes 0.0089), so a grid comes from a new scheduler with the same configuration.
- Text: ``tokens = [ [clip_1 | clip_2 | 0] ; t5 or 0 ]``, the last hidden state but one of both CLIPs, concatenated and
  padded with zeros to the transformer's width, and then T5's tokens or zero tokens. The pooled part is the projected
  end-of-text states of both CLIPs.
- SD3.5 Large Turbo, which needs no guidance, has the configuration of SD3.5 Large in every file. So it is recognized
  by the word "turbo" in the name of the folder or hub id that the pipeline or its transformer was loaded from, unless
  the settings name a weight, such as ``{"guidance": 1.0}`` for a renamed copy.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from latentedit.models.capabilities import GuidanceKind
from latentedit.models.flow import FlowBackbone
from latentedit.models.network import LATENT_CHANNELS, check_sizes
from latentedit.models.sites import Blocks
from latentedit.numerics.condition import Condition

T5_TOKENS = 256
"""Text tokens that T5 reads, as many as in the stock pipeline."""

_TURBO = re.compile(r"(?<![a-z])turbo(?![a-z])", re.IGNORECASE)


class StableDiffusion3Backbone(FlowBackbone):
    """SD3, SD3.5 and their miniatures: ``v(z, s, c) = transformer(z, 1000 s, tokens, pooled)``.

    T5 gives 256 tokens, as in the stock pipeline. Without T5 there are as many zero tokens, or those that
    ``settings["zero_tokens"]`` says.
    """

    family: ClassVar[str] = "Stable Diffusion 3, 3.5"
    license: ClassVar[str] = "Stability AI Community"
    parts: ClassVar[tuple[str, ...]] = (
        "tokenizer",
        "tokenizer_2",
        "tokenizer_3",
        "text_encoder",
        "text_encoder_2",
        "text_encoder_3",
        "transformer",
        "vae",
    )
    pipelines: ClassVar[tuple[str, ...]] = ("StableDiffusion3Pipeline",)
    tokenizer: ClassVar[str] = "tokenizer_3"
    tokenizers: ClassVar[tuple[str, ...]] = ("tokenizer", "tokenizer_2", "tokenizer_3")
    nodes: ClassVar[Literal["even", "scheduler"]] = "scheduler"
    pooled_at: ClassVar[int | None] = 2
    trained_px: int = 0
    blocks: ClassVar[tuple[Blocks, ...]] = (Blocks(text=0, image=1, attention=("attn", "attn2")),)
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "flowedit": {"level": "33/50", "steps": 50, "source_guidance": 3.5, "target_guidance": 13.5},
        "splitflow": {"level": "33/50", "steps": 50, "until": "27/50", "source_guidance": 3.5, "target_guidance": 13.5},
        "flowalign": {"steps": 33, "guidance": 13.5},
        "dnaedit": {"level": "27/40", "steps": 40, "guidance": 3.5},
        "uni-edit": {"level": "9/15"},
        "sdedit": {"level": "30/50", "steps": 50, "guidance": 7.0},
    }
    optional_parts: ClassVar[frozenset[str]] = frozenset({"tokenizer_3", "text_encoder_3"})

    def __init__(self, pipeline: Any, **facts: Any) -> None:
        super().__init__(pipeline, **facts)
        t5 = pipeline.text_encoder_3 is not None
        self.window = T5_TOKENS if t5 else int(self.defaults.get("zero_tokens", T5_TOKENS))

    def _check_parts(self) -> None:
        transformer, pipeline = self._network.config, self.pipeline
        clips = [encoder.config for encoder in (pipeline.text_encoder, pipeline.text_encoder_2) if encoder is not None]
        pooled, width = (sum(int(getattr(clip, size)) for clip in clips) for size in ("projection_dim", "hidden_size"))
        text, t5 = transformer.joint_attention_dim, pipeline.text_encoder_3
        check_sizes("pooled text width", transformer.pooled_projection_dim, pooled)
        check_sizes("text width", text, max(width, text if t5 is None else t5.config.d_model))  # CLIP's is padded
        check_sizes(LATENT_CHANNELS, transformer.in_channels, self._codec.channels)

    def _default_guidance(self) -> tuple[float, GuidanceKind]:
        """The weight in the model cards' examples: SD3.5 Medium 4.5, SD3.5 Large 3.5, SD3 7, Turbo none."""
        config = self._network.config
        names = (self.name, str(config.get("_name_or_path", "")))
        if "guidance" not in self.defaults and any(map(_is_turbo, names)):
            return 1.0, "none"
        if config.dual_attention_layers:
            return 4.5, "cfg"
        return (3.5 if config.qk_norm else 7.0), "cfg"

    def _largest_side(self) -> int | None:
        positions = self._network.config.pos_embed_max_size
        return int(positions) * self._multiple if positions else None

    def _predict(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return self._network(
            hidden_states=z,
            timestep=time,
            encoder_hidden_states=condition.tokens,
            pooled_projections=condition.pooled,
            return_dict=False,
        )[0]


def _is_turbo(name: str) -> bool:
    """Whether the last part of a folder's path or hub id calls the model so, as a word of its own."""
    return _TURBO.search(name.replace("\\", "/").rstrip("/").rpartition("/")[2]) is not None
