"""FLUX.1 (dev, schnell, Kontext) in small."""

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, FluxKontextPipeline, FluxPipeline, FluxTransformer2DModel

from latentedit.testing.miniatures.parts import T5_WIDTH, autoencoder_kl, clip_text, drawn, t5_text


def flux(*, guidance_embeds: bool = True, kontext: bool = False, seed: int = 0) -> Any:
    """A stock pipeline with one double and one single block and four channels.

    Args:
        guidance_embeds: the weight is an input, as in dev and Kontext; schnell has none.
        kontext: of the class that takes a reference picture.
        seed: of every weight.
    """

    def build() -> Any:
        tokenizer, text_encoder = clip_text()
        tokenizer_2, text_encoder_2 = t5_text()
        transformer = FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=T5_WIDTH,
            pooled_projection_dim=16,
            guidance_embeds=guidance_embeds,
            axes_dims_rope=(4, 4, 8),
        )
        kind: Any = FluxKontextPipeline if kontext else FluxPipeline
        return kind(
            scheduler=FlowMatchEulerDiscreteScheduler(
                shift=3.0 if guidance_embeds else 1.0, use_dynamic_shifting=guidance_embeds
            ),
            vae=autoencoder_kl(4, scaling_factor=0.3611, shift_factor=0.1159),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            text_encoder_2=text_encoder_2,
            tokenizer_2=tokenizer_2,
            transformer=transformer,
        )

    return drawn(build, seed=seed)
