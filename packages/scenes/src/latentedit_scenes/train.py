"""The recipe of the model `scenes`, to a measured diffusers folder; the networks are those of `portraits`.

Codec, text encoders and transformer begin with the weights of `portraits`, all but those of its words: what they know
of edges, colors and noise need not be learnt again.
"""

import os
import random
import statistics
import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch import nn

from latentedit.api.calibrate import Calibration, calibrate_guard, keep_calibration
from latentedit.core.progress import Progress
from latentedit.latents.drawing import draw_pictures
from latentedit.models.placement import existing_device
from latentedit.models.registry import bundled_folder, load
from latentedit.models.settings_file import write_settings
from latentedit_portraits.autoencoder import fit_autoencoder, reconstruction_psnr_db
from latentedit_portraits.captions import CaptionStyle as PortraitStyle
from latentedit_portraits.dataset import Renders, kept_array, to_pixels
from latentedit_portraits.fitting import Training, plans_of
from latentedit_portraits.reader import fit_reader
from latentedit_portraits.tokenizer import build_tokenizer
from latentedit_portraits.train import encode_renders, reconstruct, write_velocity_pipeline
from latentedit_portraits.transformer import (
    CaptionBatches,
    TextToVelocity,
    build_text_to_velocity,
    fit_text,
    fit_transformer,
)
from latentedit_portraits.verify import write_reference
from latentedit_portraits.world import World
from latentedit_scenes.attributes import VALUES, Attributes, draw_split
from latentedit_scenes.captions import MAX_TOKENS, CaptionStyle, draw_caption, full_caption, parse, vocabulary
from latentedit_scenes.card import write_card
from latentedit_scenes.dataset import render_split
from latentedit_scenes.reader import SceneReader, agreement, build_reader
from latentedit_scenes.render import SIZE

RECIPES = plans_of(tomllib.loads(resources.files("latentedit_scenes").joinpath("recipes.toml").read_text("utf-8")))

SEED = 0
"""Of all scenes, networks and batches."""

GUIDANCE = 2.0

_RECONSTRUCTED = 4000  # pictures of the codec that the reader learns from
_TESTED, _SAMPLES, _BATCH = 500, 200, 25  # scenes that are read, pictures that are sampled, at once


def _draw_caption(scene: Attributes, generator: random.Random, style: PortraitStyle) -> str:
    return draw_caption(scene, generator, CaptionStyle(empty=style.empty))


def _stated(caption: str) -> Mapping[str, str]:
    return parse(caption).attributes()


WORLD = World(values=VALUES, draw_caption=_draw_caption, stated=_stated, vocabulary=vocabulary(), max_tokens=MAX_TOKENS)
"""What the networks have to know of scenes."""


def train(
    out: Path,
    recipe: str,
    progress: Progress | None = None,
    *,
    device: str | torch.device | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Train the model, then measure and describe it.

    Args:
        out: folder for renders, checkpoints and, in ``model``, the finished model. A second call goes on.
        recipe: a key of `RECIPES`.
        progress: called after each step.
        device: None is CUDA where there is one, else the CPU.
        log: gets a line a checkpoint.

    Returns:
        The model's folder.

    Raises:
        ConfigError: an unknown recipe, or a folder that was begun by another one.
        DeviceError: a device that this machine lacks.
    """
    run = Training(folder=out, device=existing_device(device), progress=progress, log=log)
    plan = run.begin("scenes", RECIPES, recipe)
    workers = os.cpu_count() or 1
    renders = render_split(
        out / "renders", "train", plan.pictures, seed=SEED, workers=workers, progress=run.tell_renders
    )
    begun = bundled_folder("portraits")
    autoencoder = AutoencoderKL.from_pretrained(begun / "vae", torch_dtype=torch.float32)
    nn.Module.to(autoencoder, run.device)
    seconds = {"autoencoder": fit_autoencoder(autoencoder, renders.pixels, renders.pixels, plan.fits, run)}
    latents = encode_renders(autoencoder, renders, run)
    seen = kept_array(
        out / "reconstructions.npy", lambda: reconstruct(autoencoder, renders.pixels[:_RECONSTRUCTED], run.tell)
    )
    network = build_reader(SEED).to(run.device)
    seconds["reader"] = fit_reader(network, [renders.pixels, seen], renders.attributes, plan.fits["reader"], run)
    tokenizer = build_tokenizer(WORLD.vocabulary, WORLD.max_tokens)
    generator = begin_with(build_text_to_velocity(tokenizer, SEED, WORLD), begun).to(run.device)
    batches = CaptionBatches(tokenizer, renders.attributes, run.device, WORLD)
    seconds["text"] = fit_text(generator, batches, plan.fits["text"], run)
    seconds["transformer"] = fit_transformer(generator, batches, latents, plan.fits["transformer"], run)
    folder, reader = out / "model", SceneReader(network.cpu())
    settings = {
        "description": f"rendered scenes of {SIZE} px, from captions; a small Stable Diffusion 3",
        "knows": "rendered scenes of solids under a lamp",
        "captioner": "scenes",
        "sizes": [SIZE, SIZE, SIZE],
        "guidance": GUIDANCE,
        "vocabulary": list(vocabulary()),
        "recipe": recipe,
        "pictures": plan.pictures,
        "training_seconds": {stage: round(value) for stage, value in seconds.items()},
    }
    write_velocity_pipeline(folder, autoencoder, generator, tokenizer, settings)
    reader.save(folder)
    test = render_split(out / "renders", "test", _TESTED, seed=SEED, workers=workers, progress=run.tell_renders)
    captions = reader.examples(Calibration().pictures)
    write_reference(folder, captions[0])
    model = load(folder)
    keep_calibration(model, guard=calibrate_guard(model, captions=captions, progress=progress), folder=folder)
    write_settings(folder, {"quality": measure_quality(folder, reader, test, progress)})
    write_card(folder)
    return folder


def begin_with(network: TextToVelocity, folder: Path) -> TextToVelocity:
    """The networks with the weights of a model that has the same ones, all but those of its words.

    Args:
        network: changed in place.
        folder: of the other model.
    """
    for name in ("transformer", "text_encoder", "text_encoder_2"):
        (path,) = (folder / name).glob("*.safetensors")
        weights = {key: value for key, value in load_file(path).items() if ".embeddings." not in key}
        part: nn.Module = getattr(network, name)
        missing, strange = part.load_state_dict(weights, strict=False)
        assert not strange
        assert all(".embeddings." in key or "pos_embed" in key for key in missing)
    return network


def measure_quality(
    folder: Path, reader: SceneReader, test: Renders, progress: Progress | None = None
) -> dict[str, Any]:
    """What ``models show`` prints: PSNR of the codec in dB, and shares as `agreement` has them.

    Args:
        folder: the model.
        reader: of scenes.
        test: rendered scenes of the test split; every second one has a combination that training never showed.
        progress: called while pictures are sampled.
    """
    model = load(folder)
    autoencoder = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval()
    psnr = reconstruction_psnr_db(autoencoder, test.pixels)
    read = reader.attributes(to_pixels(test.pixels, torch.device("cpu")))
    wanted, found = draw_split("test", _SAMPLES, SEED + 1), list[Attributes]()
    for start in range(0, len(wanted), _BATCH):
        chosen = wanted[start : start + _BATCH]
        found += reader.attributes(draw_pictures(model, [full_caption(scene) for scene in chosen], seed=start))
        if progress is not None:
            progress("adherence", start + len(chosen), len(wanted))
    return {
        f"VAE PSNR on {len(psnr)} test renders, dB": {
            "mean": round(statistics.mean(psnr), 2),
            "lowest": round(min(psnr), 2),
        },
        f"reader accuracy on {len(read)} test renders": _rounded(agreement(read, test.attributes)),
        f"text adherence, {len(wanted[::2])} test captions": _rounded(agreement(found[::2], wanted[::2])),
        f"text adherence, {len(wanted[1::2])} captions with held-out combinations": _rounded(
            agreement(found[1::2], wanted[1::2])
        ),
    }


def _rounded(shares: Mapping[str, float]) -> dict[str, float]:
    return {"mean": round(statistics.mean(shares[name] for name in VALUES), 4)} | {
        name: round(share, 4) for name, share in shares.items()
    }
