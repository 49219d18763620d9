"""Which pipelines of diffusers have an adapter, and the classes that their parts may have."""

from collections.abc import Mapping

_CLIP_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
_SD3_PARTS: Mapping[str, tuple[str, ...]] = {
    "scheduler": ("FlowMatchEulerDiscreteScheduler",),
    "tokenizer": _CLIP_TOKENIZERS,
    "tokenizer_2": _CLIP_TOKENIZERS,
    "tokenizer_3": ("T5Tokenizer", "T5TokenizerFast"),
    "text_encoder": ("CLIPTextModelWithProjection",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "text_encoder_3": ("T5EncoderModel",),
    "transformer": ("SD3Transformer2DModel",),
    "vae": ("AutoencoderKL",),
}
_TRAINED_BETAS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
_SD_PARTS: Mapping[str, tuple[str, ...]] = {
    "scheduler": _TRAINED_BETAS,
    "tokenizer": _CLIP_TOKENIZERS,
    "text_encoder": ("CLIPTextModel",),
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
}
_PIXEL_PARTS: Mapping[str, tuple[str, ...]] = {"scheduler": _TRAINED_BETAS, "unet": ("UNet2DModel",)}
SUPPORTED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "StableDiffusion3Pipeline": _SD3_PARTS,
    "StableDiffusionPipeline": _SD_PARTS,
    "DDPMPipeline": _PIXEL_PARTS,
    "DDIMPipeline": _PIXEL_PARTS,
    "PNDMPipeline": _PIXEL_PARTS,
}
"""Pipelines that have an adapter, with the classes that each of their parts may have; other parts are not loaded."""

_EXPLODING = "is variance-exploding: its noise has no bound and its network takes levels of it, not counted times"
REFUSED: Mapping[str, str] = {"ScoreSdeVePipeline": _EXPLODING, "KarrasVePipeline": _EXPLODING}
"""Pipelines that look like supported ones, and why they are not."""

OPTIONAL_PARTS = frozenset({"tokenizer_3", "text_encoder_3"})
"""Parts that may be null in ``model_index.json``."""
