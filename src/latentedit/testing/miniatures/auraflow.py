"""AuraFlow in small."""

from typing import Any

from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel, FlowMatchEulerDiscreteScheduler

from latentedit.testing.miniatures.parts import T5_WIDTH, autoencoder_kl, drawn, t5_text


def auraflow(*, seed: int = 0) -> Any:
    """A stock pipeline with one double and one single block, four channels and positions for 128 px.

    Args:
        seed: of every weight.
    """

    def build() -> Any:
        tokenizer, text_encoder = t5_text(multilingual=True)
        transformer = AuraFlowTransformer2DModel(
            sample_size=8,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=T5_WIDTH,
            caption_projection_dim=16,
            pos_embed_max_size=64,
        )
        return AuraFlowPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=1.73),
            vae=autoencoder_kl(4, scaling_factor=0.13025),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            transformer=transformer,
        )

    return drawn(build, seed=seed)
