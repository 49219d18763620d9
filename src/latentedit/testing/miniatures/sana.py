"""Sana and Sana-Sprint in small."""

import inspect
from typing import Any

from diffusers import (
    AutoencoderDC,
    DPMSolverMultistepScheduler,
    SanaPipeline,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
)

from latentedit.testing.miniature import WORDS
from latentedit.testing.miniatures.parts import drawn, gemma2_text

_HEAD = 32
"""Width of an attention head, the real model's: linear attention jumps where no number of a query is above 0."""


def sana(*, sprint: bool = False, seed: int = 0) -> Any:
    """A stock pipeline with two blocks, four channels and 8 px a latent, whose DPM-Solver is of first order.

    Args:
        sprint: of the distilled family, whose weight is an input.
        seed: of every weight.
    """

    def build() -> Any:
        kind: Any = SanaSprintPipeline if sprint else SanaPipeline
        instruction = inspect.signature(kind.__call__).parameters["complex_human_instruction"].default
        tokenizer, text_encoder = gemma2_text(words={*WORDS, *" ".join(instruction).split()})
        transformer = SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=_HEAD,
            num_layers=2,
            num_cross_attention_heads=2,
            cross_attention_head_dim=_HEAD,
            cross_attention_dim=2 * _HEAD,
            caption_channels=16,
            sample_size=8,
            guidance_embeds=sprint,
            qk_norm="rms_norm_across_heads" if sprint else None,
        )
        scheduler: Any = SCMScheduler() if sprint else _dpm_solver()
        return kind(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            vae=_autoencoder(),
            transformer=transformer,
            scheduler=scheduler,
        )

    return drawn(build, seed=seed)


def _dpm_solver() -> DPMSolverMultistepScheduler:
    return DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, solver_order=1
    )


def _autoencoder() -> AutoencoderDC:
    return AutoencoderDC(
        latent_channels=4,
        attention_head_dim=4,
        encoder_block_out_channels=(4, 4, 8, 8),
        decoder_block_out_channels=(4, 4, 8, 8),
        encoder_layers_per_block=(1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        encoder_qkv_multiscales=((), (), (), (5,)),
        decoder_qkv_multiscales=((), (), (), (5,)),
        scaling_factor=0.41407,
    )
