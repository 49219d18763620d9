"""Chroma in small."""

from typing import Any

import torch
from diffusers import ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler

from latentedit.testing.miniatures.parts import T5_WIDTH, autoencoder_kl, drawn, t5_text

MODULATION = 0.3
"""Scales of what modulates the blocks: at 1, rounding in float32 is as large as what finite differences measure."""


def chroma(*, seed: int = 0) -> Any:
    """A stock pipeline with one double and one single block and four channels.

    Args:
        seed: of every weight.
    """

    def build() -> Any:
        tokenizer, text_encoder = t5_text()
        return ChromaPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=autoencoder_kl(4, scaling_factor=0.3611, shift_factor=0.1159),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            transformer=ChromaTransformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=T5_WIDTH,
                axes_dims_rope=(4, 4, 8),
                approximator_num_channels=16,
                approximator_hidden_dim=16,
                approximator_layers=1,
            ),
        )

    pipeline = drawn(build, seed=seed)
    with torch.no_grad():
        pipeline.transformer.distilled_guidance_layer.out_proj.weight.mul_(MODULATION)
    return pipeline
