"""Ovis-Image in small."""

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, OvisImagePipeline, OvisImageTransformer2DModel

from latentedit.testing.miniatures.parts import autoencoder_kl, drawn, qwen3_text


def ovis_image(*, seed: int = 0) -> Any:
    """A stock pipeline with one double and one single block and four channels.

    Args:
        seed: of every weight.
    """

    def build() -> Any:
        tokenizer, text_encoder = qwen3_text()
        kind: Any = OvisImagePipeline
        return kind(
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=autoencoder_kl(4, scaling_factor=0.3611, shift_factor=0.1159),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            transformer=OvisImageTransformer2DModel(
                in_channels=16,
                out_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=16,
                axes_dims_rope=(4, 4, 8),
            ),
        )

    return drawn(build, seed=seed)
