"""The recipe of `portraits-unet`: a U-Net in the latent space, and with the words, of the finished `portraits`."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from numpy.typing import NDArray
from torch import nn

from latentedit.models.base import Backbone
from latentedit.models.loading import open_folder
from latentedit.models.registry import bundled_folder, load
from latentedit_portraits.captions import CaptionStyle
from latentedit_portraits.dataset import Renders, encode_in_batches, kept_array
from latentedit_portraits.fitting import Plan, Training, read_plans
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.recipes import SEED, Trained, portrait_settings, run_recipe, write_pipeline
from latentedit_portraits.tokenizer import build_tokenizer
from latentedit_portraits.train import training_pictures
from latentedit_portraits.transformer import CaptionBatches
from latentedit_portraits.unet import TextToNoise, build_text_to_noise, fit_unet, noise_scheduler

_PARENT = "portraits"

RECIPES = read_plans("portraits-unet")


def _train(run: Training, plan: Plan) -> Trained:
    """Renders, their latents, U-Net and text encoder.

    The codec is that of the bundled `portraits`, and the text encoder begins as its second one.
    """
    renders = training_pictures(run, plan)
    parent = open_folder(bundled_folder(_PARENT))
    latents = encode_latents(load(parent.path, device=run.device), renders, run)
    beginning = parent.load("text_encoder_2")
    network = build_text_to_noise(beginning, SEED).to(run.device)
    captions = CaptionBatches(build_tokenizer(), renders.attributes, run.device)
    scheduler, fit = noise_scheduler(), plan.fits["unet"]
    seconds = fit_unet(network, captions, latents, fit, run, scheduler=scheduler, style=CaptionStyle())
    autoencoder = with_folded_shift(parent.load("vae"))
    folder = assemble(run.folder / "model", autoencoder, network, scheduler)
    return Trained(folder=folder, seconds={"unet": seconds}, reader=PortraitReader.from_folder(parent.path))


train_unet = functools.partial(run_recipe, "portraits-unet", RECIPES, _train)


@torch.no_grad()
def encode_latents(model: Backbone, renders: Renders, run: Training, name: str = "latents") -> NDArray[np.float16]:
    """Clean latents ``[n, 8, 16, 16]`` of all renders, normalised as the model wants them, kept in the run's folder."""

    def encoded() -> NDArray[np.float16]:
        return encode_in_batches(model.encode, renders.pixels, model.device, run.tell).astype(np.float16)

    return kept_array(run.folder / f"{name}.npy", encoded)


@torch.no_grad()
def with_folded_shift(autoencoder: AutoencoderKL) -> AutoencoderKL:
    """The same codec with its shift inside two layers of 1 x 1, for Stable Diffusion's pipeline knows a scale only.

    Args:
        autoencoder: without such layers, its latents ``(code - shift_factor) * scaling_factor``.

    Returns:
        A codec whose latents ``code * scaling_factor`` are the same numbers, and so are its pictures.
    """
    config: Any = autoencoder.config
    build: Any = AutoencoderKL
    shift, channels = float(config.shift_factor), int(config.latent_channels)
    known = {key: config[key] for key in config if not key.startswith("_")}
    folded = build(**known | {"shift_factor": None, "use_quant_conv": True, "use_post_quant_conv": True})
    folded.load_state_dict(autoencoder.state_dict(), strict=False)
    for layer, bias in ((folded.quant_conv, -shift), (folded.post_quant_conv, shift)):
        width = layer.weight.shape[0]
        layer.weight.copy_(torch.eye(width)[:, :, None, None])
        layer.bias.zero_()
        layer.bias[:channels] = bias
    return folded.eval()


def assemble(folder: Path, autoencoder: AutoencoderKL, network: TextToNoise, scheduler: DDIMScheduler) -> Path:
    """Write a stock diffusers folder in half precision, and our settings."""
    build: Any = StableDiffusionPipeline  # it takes None for what it can do without
    pipeline = build(
        unet=network.unet.to(memory_format=torch.contiguous_format),
        scheduler=scheduler,
        vae=autoencoder,
        text_encoder=network.text_encoder,
        tokenizer=build_tokenizer(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    settings = portrait_settings("a small Stable Diffusion 1.5")
    networks: list[nn.Module] = [autoencoder, network.unet, network.text_encoder]
    return write_pipeline(folder, pipeline, networks, settings, ("text_encoder",))
