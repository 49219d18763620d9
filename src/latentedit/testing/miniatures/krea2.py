"""Krea 2 (Raw and Turbo) in small."""

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, Krea2Pipeline, Krea2Transformer2DModel
from transformers import Qwen3VLConfig, Qwen3VLModel

from latentedit.testing.miniatures.parts import autoencoder_qwen, drawn, qwen_vl_text


def krea2(*, turbo: bool = False, seed: int = 0) -> Any:
    """A stock pipeline with one block, two layers of text and four channels.

    Args:
        turbo: as the distilled model.
        seed: of every weight.
    """

    def build() -> Any:
        tokenizer, text_encoder = qwen_vl_text(Qwen3VLModel, Qwen3VLConfig)
        return Krea2Pipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, max_image_seq_len=6400),
            vae=autoencoder_qwen(4),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            transformer=Krea2Transformer2DModel(
                in_channels=16,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                num_key_value_heads=1,
                intermediate_size=32,
                timestep_embed_dim=16,
                text_hidden_dim=16,
                num_text_layers=2,
                text_num_attention_heads=2,
                text_num_key_value_heads=2,
                text_intermediate_size=16,
                num_layerwise_text_blocks=1,
                num_refiner_text_blocks=1,
                axes_dims_rope=(4, 4, 8),
            ),
            text_encoder_select_layers=(0, 2),
            is_distilled=turbo,
        )

    return drawn(build, seed=seed)
