"""Pipelines that predict a flow: Stable Diffusion 3, FLUX and their relatives; ``seed`` draws every weight."""

import inspect
from typing import Any, Literal

import diffusers
import torch
import transformers
from diffusers import FlowMatchEulerDiscreteScheduler

from latentedit.testing.miniature import T5_WIDTH, WORDS, autoencoder_kl, clip_text, miniature, t5_text
from tests.miniatures.parts import (
    autoencoder_qwen,
    gemma2_text,
    glm_text,
    mistral3_text,
    qwen3_text,
    qwen3_vl_processed,
    qwen_vl_text,
)

_FLUX_VAE = {"scaling_factor": 0.3611, "shift_factor": 0.1159}

_SINGLE_AND_DOUBLE: dict[str, Any] = {
    "in_channels": 16,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
}
"""One double and one single block on four channels, packed two by two."""

_BLOCKS: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
}
"""Two blocks on four channels."""

_diffusers: Any = diffusers
"""Annotations of constructors there name schedulers, autoencoders and tuples more narrowly than the code takes them."""


@miniature
def flux(*, guidance_embeds: bool = True, kontext: bool = False) -> Any:
    """FLUX.1: one double and one single block; the guidance weight is an input, as in dev and Kontext, or not."""
    return (_diffusers.FluxKontextPipeline if kontext else _diffusers.FluxPipeline)(
        **clip_text(),
        **t5_text(suffix="_2"),
        vae=autoencoder_kl(4, **_FLUX_VAE),
        transformer=diffusers.FluxTransformer2DModel(
            **_SINGLE_AND_DOUBLE,
            patch_size=1,
            joint_attention_dim=T5_WIDTH,
            pooled_projection_dim=16,
            guidance_embeds=guidance_embeds,
            axes_dims_rope=(4, 4, 8),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0 if guidance_embeds else 1.0, use_dynamic_shifting=guidance_embeds
        ),
    )


@miniature
def flux2_klein(*, distilled: bool = False) -> Any:
    """FLUX.2 klein, which needs no guidance if distilled, else its base model: one double and one single block."""
    # Qwen3 has 28 layers, the 27th of which is the last that the pipeline reads.
    text = qwen3_text(8, layers=28, kind=transformers.Qwen3ForCausalLM)
    return _diffusers.Flux2KleinPipeline(**text, **_flux2_parts(guidance_embeds=False), is_distilled=distilled)


@miniature
def flux2_dev() -> Any:
    """FLUX.2 dev: Mistral's text, and the guidance weight as an input."""
    return _diffusers.Flux2Pipeline(**mistral3_text(8), **_flux2_parts(guidance_embeds=True))


def _flux2_parts(*, guidance_embeds: bool) -> dict[str, Any]:
    vae: Any = autoencoder_kl(4, kind=diffusers.AutoencoderKLFlux2)
    with torch.no_grad():
        vae.bn.running_mean.copy_(torch.linspace(-0.5, 0.5, 16))
        vae.bn.running_var.copy_(torch.linspace(0.5, 2.0, 16))
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        "vae": vae,
        "transformer": diffusers.Flux2Transformer2DModel(
            **_SINGLE_AND_DOUBLE,
            joint_attention_dim=3 * 8,
            timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=guidance_embeds,
        ),
    }


def chroma(*, seed: int = 0) -> Any:
    """Chroma: one double and one single block."""
    pipeline = _chroma(seed=seed)
    with torch.no_grad():
        # Under the full modulation of the blocks, rounding in float32 is as large as what finite differences measure.
        pipeline.transformer.distilled_guidance_layer.out_proj.weight.mul_(0.3)
    return pipeline


@miniature
def _chroma() -> Any:
    return _diffusers.ChromaPipeline(
        **t5_text(),
        vae=autoencoder_kl(4, **_FLUX_VAE),
        transformer=diffusers.ChromaTransformer2DModel(
            **_SINGLE_AND_DOUBLE,
            joint_attention_dim=T5_WIDTH,
            axes_dims_rope=(4, 4, 8),
            approximator_num_channels=16,
            approximator_hidden_dim=16,
            approximator_layers=1,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


@miniature
def krea2(*, turbo: bool = False) -> Any:
    """Krea 2, Raw or the distilled Turbo: one block, two layers of text."""
    return diffusers.Krea2Pipeline(
        **qwen_vl_text(transformers.Qwen3VLModel, transformers.Qwen3VLConfig),
        vae=autoencoder_qwen(4),
        transformer=diffusers.Krea2Transformer2DModel(
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
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, max_image_seq_len=6400),
        text_encoder_select_layers=(0, 2),
        is_distilled=turbo,
    )


@miniature
def longcat_image() -> Any:
    """LongCat-Image: one double and one single block, and no model that rewrites prompts."""
    return _diffusers.LongCatImagePipeline(
        **qwen_vl_text(transformers.Qwen2_5_VLForConditionalGeneration, transformers.Qwen2_5_VLConfig),
        text_processor=None,
        vae=autoencoder_kl(4, **_FLUX_VAE),
        transformer=diffusers.LongCatImageTransformer2DModel(
            **_SINGLE_AND_DOUBLE, joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=[4, 4, 8]
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


@miniature
def ovis_image() -> Any:
    """Ovis-Image: one double and one single block."""
    return _diffusers.OvisImagePipeline(
        **qwen3_text(),
        vae=autoencoder_kl(4, **_FLUX_VAE),
        transformer=diffusers.OvisImageTransformer2DModel(
            **_SINGLE_AND_DOUBLE, out_channels=16, joint_attention_dim=16, axes_dims_rope=(4, 4, 8)
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


@miniature
def qwen_image(variant: Literal["text", "edit", "plus"] = "text", *, zero_cond_t: bool = False) -> Any:
    """Qwen-Image and Qwen-Image-Edit: two blocks, with references at time 0 as in Edit-2511, or not.

    The processor of the editing pipelines is the tokenizer alone, and reads no images.
    """
    kinds: Any = {
        "text": diffusers.QwenImagePipeline,
        "edit": diffusers.QwenImageEditPipeline,
        "plus": diffusers.QwenImageEditPlusPipeline,
    }
    text = qwen_vl_text(transformers.Qwen2_5_VLForConditionalGeneration, transformers.Qwen2_5_VLConfig)
    return kinds[variant](
        **text,
        **({} if variant == "text" else {"processor": text["tokenizer"]}),
        vae=autoencoder_qwen(4),
        transformer=diffusers.QwenImageTransformer2DModel(
            **{**_BLOCKS, "in_channels": 16},
            joint_attention_dim=16,
            axes_dims_rope=(4, 4, 8),
            zero_cond_t=zero_cond_t,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
        ),
    )


@miniature
def anima(*, padding_mask: bool = False) -> Any:
    """Anima, a modular pipeline: two blocks, with or without the published one's mask, which torchvision resizes."""
    pipeline, t5_tokenizer = _diffusers.AnimaModularPipeline(), t5_text()["tokenizer"]
    pipeline.update_components(
        **qwen3_text(),
        t5_tokenizer=t5_tokenizer,
        text_conditioner=_diffusers.AnimaTextConditioner(
            source_dim=16,
            target_dim=16,
            model_dim=16,
            num_layers=1,
            num_attention_heads=2,
            target_vocab_size=len(t5_tokenizer),
        ),
        vae=autoencoder_qwen(4),
        transformer=diffusers.CosmosTransformer3DModel(
            **_BLOCKS,
            text_embed_dim=16,
            adaln_lora_dim=8,
            max_size=(4, 32, 32),
            rope_scale=(1.0, 1.0, 1.0),
            concat_padding_mask=padding_mask,
            extra_pos_embed_type=None,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    return pipeline


@miniature
def qwen_image21(*, turbo: bool = False) -> Any:
    """Qwen-Image 2.1, or Turbo with levels of its own: two blocks, 16 px a latent."""
    encoder, processor = qwen3_vl_processed(16)
    return diffusers.QwenImage21Pipeline(
        text_encoder=encoder,
        processor=processor,
        vae=autoencoder_qwen(4, kind=diffusers.AutoencoderKLQwenImage21, stages=5, decoder_base_dim=4),
        transformer=diffusers.QwenImage21Transformer2DModel(
            **_BLOCKS,
            context_in_dim=16,
            axes_dims_rope=(4, 4, 8),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9),
        sample_sigmas=[1.0, 0.9, 0.7, 0.4] if turbo else None,
    )


@miniature
def flux3(*, distilled: bool = False) -> Any:
    """FLUX.3, a modular pipeline, or the flow map that is distilled from it: one separate and one joint block."""
    kind: Any = diffusers.Flux3DistilledModularPipeline if distilled else diffusers.Flux3ModularPipeline
    encoder, processor = qwen3_vl_processed(4, layers=33)  # the outputs of every fourth layer are read
    pipeline = kind()
    pipeline.update_components(
        text_encoder=encoder,
        tokenizer=processor,
        vae=_flux2_parts(guidance_embeds=False)["vae"],
        transformer=diffusers.Flux3Transformer2DModel(
            **{**_SINGLE_AND_DOUBLE, "cond_in_channels": 16},
            joint_attention_dim=8 * 4,
            timestep_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
            flow_map=distilled,
        ),
    )
    return pipeline


@miniature
def auraflow() -> Any:
    """AuraFlow: one double and one single block, positions for 128 px."""
    return diffusers.AuraFlowPipeline(
        **t5_text(multilingual=True),
        vae=autoencoder_kl(4, scaling_factor=0.13025),
        transformer=diffusers.AuraFlowTransformer2DModel(
            sample_size=8,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=T5_WIDTH,
            caption_projection_dim=16,
            pos_embed_max_size=64,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.73),
    )


@miniature
def cogview4() -> Any:
    """CogView4: two blocks."""
    return diffusers.CogView4Pipeline(
        **glm_text(),
        vae=autoencoder_kl(4, scaling_factor=1.0),
        transformer=diffusers.CogView4Transformer2DModel(
            **{**_BLOCKS, "attention_head_dim": 8},
            text_embed_dim=16,
            time_embed_dim=16,
            condition_dim=8,
            sample_size=8,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(
            base_shift=0.25, max_shift=0.75, use_dynamic_shifting=True, time_shift_type="linear"
        ),
    )


@miniature
def lumina2() -> Any:
    """Lumina-Image 2.0: one block before the text joins and one after."""
    return diffusers.Lumina2Pipeline(
        **gemma2_text(),
        vae=autoencoder_kl(4, **_FLUX_VAE),
        transformer=diffusers.Lumina2Transformer2DModel(
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
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0),
    )


@miniature
def sana(*, sprint: bool = False) -> Any:
    """Sana, whose DPM-Solver is of first order, or Sana-Sprint, whose weight is an input: two blocks."""
    kind: Any = diffusers.SanaSprintPipeline if sprint else diffusers.SanaPipeline
    instruction = inspect.signature(kind.__call__).parameters["complex_human_instruction"].default
    head = 32  # the real model has 32: linear attention jumps where no number of a query is above 0
    solver: Any = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0, "solver_order": 1}
    return kind(
        **gemma2_text(words={*WORDS, *" ".join(instruction).split()}),
        vae=diffusers.AutoencoderDC(
            latent_channels=4,
            attention_head_dim=4,
            encoder_block_out_channels=(4, 4, 8, 8),
            decoder_block_out_channels=(4, 4, 8, 8),
            encoder_layers_per_block=(1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1),
            encoder_qkv_multiscales=((), (), (), (5,)),
            decoder_qkv_multiscales=((), (), (), (5,)),
            scaling_factor=0.41407,
        ),
        transformer=diffusers.SanaTransformer2DModel(
            **{**_BLOCKS, "attention_head_dim": head},
            num_cross_attention_heads=2,
            cross_attention_head_dim=head,
            cross_attention_dim=2 * head,
            caption_channels=16,
            sample_size=8,
            guidance_embeds=sprint,
            qk_norm="rms_norm_across_heads" if sprint else None,
        ),
        scheduler=diffusers.SCMScheduler() if sprint else diffusers.DPMSolverMultistepScheduler(**solver),
    )


@miniature
def zimage(*, turbo: bool = False) -> Any:
    """Z-Image, with the levels of the distilled Turbo or its own: one block before the text joins and one after."""
    return diffusers.ZImagePipeline(
        **qwen3_text(),
        vae=autoencoder_kl(4, **_FLUX_VAE),
        transformer=_diffusers.ZImageTransformer2DModel(
            in_channels=4,
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=16,
            axes_dims=[4, 4, 8],
            axes_lens=[128, 32, 32],
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0 if turbo else 6.0),
    )
