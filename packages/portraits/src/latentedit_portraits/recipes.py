"""What the recipes of all bundled models share: where they run, and how the finished model is described."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from latentedit.api.calibrate import calibrate_guard, calibrate_no_change, keep_calibration
from latentedit.core.files.writing import told_unwritable
from latentedit.core.progress import Progress
from latentedit.models.libraries import quiet_libraries
from latentedit.models.placement import existing_device
from latentedit.models.registry import load
from latentedit.models.settings_file import change_json, write_settings
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.captions import full_caption, vocabulary
from latentedit_portraits.card import write_card
from latentedit_portraits.dataset import SIZE
from latentedit_portraits.fitting import Plan, Training
from latentedit_portraits.quality import measure_quality
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.verify import write_reference

SEED = 0
"""Of all portraits, networks and batches."""

GUIDANCE = 2.0
"""At which the models of portraits follow a caption, unless something else is asked for."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A model that has been trained and written.

    Args:
        folder: of the model.
        seconds: of training, a network at a time.
        reader: by which its pictures are judged; None where there are no captions to judge by.
    """

    folder: Path
    seconds: Mapping[str, float]
    reader: PortraitReader | None = None


def run_recipe(
    name: str,
    plans: Mapping[str, Plan],
    make: Callable[[Training, Plan], Trained],
    out: Path,
    recipe: str,
    progress: Progress | None = None,
    *,
    device: str | torch.device | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Train a model, then measure and describe it.

    Args:
        name: of the model.
        plans: its recipes.
        make: trains and writes it.
        out: folder for renders, checkpoints and, in ``model``, the finished model. A second call goes on.
        recipe: a key of ``plans``.
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
    trained = make(run, run.begin(name, plans, recipe))
    folder = trained.folder
    seconds = {stage: round(value) for stage, value in trained.seconds.items()}
    write_settings(folder, {"recipe": recipe, "training_seconds": seconds})
    write_reference(folder, full_caption(draw_split("test", 1, seed=2)[0]))
    if trained.reader is not None:
        model = load(folder)
        guard, no_change = calibrate_guard(model, progress=progress), calibrate_no_change(model)
        keep_calibration(model, guard=guard, no_change=no_change, folder=folder)
        quality = measure_quality(folder, trained.reader, out / "renders", progress=progress)
        write_settings(folder, {"quality": quality})
    write_card(folder, name)
    return folder


def portrait_settings(architecture: str) -> dict[str, Any]:
    """What ``latentedit.json`` says of a model of portraits: who captions and crops pictures, which words it knows."""
    return {
        "description": f"avatar portraits of {SIZE} px, from captions; {architecture}",
        "knows": "drawn portraits",
        "captioner": "portraits",
        "framer": "portraits",
        "sizes": [SIZE, SIZE, SIZE],
        "guidance": GUIDANCE,
        "vocabulary": vocabulary(),
    }


def write_pipeline(
    folder: Path, pipeline: Any, networks: list[nn.Module], settings: Mapping[str, Any], texts: tuple[str, ...] = ()
) -> Path:
    """Write a stock diffusers folder in half precision, and our settings.

    Args:
        folder: of the model.
        pipeline: of diffusers; its networks are those that follow.
        networks: made half, on the CPU, in place.
        settings: for ``latentedit.json``.
        texts: text encoders, which transformers 5 would open in half precision if they did not say otherwise.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    for network in networks:
        network.cpu().half()
    with quiet_libraries(), told_unwritable(folder):
        pipeline.save_pretrained(folder, safe_serialization=True)
    for part in texts:
        change_json(folder / part / "config.json", {"dtype": "float32"})
    write_settings(folder, settings)
    return folder
