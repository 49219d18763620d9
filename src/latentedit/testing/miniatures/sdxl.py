"""Stable Diffusion XL in small."""

from typing import Any

from diffusers import DDIMScheduler, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline, UNet2DConditionModel

from latentedit.testing.miniatures.parts import autoencoder_kl, clip_text, drawn

_BETAS: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def sdxl(
    scheduler: Any = DDIMScheduler,
    *,
    settings: dict[str, Any] | None = None,
    force_zeros: bool = True,
    image_to_image: bool = False,
    statistics: bool = False,
    seed: int = 0,
) -> Any:
    """A stock pipeline with two sizes of blocks, pictures of 64 px, latents of 8 x 8.

    Args:
        scheduler: its class.
        settings: of the scheduler, beside the betas.
        force_zeros: guidance starts from zeros, and not from the empty text.
        image_to_image: of the class that starts from a picture.
        statistics: the autoencoder's latents have a mean and a deviation a channel.
        seed: of every weight.
    """

    def build() -> Any:
        tokenizer, text_encoder = clip_text(8)
        tokenizer_2, text_encoder_2 = clip_text(16, projected=True, pad_token="!")
        channels = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [0.8, 1.1, 0.9, 1.3]} if statistics else {}
        unet: Any = UNet2DConditionModel  # its annotations say tuples of four
        kind: Any = StableDiffusionXLImg2ImgPipeline if image_to_image else StableDiffusionXLPipeline
        return kind(
            vae=autoencoder_kl(4, scaling_factor=0.13025, force_upcast=True, **channels),
            text_encoder=text_encoder,
            text_encoder_2=text_encoder_2,
            tokenizer=tokenizer,
            tokenizer_2=tokenizer_2,
            unet=unet(
                sample_size=8,
                block_out_channels=(8, 16),
                layers_per_block=1,
                norm_num_groups=4,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                attention_head_dim=2,
                use_linear_projection=True,
                cross_attention_dim=24,
                addition_embed_type="text_time",
                addition_time_embed_dim=4,
                projection_class_embeddings_input_dim=16 + 6 * 4,
            ),
            scheduler=scheduler(**(_BETAS | (settings or {}))),
            force_zeros_for_empty_prompt=force_zeros,
            add_watermarker=False,
        )

    return drawn(build, seed=seed)
