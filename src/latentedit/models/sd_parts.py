"""The networks of a stock Stable Diffusion 1 or 2 pipeline, without the pipeline."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizerFast

from latentedit.core.errors import ModelError
from latentedit.models.loading import ModelFolder, load_network, load_tokenizer
from latentedit.models.text_part import TextPart
from latentedit.models.unet import check_plain
from latentedit.models.weights import read_json


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SDParts:
    """What a ``StableDiffusionPipeline`` is made of, but for its safety checker, which is never loaded.

    Args:
        unet: ``UNet2DConditionModel``.
        vae: ``AutoencoderKL``.
        scheduler: content of ``scheduler_config.json``, of any class that runs on trained betas.
        text: ``CLIPTextModel`` with its tokenizer.

    Raises:
        ModelError: parts that do not fit together, or a U-Net that wants more than latents, a time and text.
    """

    unet: Any
    vae: Any
    scheduler: Mapping[str, Any]
    text: TextPart

    def __post_init__(self) -> None:
        check_plain(self.unet)
        unet, vae = self.unet.config, self.vae.config
        if unet.in_channels != vae.latent_channels and unet.out_channels == vae.latent_channels:
            raise ModelError(
                f"expected a U-Net that takes the VAE's {vae.latent_channels} latent channels; this one takes "
                f"{unet.in_channels}, as models for inpainting and upscaling do. Use the text-to-image model"
            )
        if not unet.in_channels == unet.out_channels == vae.latent_channels:
            raise ModelError(
                f"expected one number of latent channels; got {unet.in_channels} into and "
                f"{unet.out_channels} out of the U-Net, {vae.latent_channels} from the VAE"
            )
        if not isinstance(unet.cross_attention_dim, int) and len(set(unet.cross_attention_dim)) != 1:
            raise ModelError(f"expected one width of text in every block; got {list(unet.cross_attention_dim)}")

    @property
    def width(self) -> int:
        """Of a text token, as the U-Net takes it."""
        width = self.unet.config.cross_attention_dim
        return int(width if isinstance(width, int) else width[0])


def load_sd_parts(folder: ModelFolder, dtype: torch.dtype) -> SDParts:
    """Load every part on the CPU; the VAE in float32, the other networks in ``dtype``.

    Raises:
        ModelError: weights that do not match their configuration.
    """
    return SDParts(
        unet=load_network(UNet2DConditionModel, folder, "unet", dtype),
        vae=load_network(AutoencoderKL, folder, "vae", torch.float32),
        scheduler=read_json(folder.place("scheduler") / "scheduler_config.json"),
        text=TextPart(
            tokenizer=load_tokenizer(CLIPTokenizerFast, folder, "tokenizer"),
            encoder=load_network(CLIPTextModel, folder, "text_encoder", dtype),
        ),
    )
