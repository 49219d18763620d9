"""FLUX.3 and its step-distilled form, FLUX.3 Klein, which diffusers has as modular pipelines only.

Time is s itself; the output is the velocity; latents are those of FLUX.2. Text and reference images are at time 0, and
the padding of the text is attended to. The prompt upsampler of the stock pipelines is not used: captions are read as
they are.

Source:
    Black Forest Labs 2026, FLUX.3, as in diffusers 0.42.1.
"""

import functools
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from latentedit.models.capabilities import GuidanceKind
from latentedit.models.codec import Size
from latentedit.models.families.flux import Flux2Backbone
from latentedit.models.flow import FlowBackbone, positions
from latentedit.models.libraries import library_class
from latentedit.models.prompts import EncodedPrompt
from latentedit.models.sites import Blocks
from latentedit.numerics.condition import Condition

GRID_STEP = 0.5
"""Distance between image tokens on the axes of rows and columns."""


class Flux3Backbone(Flux2Backbone):
    """FLUX.3: ``v(z, s, c) = transformer(tokens of z, s, text)``, with reference images as inputs of their own.

    The text is eight layers of Qwen3-VL, concatenated, of a chat padded to a multiple of 80 tokens. The default
    guidance weight is that of the pipeline's guider. Klein is distilled to a flow map of few steps and needs no
    guidance: ``u(z, s, s', c) = transformer(tokens of z, s, s', text)``, and its velocity is ``u(z, s, s, c)``.
    """

    family: ClassVar[str] = "FLUX.3"
    license: ClassVar[str] = "FLUX Kommunity"
    pipelines: ClassVar[tuple[str, ...]] = ("Flux3ModularPipeline", "Flux3DistilledModularPipeline")
    text_layers: ClassVar[int] = 8
    guidance: ClassVar[float] = 3.5
    windows: ClassVar[Literal["exact", "masked", "equal"]] = "equal"
    window: int = 800
    blocks: ClassVar[tuple[Blocks, ...]] = (
        Blocks(name="single", modules="single_transformer_blocks", image=1, joined="last", attention=("attn",)),
    )

    def _default_guidance(self) -> tuple[float, GuidanceKind]:
        weight, kind = FlowBackbone._default_guidance(self)
        guider = getattr(self.pipeline, "guider", None)
        return float(getattr(guider, "guidance_scale", weight) if kind == "cfg" else weight), kind

    def _is_distilled(self) -> bool:
        return self._is_flow_map()

    @functools.cached_property
    def stock(self) -> Any:
        """The text encoder's block of the stock pipeline."""
        text = library_class("diffusers", "Flux3AutoBlocks")().sub_blocks["text_encoder"].init_pipeline()
        text.update_components(text_encoder=self.pipeline.text_encoder, tokenizer=self.pipeline.tokenizer)
        return text

    def _encode_prompt(self, text: str) -> EncodedPrompt:
        return self.stock(prompt=text, max_sequence_length=self.window, output="prompt_embeds"), None, None

    def _predict_packed(self, tokens: Tensor, time: Tensor, condition: Condition, sizes: list[Size]) -> Tensor:
        count, places = sizes[0][0] * sizes[0][1], _positions(sizes, tokens.device)
        words = torch.zeros(condition.tokens.shape[1], 4, device=tokens.device)
        words[:, 3] = torch.arange(len(words), device=tokens.device)
        given: dict[str, Any] = {}
        if sizes[1:]:
            given = {"image_cond_hidden_states": tokens[:, count:], "image_cond_ids": places[count:]}
        if self.capabilities.flow_map:
            given["target_timestep"] = time if condition.arrival is None else torch.full_like(time, condition.arrival)
        return self._network(
            hidden_states=tokens[:, :count],
            encoder_hidden_states=condition.tokens,
            timestep=time,
            img_ids=places[:count],
            txt_ids=words,
            return_dict=False,
            **given,
        )[0]


def _positions(sizes: list[Size], device: torch.device) -> Float[Tensor, "n 4"]:
    """Rotary positions ``(0, row / 2, column / 2, -i)`` of image i; 0 is the image."""
    ids = [GRID_STEP * positions(size, first=0, axes=4, device=device) for size in sizes]
    return torch.cat([functional.pad(one[:, :3], (0, 1), value=-i) for i, one in enumerate(ids)])
