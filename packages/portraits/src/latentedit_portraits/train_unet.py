"""The recipe of `portraits-unet`: a U-Net in the latent space, and with the words, of the finished `portraits`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from numpy.typing import NDArray
from torch import nn

from latentedit.core.progress import Progress
from latentedit.models.base import Backbone
from latentedit.models.libraries import quiet_libraries
from latentedit.models.loading import open_folder
from latentedit.models.network import existing_device
from latentedit.models.registry import bundled_folder, load
from latentedit.models.settings_file import change_json, write_settings
from latentedit_portraits.attributes import VALUES
from latentedit_portraits.captions import vocabulary
from latentedit_portraits.card import write_card
from latentedit_portraits.dataset import SIZE, Renders, encode_in_batches, for_renders, keep_array, render_split
from latentedit_portraits.fitting import FitSettings, recipe_of
from latentedit_portraits.quality import measure_quality
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.tokenizer import build_tokenizer
from latentedit_portraits.transformer import CaptionBatches
from latentedit_portraits.unet import TextToNoise, build_text_to_noise, fit_unet, noise_scheduler
from latentedit_portraits.verify import write_reference

GUIDANCE = 2.0

_SEED = 0
_PARENT = "portraits"

RECIPES = {
    "cpu": (
        30_000,
        FitSettings(steps=3_800, batch=32, learning_rate=1e-3, warm_up=60, decay_share=0.4, checkpoint_seconds=60.0),
    ),
    "gpu": (60_000, FitSettings(steps=40_000, batch=256, learning_rate=1e-3, warm_up=1000, decay_share=0.3)),
}
"""How many portraits, and how long the U-Net is trained on them."""


def train_unet(
    out: Path,
    recipe: str,
    progress: Progress | None = None,
    *,
    device: str | torch.device | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Train `portraits-unet`: renders, their latents, U-Net and text encoder; then assemble, measure, describe.

    The codec is that of the bundled `portraits`, and the text encoder begins as its second one.

    Args:
        out: folder for renders, checkpoints and, in ``model``, the finished model. A second call goes on.
        recipe: a key of ``RECIPES``.
        progress: called after each step.
        device: None is CUDA where there is one, else the CPU.
        log: gets a line a checkpoint.

    Returns:
        The model's folder.

    Raises:
        ConfigError: an unknown recipe.
        DeviceError: a device that this machine lacks.
    """
    portraits, settings = recipe_of(RECIPES, recipe)
    where = existing_device(device)
    renders = render_split(out / "renders", "train", portraits, seed=_SEED, framed=True, progress=for_renders(progress))
    parent = open_folder(bundled_folder(_PARENT))
    latents = encode_latents(load(parent.path, device=where), renders, out / "latents.npy", progress=progress)
    beginning = parent.load("text_encoder_2")
    network = build_text_to_noise(beginning, _SEED).to(where)
    captions = CaptionBatches(build_tokenizer(), renders.attributes, where)
    seconds = fit_unet(network, captions, latents, settings, out, progress=progress, log=log)
    autoencoder = with_folded_shift(parent.load("vae"))
    folder = assemble(out / "model", autoencoder, network)
    write_settings(folder, {"recipe": recipe, "training_seconds": {"unet": round(seconds)}})
    write_reference(folder)
    reader = PortraitReader.from_folder(parent.path)
    write_settings(folder, {"quality": measure_quality(folder, reader, out / "renders", progress=progress)})
    write_card(folder, "portraits-unet", VALUES)
    return folder


@torch.no_grad()
def encode_latents(
    model: Backbone, renders: Renders, path: Path, *, batch: int = 100, progress: Progress | None = None
) -> NDArray[np.float16]:
    """Clean latents ``[n, 8, 16, 16]`` of all renders, normalised as the model wants them, kept in a file."""
    if not path.exists():
        values = encode_in_batches(model.encode, renders.pixels, model.device, batch=batch, progress=progress)
        keep_array(path, values.astype(np.float16))
    return np.load(path)


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


def assemble(folder: Path, autoencoder: AutoencoderKL, network: TextToNoise) -> Path:
    """Write a stock diffusers folder in half precision, and our settings."""
    parts: list[nn.Module] = [autoencoder, network.unet, network.text_encoder]
    for part in parts:
        part.cpu().half()
    build: Any = StableDiffusionPipeline  # it takes None for what it can do without
    pipeline = build(
        unet=network.unet.to(memory_format=torch.contiguous_format),
        scheduler=noise_scheduler(),
        vae=autoencoder,
        text_encoder=network.text_encoder,
        tokenizer=build_tokenizer(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with quiet_libraries():
        pipeline.save_pretrained(folder, safe_serialization=True)
    change_json(folder / "text_encoder" / "config.json", {"dtype": "float32"})  # else transformers 5 opens it in half
    write_settings(
        folder,
        {
            "description": "avatar portraits of 128 px, from captions; a small Stable Diffusion 1.5",
            "captioner": "portraits",
            "framer": "portraits",
            "sizes": [SIZE, SIZE, SIZE],
            "guidance": GUIDANCE,
            "vocabulary": vocabulary(),
        },
    )
    return folder
