"""Lumina-Image 2.0 in small."""

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, Lumina2Pipeline, Lumina2Transformer2DModel

from latentedit.testing.miniatures.parts import autoencoder_kl, drawn, gemma2_text


def lumina2(*, seed: int = 0) -> Any:
    """A stock pipeline with one block before the text joins and one after, and four channels.

    Args:
        seed: of every weight.
    """

    def build() -> Any:
        tokenizer, text_encoder = gemma2_text()
        transformer = Lumina2Transformer2DModel(
            sample_size=8,
            in_channels=4,
            hidden_size=32,
            num_layers=1,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=(4, 4, 8),
            axes_lens=(300, 32, 32),
            cap_feat_dim=16,
        )
        return Lumina2Pipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0),
            vae=autoencoder_kl(4, scaling_factor=0.3611, shift_factor=0.1159),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            transformer=transformer,
        )

    return drawn(build, seed=seed)
