"""CogView4 in small."""

from typing import Any

from diffusers import CogView4Pipeline, CogView4Transformer2DModel, FlowMatchEulerDiscreteScheduler

from latentedit.testing.miniatures.parts import autoencoder_kl, drawn, glm_text


def cogview4(*, seed: int = 0) -> Any:
    """A stock pipeline with two blocks and four channels.

    Args:
        seed: of every weight.
    """

    def build() -> Any:
        tokenizer, text_encoder = glm_text()
        transformer = CogView4Transformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            text_embed_dim=16,
            time_embed_dim=16,
            condition_dim=8,
            sample_size=8,
        )
        return CogView4Pipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(
                base_shift=0.25, max_shift=0.75, use_dynamic_shifting=True, time_shift_type="linear"
            ),
            vae=autoencoder_kl(4, scaling_factor=1.0),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            transformer=transformer,
        )

    return drawn(build, seed=seed)
