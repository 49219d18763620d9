"""Qwen-Image and Qwen-Image-Edit in small."""

from typing import Any, Literal

from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from latentedit.testing.miniatures.parts import autoencoder_qwen, drawn, qwen_vl_text


def qwen_image(variant: Literal["text", "edit", "plus"] = "text", *, zero_cond_t: bool = False, seed: int = 0) -> Any:
    """A stock pipeline with two blocks and four channels.

    Args:
        variant: from text, or one of the two that edit; their processor is the tokenizer alone, and reads no pictures.
        zero_cond_t: references at time 0, as in Edit-2511.
        seed: of every weight.
    """

    def build() -> Any:
        tokenizer, text_encoder = qwen_vl_text(Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig)
        kinds: Any = {"text": QwenImagePipeline, "edit": QwenImageEditPipeline, "plus": QwenImageEditPlusPipeline}
        return kinds[variant](
            scheduler=FlowMatchEulerDiscreteScheduler(
                use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
            ),
            vae=autoencoder_qwen(4),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            transformer=QwenImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=16,
                axes_dims_rope=(4, 4, 8),
                zero_cond_t=zero_cond_t,
            ),
            **({} if variant == "text" else {"processor": tokenizer}),
        )

    return drawn(build, seed=seed)
