"""FLUX.2 (dev, klein, klein base) in small."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from transformers import Qwen3ForCausalLM

from latentedit.testing.miniatures.parts import autoencoder_kl, drawn, mistral3_text, qwen3_text

TEXT_WIDTH = 8
LAYERS = 28
"""Of Qwen3, whose 27th is the last that is read."""


def flux2_klein(*, distilled: bool = False, seed: int = 0) -> Any:
    """A stock pipeline with one double and one single block and four channels.

    Args:
        distilled: as klein itself, which needs no guidance; else as its base model.
        seed: of every weight.
    """

    def build() -> Any:
        tokenizer, text_encoder = qwen3_text(TEXT_WIDTH, layers=LAYERS, kind=Qwen3ForCausalLM)
        return Flux2KleinPipeline(
            **_parts(guidance_embeds=False), tokenizer=tokenizer, text_encoder=text_encoder, is_distilled=distilled
        )

    return drawn(build, seed=seed)


def flux2_dev(*, seed: int = 0) -> Any:
    """The same with Mistral's text and the guidance weight as an input.

    Args:
        seed: of every weight.
    """

    def build() -> Any:
        tokenizer, text_encoder = mistral3_text(TEXT_WIDTH)
        kind: Any = Flux2Pipeline
        return kind(**_parts(guidance_embeds=True), tokenizer=tokenizer, text_encoder=text_encoder)

    return drawn(build, seed=seed)


def _parts(*, guidance_embeds: bool) -> dict[str, Any]:
    vae: Any = autoencoder_kl(4, kind=AutoencoderKLFlux2)
    with torch.no_grad():
        vae.bn.running_mean.copy_(torch.linspace(-0.5, 0.5, 16))
        vae.bn.running_var.copy_(torch.linspace(0.5, 2.0, 16))
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        "vae": vae,
        "transformer": Flux2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * TEXT_WIDTH,
            timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=guidance_embeds,
        ),
    }
