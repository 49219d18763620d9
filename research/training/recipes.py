"""Recipes of all bundled models: train, write a stock diffusers folder, measure quality, write the card."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import drjit
import numpy as np
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from latentedit import load
from latentedit.calibration import (
    GuardCalibration,
    calibrate_guard,
    calibrate_no_change,
    keep_calibration,
    write_reference,
)
from latentedit.core import write_text
from latentedit.models import bundled_folder, read_settings, write_settings
from latentedit_drawn.domain import PORTRAITS
from latentedit_portraits.domains import AttributeDomain
from latentedit_portraits.framer import VIEW_SIZE, PortraitFramer
from latentedit_scenes.domain import SCENES
from research.training import pixels
from research.training.classifiers import fit_framer
from research.training.codec import build_autoencoder
from research.training.data import SEED, portrait_images, render_cached
from research.training.folder import card_text
from research.training.kontext import instruction_following, train_kontext
from research.training.loop import Plan, Trainer, read_plans
from research.training.quality import measure_quality
from research.training.sd3 import train_sd3
from research.training.texts import CaptionBatches
from research.training.views import framings_of, render_views

PLANS = read_plans()
"""Model to its training plan."""

_FOLLOWED = 100  # portraits per kind of instruction


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Training function and metadata of one model.

    Args:
        train: trains the model, writes it into ``trainer.folder / "model"``, returns the seconds of each stage.
        description: description in ``latentedit.json``.
        domain: domain of the training images; None for models without captions.
    """

    train: Callable[[Trainer, Plan], dict[str, float]]
    description: str
    domain: AttributeDomain | None = None


def train_model(name: str, trainer: Trainer) -> Path:
    """Train a model, measure its quality and write its card; a second call with the same folder resumes.

    Args:
        name: a key of `RECIPES`.
        trainer: has the folder; the model is written into ``trainer.folder / "model"``.

    Returns:
        The model's folder.

    Raises:
        ConfigError: the folder was started with another recipe.
    """
    recipe, plan, folder = RECIPES[name], PLANS[name], trainer.folder / "model"
    trainer.init_folder(name, plan)
    seconds = {stage: round(spent) for stage, spent in recipe.train(trainer, plan).items()}
    write_settings(folder, {"description": recipe.description, "images": plan.images, "training_seconds": seconds})
    if recipe.domain is None:
        write_settings(folder, {"sizes": [pixels.SIDE] * 3})
        write_reference(folder, "")
    else:
        _measure(folder, recipe.domain, trainer)
    write_text(folder / "README.md", card_text(read_settings(folder), name))
    return folder


def _measure(folder: Path, domain: AttributeDomain, trainer: Trainer) -> None:
    """Calibrate a text-to-image model and measure its quality, and write both into its settings."""
    captions = [
        domain.grammar.full_caption(scene) for scene in domain.draw("calibration", GuardCalibration().images, 22)
    ]
    write_settings(folder, _SHARED[domain.name] | {"sizes": [domain.side] * 3, "guidance": 2.0})
    write_reference(folder, captions[0])
    model = load(folder)
    guard = calibrate_guard(model, captions=captions, progress=trainer.progress)
    keep_calibration(model, guard=guard, no_change=calibrate_no_change(model, captions=captions), folder=folder)
    kind = domain.reader
    reader = kind.from_folder(folder) if (folder / kind.kind).is_dir() else kind.bundled()
    quality = measure_quality(folder, domain, reader, trainer)
    if model.capabilities.references:
        title = f"instructions followed in every attribute, {_FOLLOWED} of each"
        quality[title] = instruction_following(model, _FOLLOWED, trainer)
    write_settings(folder, {"quality": quality})


_SHARED = {
    "portraits": {"knows": "drawn portraits", "captioner": "portraits", "framer": "portraits"},
    "scenes": {"knows": "rendered scenes of solids under a lamp", "captioner": "scenes"},
}
"""Domain to the settings in ``latentedit.json`` that all its models share."""


def _train_portraits(trainer: Trainer, plan: Plan) -> dict[str, float]:
    images, portraits = portrait_images(trainer, plan)
    others = render_cached("others", range(plan.recolored), render_views, trainer)
    framed = framings_of(plan.recolored)[:, -1] == 1
    captions = CaptionBatches(PORTRAITS, portraits, trainer.device)
    codec = build_autoencoder()
    seconds = train_sd3(trainer, plan, captions, images, codec, others=others[framed])
    small = functools.partial(render_views, size=VIEW_SIZE)
    views, framer = render_cached("views", range(plan.views), small, trainer), PortraitFramer.build(SEED)
    seconds["framer"] = fit_framer(framer, views, framings_of(plan.views), plan.fits["framer"], trainer)
    PortraitFramer(framer).save(trainer.folder / "model")
    return seconds


def _train_scenes(trainer: Trainer, plan: Plan) -> dict[str, float]:
    """Train from the weights of `portraits`, which already model edges, colors and noise."""
    scenes, init_from = SCENES.draw("train", plan.images, SEED), bundled_folder("portraits")
    images = render_cached("train", scenes, _render_single_threaded, trainer)
    codec: AutoencoderKL = AutoencoderKL.from_pretrained(init_from, subfolder="vae")
    captions = CaptionBatches(SCENES, scenes, trainer.device)
    return train_sd3(trainer, plan, captions, images, codec, init_from=init_from)


def _render_single_threaded(start: int, scenes: Sequence[Any]) -> list[NDArray[np.uint8]]:
    """Renders of scenes; each takes about a second of one core."""
    del start
    drjit.set_thread_count(1)
    return [SCENES.render(scene) for scene in scenes]


_PORTRAITS = "avatar portraits of 128 px, from captions; a small"
_PIXELS = "a small DDPM on images of 64 px, without text:"

RECIPES = {
    "portraits": Recipe(train=_train_portraits, description=f"{_PORTRAITS} Stable Diffusion 3", domain=PORTRAITS),
    "portraits-kontext": Recipe(
        train=train_kontext,
        description=f"{_PORTRAITS} FLUX.1 Kontext, which also follows instructions",
        domain=PORTRAITS,
    ),
    "pixels-discs": Recipe(train=pixels.train_discs, description=f"{_PIXELS} plain discs of one hue on white"),
    "pixels-portraits": Recipe(train=pixels.train_portraits, description=f"{_PIXELS} avatar portraits"),
    "scenes": Recipe(
        train=_train_scenes,
        description="rendered scenes of 128 px, from captions; a small Stable Diffusion 3",
        domain=SCENES,
    ),
}
"""Model to its recipe."""
