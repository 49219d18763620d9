"""The recipes of `pixels-discs` and `pixels-portraits`: one small network on two sets of pictures."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMPipeline
from numpy.typing import NDArray
from torch import nn

from latentedit_portraits.card import PIXEL_DATA
from latentedit_portraits.dataset import render_split
from latentedit_portraits.fitting import Plan, Training, read_plans
from latentedit_portraits.pixels import SIDE, build_pixel_unet, draw_discs, fit_pixels, noise_scheduler, shrink
from latentedit_portraits.recipes import SEED, Trained, run_recipe, write_pipeline

RECIPES = read_plans("pixels")
"""The same for both sets."""


def _train(name: str, run: Training, plan: Plan) -> Trained:
    network = build_pixel_unet(SEED).to(run.device)
    pictures = _pictures(name, run, plan.pictures)
    seconds = fit_pixels(network, pictures, plan.fits["pixels"], run)
    return Trained(folder=assemble(run.folder / "model", name, network), seconds={"pixels": seconds})


def _recipe(name: str) -> functools.partial[Path]:
    return functools.partial(run_recipe, name, RECIPES, functools.partial(_train, name))


train_discs = _recipe("pixels-discs")
train_portraits = _recipe("pixels-portraits")


def _pictures(name: str, run: Training, count: int) -> NDArray[np.uint8]:
    if name == "pixels-discs":
        return draw_discs(count, seed=SEED)
    renders = render_split(run.folder / "renders", "train", count, seed=SEED, framed=True, progress=run.tell_renders)
    return shrink(renders.pixels)


def assemble(folder: Path, name: str, network: nn.Module) -> Path:
    """Write a stock diffusers folder in half precision, and our settings."""
    unet: Any = network.cpu().half()
    unet.to(memory_format=torch.contiguous_format)
    description = f"a small DDPM on pictures of 64 px, without text: {PIXEL_DATA[name]}"
    settings = {"description": description, "sizes": [SIDE, SIDE, SIDE]}
    return write_pipeline(folder, DDIMPipeline(unet=unet, scheduler=noise_scheduler()), [unet], settings)
