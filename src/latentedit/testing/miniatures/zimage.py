"""Z-Image and Z-Image-Turbo in small."""

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel

from latentedit.testing.miniatures.parts import autoencoder_kl, drawn, qwen3_text


def zimage(*, turbo: bool = False, seed: int = 0) -> Any:
    """A stock pipeline with one block before the text joins and one after, and four channels.

    Args:
        turbo: with the levels of the distilled model.
        seed: of every weight.
    """

    def build() -> Any:
        tokenizer, text_encoder = qwen3_text()
        kind: Any = ZImageTransformer2DModel
        transformer = kind(
            in_channels=4,
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=16,
            axes_dims=[4, 4, 8],
            axes_lens=[128, 32, 32],
        )
        return ZImagePipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0 if turbo else 6.0),
            vae=autoencoder_kl(4, scaling_factor=0.3611, shift_factor=0.1159),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            transformer=transformer,
        )

    return drawn(build, seed=seed)
