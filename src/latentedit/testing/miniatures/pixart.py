"""PixArt-alpha and PixArt-Sigma in small."""

from typing import Any

from diffusers import DDIMScheduler, PixArtAlphaPipeline, PixArtSigmaPipeline, PixArtTransformer2DModel

from latentedit.testing.miniatures.parts import T5_WIDTH, autoencoder_kl, drawn, t5_text


def pixart(*, sigma: bool = False, seed: int = 0) -> Any:
    """A stock pipeline with two blocks, on DDIM that ends at the clean estimate.

    Args:
        sigma: Sigma, which is told no sizes; else alpha of 1024 px, which is.
        seed: of every weight.
    """

    def build() -> Any:
        tokenizer, text_encoder = t5_text()
        kind: Any = PixArtSigmaPipeline if sigma else PixArtAlphaPipeline
        transformer: Any = PixArtTransformer2DModel
        return kind(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            vae=autoencoder_kl(4, scaling_factor=0.13025 if sigma else 0.18215),
            transformer=transformer(
                sample_size=128,
                use_additional_conditions=not sigma,
                num_layers=2,
                num_attention_heads=2,
                attention_head_dim=12,
                in_channels=4,
                out_channels=8,
                cross_attention_dim=24,
                caption_channels=T5_WIDTH,
            ),
            scheduler=DDIMScheduler(
                beta_schedule="linear",
                beta_start=1e-4,
                beta_end=0.02,
                clip_sample=False,
                set_alpha_to_one=True,
            ),
        )

    return drawn(build, seed=seed)
