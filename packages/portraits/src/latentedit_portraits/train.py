"""The recipe of the bundled model, from nothing to a measured diffusers folder; each stage is kept and never redone."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
from numpy.typing import NDArray
from torch import nn
from transformers import CLIPTokenizer

from latentedit.core.progress import Progress
from latentedit_portraits.autoencoder import build_autoencoder, decode, encode_posterior, fit_autoencoder
from latentedit_portraits.dataset import (
    ENCODED,
    SIZE,
    Renders,
    encode_in_batches,
    kept_array,
    render_split,
    to_pixels,
)
from latentedit_portraits.fitting import FitSettings, Plan, Training, read_plans
from latentedit_portraits.framer import PortraitFramer, build_framer, fit_framer
from latentedit_portraits.reader import PortraitReader, build_reader, fit_reader
from latentedit_portraits.recipes import SEED, Trained, portrait_settings, run_recipe, write_pipeline
from latentedit_portraits.recolored import render_recolored
from latentedit_portraits.tokenizer import build_tokenizer
from latentedit_portraits.transformer import (
    CaptionBatches,
    TextToVelocity,
    build_text_to_velocity,
    fit_text,
    fit_transformer,
)
from latentedit_portraits.variety import render_views

SHIFT = 3.0

_RECONSTRUCTED = 6000  # pictures of the codec that the reader learns from
_VIEWS = 24_000  # pictures that the framer learns from


RECIPES = read_plans("portraits")


def _train(run: Training, plan: Plan) -> Trained:
    """Renders, codec, reader, text encoders, transformer, framer."""
    out = run.folder
    renders = training_pictures(run, plan)
    autoencoder = build_autoencoder(SEED)
    nn.Module.to(autoencoder, run.device)
    others = render_views(
        out / f"views-{plan.recolored}-{SEED}-{SIZE}.npz",
        plan.recolored,
        seed=SEED,
        size=SIZE,
        progress=run.tell_renders,
    )
    seen = others.pixels[others.framings[:, -1] == 1]
    seconds = {"autoencoder": fit_autoencoder(autoencoder, renders.pixels, seen, plan.fits, run)}
    latents = encode_renders(autoencoder, renders, run)
    reader, seconds["reader"] = train_reader(autoencoder, renders, plan.fits["reader"], run)
    tokenizer = build_tokenizer()
    network = build_text_to_velocity(tokenizer, SEED).to(run.device)
    captions = CaptionBatches(tokenizer, renders.attributes, run.device)
    text = fit_text(network, captions, plan.fits["text"], run)
    transformer = fit_transformer(network, captions, latents, plan.fits["transformer"], run)
    folder = assemble(out / "model", autoencoder, network, reader)
    views = render_views(out / f"views-{_VIEWS}-{SEED}.npz", _VIEWS, seed=SEED, progress=run.tell_renders)
    framer = build_framer(SEED)
    framing = fit_framer(framer, views, plan.fits["framer"], run)
    PortraitFramer(framer).save(folder)
    seconds = {"text": text, "transformer": transformer, **seconds, "framer": framing}
    return Trained(folder=folder, seconds=seconds, reader=reader)


train = functools.partial(run_recipe, "portraits", RECIPES, _train)


def training_pictures(run: Training, plan: Plan) -> Renders:
    """Portraits of the training split in near-standard framings, and recoloured ones in wide framings, in disorder."""
    folder = run.folder / "renders"
    plain = render_split(folder, "train", plan.pictures, seed=SEED, framed=True, progress=run.tell_renders)
    other = render_recolored(folder, plan.recolored, seed=SEED, progress=run.tell_renders)
    order = np.random.default_rng(SEED).permutation(plan.pictures + plan.recolored)
    attributes = [*plain.attributes, *other.attributes]
    return Renders(
        pixels=np.concatenate([plain.pixels, other.pixels])[order], attributes=[attributes[index] for index in order]
    )


def train_reader(
    autoencoder: AutoencoderKL, renders: Renders, settings: FitSettings, run: Training
) -> tuple[PortraitReader, float]:
    """Train the reader on renders, and on what the codec makes of them.

    Returns:
        The reader and seconds of training.
    """
    path = run.folder / f"reconstructions-{_RECONSTRUCTED}.npy"
    codec = kept_array(path, lambda: reconstruct(autoencoder, renders.pixels[:_RECONSTRUCTED], run.tell))
    network = build_reader(SEED).to(next(autoencoder.parameters()).device)
    seconds = fit_reader(network, [renders.pixels, codec], renders.attributes, settings, run)
    return PortraitReader(network), seconds


@torch.no_grad()
def encode_renders(autoencoder: AutoencoderKL, renders: Renders, run: Training) -> NDArray[np.float16]:
    """Normalised latents ``[n, 8, 16, 16]`` of all renders, kept in the run's folder.

    The codec is rescaled so that every channel has unit variance (exact: the encoder's last and the decoder's first
    layer are linear); what remains, one mean and one deviation, goes into its configuration, as the stock pipeline
    wants it.
    """
    scales_path = run.folder / "latents.scale.npz"

    def normalised() -> NDArray[np.float16]:
        device = next(autoencoder.parameters()).device
        values = encode_in_batches(
            lambda chunk: encode_posterior(autoencoder, chunk).mode(), renders.pixels, device, run.tell
        )
        deviation = values.std(axis=(0, 2, 3), keepdims=True)
        values /= deviation
        mean, scale = float(values.mean()), float(1 / values.std())
        np.savez(scales_path, deviation=deviation.ravel(), mean=mean, scale=scale)
        return ((values - mean) * scale).astype(np.float16)

    latents, scales = kept_array(run.folder / "latents.npy", normalised), np.load(scales_path)
    rescale_channels(autoencoder, torch.from_numpy(scales["deviation"]))
    autoencoder.register_to_config(shift_factor=float(scales["mean"]), scaling_factor=float(scales["scale"]))
    return latents


@torch.no_grad()
def rescale_channels(autoencoder: AutoencoderKL, deviation: torch.Tensor) -> None:
    """Divide each latent channel by a number in the encoder's last layer, multiply by it in the decoder's first."""
    last, first = autoencoder.encoder.conv_out, autoencoder.decoder.conv_in
    factor = deviation.to(last.weight)
    channels = len(factor)
    last.weight[:channels] /= factor[:, None, None, None]
    last.bias[:channels] /= factor  # pyright: ignore[reportOptionalSubscript]
    last.bias[channels:] -= 2 * factor.log()  # pyright: ignore[reportOptionalSubscript]
    first.weight *= factor[None, :, None, None]


@torch.no_grad()
def reconstruct(autoencoder: AutoencoderKL, pixels: NDArray[np.uint8], progress: Progress) -> NDArray[np.uint8]:
    """What the codec makes of pictures, as bytes ``[n, h, w, 3]``."""
    device = next(autoencoder.parameters()).device
    found: list[NDArray[np.uint8]] = []
    for start in range(0, len(pixels), ENCODED):
        code = encode_posterior(autoencoder, to_pixels(pixels[start : start + ENCODED], device)).mode()
        scaled = decode(autoencoder, code).clamp(-1, 1).add(1).mul(127.5).round().byte()
        found.append(scaled.permute(0, 2, 3, 1).cpu().numpy())
        progress("reconstructions", start + len(code), len(pixels))
    return np.concatenate(found)


def assemble(folder: Path, autoencoder: AutoencoderKL, network: TextToVelocity, reader: PortraitReader) -> Path:
    """Write a stock diffusers folder in half precision, the reader beside it, and our settings."""
    settings = portrait_settings("a small Stable Diffusion 3")
    write_velocity_pipeline(folder, autoencoder, network, build_tokenizer(), settings)
    reader.save(folder)
    return folder


def write_velocity_pipeline(
    folder: Path,
    autoencoder: AutoencoderKL,
    network: TextToVelocity,
    tokenizer: CLIPTokenizer,
    settings: Mapping[str, Any],
) -> None:
    """Write codec, text encoders and transformer as a stock diffusers folder in half precision, and our settings."""
    pipeline = StableDiffusion3Pipeline(
        transformer=network.transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=autoencoder,
        text_encoder=network.text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=network.text_encoder_2,
        tokenizer_2=tokenizer,
        text_encoder_3=None,  # pyright: ignore[reportArgumentType]
        tokenizer_3=None,  # pyright: ignore[reportArgumentType]
    )
    networks: list[nn.Module] = [autoencoder, network.transformer, network.text_encoder, network.text_encoder_2]
    texts = ("text_encoder", "text_encoder_2")
    write_pipeline(folder, pipeline, networks, {**settings, "zero_tokens": 1}, texts)
