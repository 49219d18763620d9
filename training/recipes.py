"""The recipes of all bundled models: train, write a stock diffusers folder, measure and describe it."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import drjit
import numpy as np
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from latentedit.guard.calibration import Calibration, calibrate_guard, calibrate_no_change, keep_calibration
from latentedit.latents.drawing import write_reference
from latentedit.models.model_settings import read_settings, write_settings
from latentedit.models.registry import bundled_folder, load
from latentedit_keep.files import write_text
from latentedit_portraits.domain import PORTRAITS
from latentedit_portraits.framer import VIEW_SIZE, PortraitFramer
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.worlds import AttributeClassifier
from latentedit_scenes.domain import SCENES
from latentedit_scenes.reader import SceneReader
from training import pixels
from training.classifiers import fit_framer
from training.codec import build_autoencoder
from training.data import SEED, World, portrait_images, render_kept
from training.folder import card_text
from training.kontext import instruction_following, train_kontext
from training.loop import Plan, Training, read_plans
from training.quality import measure_quality
from training.sd3 import train_sd3
from training.texts import CaptionBatches
from training.views import draw_views, framings_of

PLANS = read_plans()
"""Model to how it is trained."""

_FOLLOWED = 100  # portraits of each kind of instruction


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one model is made.

    Args:
        train: trains it and writes it into ``run.folder / "model"``; gives the seconds of each stage.
        description: for ``latentedit.json``.
        world: of its training images.

    """

    train: Callable[[Training, Plan], dict[str, float]]
    description: str
    world: World | None = None


def make(name: str, run: Training) -> Path:
    """Train a model, then measure and describe it; a second call in one folder goes on.

    Args:
        name: a key of `RECIPES`.
        run: where; the model goes into ``run.folder / "model"``.

    Returns:
        The model's folder.

    Raises:
        ConfigError: a folder that was begun by another recipe.
    """
    recipe, plan, folder = RECIPES[name], PLANS[name], run.folder / "model"
    run.begin(name, plan)
    seconds = {stage: round(spent) for stage, spent in recipe.train(run, plan).items()}
    write_settings(folder, {"description": recipe.description, "images": plan.images, "training_seconds": seconds})
    if recipe.world is None:
        write_settings(folder, {"sizes": [pixels.SIDE] * 3})
        write_reference(folder, "")
    else:
        _measure(folder, recipe.world, run)
    write_text(folder / "README.md", card_text(read_settings(folder), name))
    return folder


def _measure(folder: Path, world: World, run: Training) -> None:
    """Calibrate a model of captions, measure it, and write down what is found."""
    captions = [world.full_caption(scene) for scene in world.draw("calibration", Calibration().images, 22)]
    write_settings(folder, _SHARED[world.name] | {"sizes": [world.side] * 3, "guidance": 2.0})
    write_reference(folder, captions[0])
    model = load(folder)
    guard = calibrate_guard(model, captions=captions, progress=run.progress)
    keep_calibration(model, guard=guard, no_change=calibrate_no_change(model, captions=captions), folder=folder)
    kind: type[AttributeClassifier] = {"portraits": PortraitReader, "scenes": SceneReader}[world.name]
    reader = kind.from_folder(folder) if (folder / kind.kind).is_dir() else kind.bundled()
    quality = measure_quality(folder, world, reader, run)
    if model.capabilities.references:
        title = f"instructions followed in every attribute, {_FOLLOWED} of each"
        quality[title] = instruction_following(model, _FOLLOWED, run)
    write_settings(folder, {"quality": quality})


_SHARED = {
    "portraits": {"knows": "drawn portraits", "captioner": "portraits", "framer": "portraits"},
    "scenes": {"knows": "rendered scenes of solids under a lamp", "captioner": "scenes"},
}
"""World to what ``latentedit.json`` says of all its models."""


def _train_portraits(run: Training, plan: Plan) -> dict[str, float]:
    images, portraits = portrait_images(run, plan)
    others = render_kept("others", range(plan.recolored), draw_views, run)
    framed = framings_of(plan.recolored)[:, -1] == 1
    captions = CaptionBatches(PORTRAITS, portraits, run.device)
    codec = build_autoencoder()
    seconds = train_sd3(run, plan, captions, images, codec, PortraitReader, others=others[framed])
    small = functools.partial(draw_views, size=VIEW_SIZE)
    views, framer = render_kept("views", range(plan.views), small, run), PortraitFramer.build(SEED)
    seconds["framer"] = fit_framer(framer, views, framings_of(plan.views), plan.fits["framer"], run)
    PortraitFramer(framer).save(run.folder / "model")
    return seconds


def _train_scenes(run: Training, plan: Plan) -> dict[str, float]:
    """From the weights of `portraits`: what they know of edges, colors and noise need not be learnt again."""
    scenes, begun = SCENES.draw("train", plan.images, SEED), bundled_folder("portraits")
    images = render_kept("train", scenes, _trace, run)
    codec: AutoencoderKL = AutoencoderKL.from_pretrained(begun, subfolder="vae")
    captions = CaptionBatches(SCENES, scenes, run.device)
    return train_sd3(run, plan, captions, images, codec, SceneReader, begun=begun)


def _trace(start: int, scenes: Sequence[Any]) -> list[NDArray[np.uint8]]:
    """Rendered scenes; about a second of one core each."""
    del start
    drjit.set_thread_count(1)
    return [SCENES.render(scene) for scene in scenes]


_PORTRAITS = "avatar portraits of 128 px, from captions; a small"
_PIXELS = "a small DDPM on images of 64 px, without text:"

RECIPES = {
    "portraits": Recipe(train=_train_portraits, description=f"{_PORTRAITS} Stable Diffusion 3", world=PORTRAITS),
    "portraits-kontext": Recipe(
        train=train_kontext,
        description=f"{_PORTRAITS} FLUX.1 Kontext, which is also told what to do with a portrait",
        world=PORTRAITS,
    ),
    "pixels-discs": Recipe(train=pixels.train_discs, description=f"{_PIXELS} plain discs of one hue on white"),
    "pixels-portraits": Recipe(train=pixels.train_portraits, description=f"{_PIXELS} avatar portraits"),
    "scenes": Recipe(
        train=_train_scenes,
        description="rendered scenes of 128 px, from captions; a small Stable Diffusion 3",
        world=SCENES,
    ),
}
"""Model to its recipe."""
