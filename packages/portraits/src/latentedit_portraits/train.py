"""The recipe of the bundled model, from nothing to a measured diffusers folder; each stage is kept and never redone."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
from numpy.typing import NDArray
from torch import nn

from latentedit.core.progress import Progress
from latentedit.models.libraries import quiet_libraries
from latentedit.models.network import existing_device
from latentedit.models.settings_file import change_json, write_settings
from latentedit_portraits.attributes import VALUES, Attributes
from latentedit_portraits.autoencoder import build_autoencoder, decode, encode_posterior, fit_autoencoder
from latentedit_portraits.captions import vocabulary
from latentedit_portraits.card import write_card
from latentedit_portraits.dataset import (
    SIZE,
    LabelledPortraits,
    Renders,
    encode_in_batches,
    for_renders,
    keep_array,
    render_split,
    to_pixels,
)
from latentedit_portraits.fitting import FitSettings, recipe_of
from latentedit_portraits.framer import PortraitFramer, build_framer, fit_framer
from latentedit_portraits.odd_portraits import render_odd_portraits
from latentedit_portraits.quality import measure_quality
from latentedit_portraits.reader import PortraitReader, build_reader, fit_reader
from latentedit_portraits.tokenizer import build_tokenizer
from latentedit_portraits.transformer import (
    CaptionBatches,
    TextToVelocity,
    build_text_to_velocity,
    fit_text,
    fit_transformer,
)
from latentedit_portraits.variety import render_views
from latentedit_portraits.verify import write_reference

GUIDANCE = 2.0
SHIFT = 3.0

_SEED = 0
_RECONSTRUCTED = 6000
_ODD = 9000
_VIEWS = 24_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How many portraits, and how long each network is trained.

    Args:
        portraits: different training portraits.
        autoencoder: settings of the codec.
        reader: settings of the attribute reader.
        framer: settings of the framer.
        text: settings of the text encoders' first training.
        transformer: settings of transformer and text encoders together.
    """

    portraits: int
    autoencoder: FitSettings
    reader: FitSettings
    framer: FitSettings
    text: FitSettings
    transformer: FitSettings


RECIPES = {
    "cpu": Recipe(
        portraits=30_000,
        autoencoder=FitSettings(steps=4_200, batch=16, learning_rate=2e-3, warm_up=100, decay_share=0.4),
        reader=FitSettings(steps=2_800, batch=64, learning_rate=2e-3, warm_up=100, decay_share=0.5, weight_decay=0.01),
        framer=FitSettings(steps=4_000, batch=64, learning_rate=2e-3, warm_up=100, decay_share=0.6, weight_decay=0.01),
        text=FitSettings(steps=1_200, batch=64, learning_rate=1e-3, warm_up=100, decay_share=0.3),
        transformer=FitSettings(steps=2_700, batch=32, learning_rate=1e-3, warm_up=60, decay_share=0.4),
    ),
    "gpu": Recipe(
        portraits=60_000,
        autoencoder=FitSettings(steps=30_000, batch=64, learning_rate=2e-3, warm_up=500, decay_share=0.5),
        reader=FitSettings(steps=5_000, batch=256, learning_rate=2e-3, warm_up=100, decay_share=0.5, weight_decay=0.01),
        framer=FitSettings(steps=20_000, batch=64, learning_rate=2e-3, warm_up=100, decay_share=0.6, weight_decay=0.01),
        text=FitSettings(steps=2_000, batch=256, learning_rate=1e-3, warm_up=100, decay_share=0.3),
        transformer=FitSettings(steps=40_000, batch=256, learning_rate=1e-3, warm_up=1000, decay_share=0.3),
    ),
}
"""The same code for both; the second only has more portraits, larger batches and more steps."""


def train(
    out: Path,
    recipe: str,
    progress: Progress | None = None,
    *,
    device: str | torch.device | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Train `portraits`: renders, codec, reader, text encoders, transformer; then assemble, measure, describe.

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
    plan = recipe_of(RECIPES, recipe)
    where = existing_device(device)
    renders = render_split(
        out / "renders", "train", plan.portraits, seed=_SEED, framed=True, progress=for_renders(progress)
    )
    autoencoder = build_autoencoder(_SEED)
    nn.Module.to(autoencoder, where)
    codec = fit_autoencoder(autoencoder, renders.pixels, plan.autoencoder, out, progress=progress, log=log)
    latents = encode_renders(autoencoder, renders, out, progress=progress)
    reader, reading = train_reader(autoencoder, renders, plan.reader, out, progress=progress, log=log)
    network, times = _train_transformer(renders.attributes, latents, plan, out, where, progress, log)
    folder = assemble(out / "model", autoencoder, network, reader)
    framing = train_framer(folder, plan.framer, out, progress=progress, log=log)
    times |= {"autoencoder": codec, "reader": reading, "framer": framing}
    write_settings(folder, {"recipe": recipe, "training_seconds": {name: round(time) for name, time in times.items()}})
    write_reference(folder)
    write_settings(folder, {"quality": measure_quality(folder, reader, out / "renders", progress=progress)})
    write_card(folder, "portraits", VALUES)
    return folder


def train_reader(
    autoencoder: AutoencoderKL,
    renders: Renders,
    settings: FitSettings,
    out: Path,
    *,
    progress: Progress | None = None,
    log: Callable[[str], None] = print,
) -> tuple[PortraitReader, float]:
    """Train the reader on renders, on odd portraits, and on what the codec makes of both.

    Returns:
        The reader and seconds of training.
    """
    odd = render_odd_portraits(out / f"odd-{_ODD}-{_SEED}.npz", _ODD, seed=_SEED, progress=for_renders(progress))
    sources: list[LabelledPortraits] = []
    for name, source in (("reconstructions", renders.labelled), ("odd-reconstructions", odd)):
        path = out / f"{name}-{_RECONSTRUCTED}.npy"
        if not path.exists():
            keep_array(path, reconstruct(autoencoder, source.pixels[:_RECONSTRUCTED], progress=progress))
        decoded = np.load(path, mmap_mode="r")
        sources += [source, LabelledPortraits(pixels=decoded, labels=source.labels[:_RECONSTRUCTED])]
    network = build_reader(_SEED).to(next(autoencoder.parameters()).device)
    seconds = fit_reader(network, sources, settings, out, progress=progress, log=log)
    return PortraitReader(network), seconds


def train_framer(
    folder: Path,
    settings: FitSettings,
    out: Path,
    *,
    progress: Progress | None = None,
    log: Callable[[str], None] = print,
) -> float:
    """Train the framer on views and put it beside a model; it needs no other network, and none needs it.

    Returns:
        Seconds of training.
    """
    views = render_views(out / f"views-{_VIEWS}-{_SEED}.npz", _VIEWS, seed=_SEED, progress=for_renders(progress))
    network = build_framer(_SEED)
    seconds = fit_framer(network, views, settings, out, progress=progress, log=log)
    PortraitFramer(network).save(folder)
    return seconds


def _train_transformer(
    attributes: list[Attributes],
    latents: NDArray[np.float16],
    plan: Recipe,
    out: Path,
    where: torch.device,
    progress: Progress | None,
    log: Callable[[str], None],
) -> tuple[TextToVelocity, dict[str, float]]:
    tokenizer = build_tokenizer()
    network = build_text_to_velocity(tokenizer, _SEED).to(where)
    captions = CaptionBatches(tokenizer, attributes, where)
    text = fit_text(network, captions, plan.text, out, progress=progress, log=log)
    together = fit_transformer(network, captions, latents, plan.transformer, out, progress=progress, log=log)
    return network, {"text": text, "transformer": together}


@torch.no_grad()
def encode_renders(
    autoencoder: AutoencoderKL, renders: Renders, out: Path, *, batch: int = 100, progress: Progress | None = None
) -> NDArray[np.float16]:
    """Normalised latents ``[n, 8, 16, 16]`` of all renders, kept in ``out``.

    The codec is rescaled so that every channel has unit variance (exact: the encoder's last and the decoder's first
    layer are linear); what remains, one mean and one deviation, goes into its configuration, as the stock pipeline
    wants it.
    """
    path, scales_path = out / "latents.npy", out / "latents.scale.npz"
    if not path.exists():
        pixels, device = renders.pixels, next(autoencoder.parameters()).device
        values = encode_in_batches(
            lambda chunk: encode_posterior(autoencoder, chunk).mode(), pixels, device, batch=batch, progress=progress
        )
        deviation = values.std(axis=(0, 2, 3), keepdims=True)
        values /= deviation
        mean, scale = float(values.mean()), float(1 / values.std())
        np.savez(scales_path, deviation=deviation.ravel(), mean=mean, scale=scale)
        keep_array(path, ((values - mean) * scale).astype(np.float16))
    scales = np.load(scales_path)
    rescale_channels(autoencoder, torch.from_numpy(scales["deviation"]))
    autoencoder.register_to_config(shift_factor=float(scales["mean"]), scaling_factor=float(scales["scale"]))
    return np.load(path)


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
def reconstruct(
    autoencoder: AutoencoderKL, pixels: NDArray[np.uint8], *, batch: int = 100, progress: Progress | None = None
) -> NDArray[np.uint8]:
    """What the codec makes of pictures, as bytes ``[n, h, w, 3]``."""
    device = next(autoencoder.parameters()).device
    found: list[NDArray[np.uint8]] = []
    for start in range(0, len(pixels), batch):
        code = encode_posterior(autoencoder, to_pixels(pixels[start : start + batch], device)).mode()
        scaled = decode(autoencoder, code).clamp(-1, 1).add(1).mul(127.5).round().byte()
        found.append(scaled.permute(0, 2, 3, 1).cpu().numpy())
        if progress is not None:
            progress("reconstructions", start + len(code), len(pixels))
    return np.concatenate(found)


def assemble(folder: Path, autoencoder: AutoencoderKL, network: TextToVelocity, reader: PortraitReader) -> Path:
    """Write a stock diffusers folder in half precision, the reader beside it, and our settings."""
    tokenizer = build_tokenizer()
    parts: list[nn.Module] = [autoencoder, network.transformer, network.text_encoder, network.text_encoder_2]
    for part in parts:
        part.cpu().half()
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
    with quiet_libraries():
        pipeline.save_pretrained(folder, safe_serialization=True)
    for part in ("text_encoder", "text_encoder_2"):
        change_json(folder / part / "config.json", {"dtype": "float32"})  # else transformers 5 opens them in half
    reader.save(folder)
    write_settings(
        folder,
        {
            "description": "avatar portraits of 128 px, from captions; a small Stable Diffusion 3",
            "captioner": "portraits",
            "framer": "portraits",
            "sizes": [SIZE, SIZE, SIZE],
            "guidance": GUIDANCE,
            "zero_tokens": 1,
            "vocabulary": vocabulary(),
        },
    )
    return folder
