"""The recipes of `pixels-discs` and `pixels-portraits`: one small network on two sets of pictures."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMPipeline
from numpy.typing import NDArray
from torch import nn

from latentedit.core.files.writing import write_text
from latentedit.core.progress import Progress
from latentedit.models.libraries import quiet_libraries
from latentedit.models.network import existing_device
from latentedit.models.settings_file import write_settings
from latentedit_portraits.dataset import for_renders, render_split
from latentedit_portraits.fitting import FitSettings, recipe_of
from latentedit_portraits.pixels import SIDE, build_pixel_unet, draw_discs, fit_pixels, noise_scheduler, shrink
from latentedit_portraits.verify import write_reference

_SEED = 0

RECIPES = {
    "cpu": (8_000, FitSettings(steps=1_800, batch=16, learning_rate=1e-3, warm_up=100, checkpoint_seconds=60.0)),
    "gpu": (30_000, FitSettings(steps=20_000, batch=128, learning_rate=1e-3, warm_up=500)),
}
"""How many pictures, and how long the network is trained on them: the same for both sets."""

DATA: Mapping[str, str] = {
    "pixels-discs": "plain discs, each of one pure hue on white: four numbers a picture (place, size, hue)",
    "pixels-portraits": "avatar portraits (python-avatars, MIT), framed at random: twelve attributes a picture",
}
"""What each model was trained on."""

_CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: unconditional-image-generation
---
# {name}

A small DDPM on pictures of 64 px, without text. There are two, alike but for their data; they are there to compare what
data does to a latent space, not to make pictures.

* **Data** {data}.
* **Parts** `UNet2DModel` ({parameters:.1f} M parameters, predicts v), `DDIMScheduler` with linear betas.
  Half-precision safetensors.
* **Recipe** `latentedit models train {name} --recipe {recipe}`: {pictures} pictures, {steps} steps of {batch},
  {seconds} seconds.
* **Use** `DDIMPipeline.from_pretrained(folder)`; or `latentedit.load("{name}")`.
* **Limits** trained for minutes; samples show it.
* **Licence** Apache-2.0, weights included.
"""


def train_pixels(
    name: str,
    out: Path,
    recipe: str,
    progress: Progress | None = None,
    *,
    device: str | torch.device | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Train one of the two, then assemble and describe it.

    Args:
        name: a key of ``DATA``.
        out: folder for renders, checkpoint and, in ``model``, the finished model. A second call goes on.
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
    count, settings = recipe_of(RECIPES, recipe)
    where = existing_device(device)
    network = build_pixel_unet(_SEED).to(where)
    pictures = _pictures(name, out, count, progress)
    seconds = fit_pixels(network, pictures, settings, out, device=where, progress=progress, log=log)
    folder = assemble(out / "model", name, network)
    write_settings(folder, {"recipe": recipe, "training_seconds": {"pixels": round(seconds)}})
    write_reference(folder)
    facts = {"name": name, "data": DATA[name], "recipe": recipe, "pictures": count, "seconds": round(seconds)}
    parameters = sum(item.numel() for item in network.parameters()) / 1e6
    card = _CARD.format(**facts, steps=settings.steps, batch=settings.batch, parameters=parameters)
    write_text(folder / "README.md", card)
    return folder


train_discs = partial(train_pixels, "pixels-discs")
train_portraits = partial(train_pixels, "pixels-portraits")


def _pictures(name: str, out: Path, count: int, progress: Progress | None) -> NDArray[np.uint8]:
    if name == "pixels-discs":
        return draw_discs(count, seed=_SEED)
    renders = render_split(out / "renders", "train", count, seed=_SEED, framed=True, progress=for_renders(progress))
    return shrink(renders.pixels)


def assemble(folder: Path, name: str, network: nn.Module) -> Path:
    """Write a stock diffusers folder in half precision, and our settings."""
    stock: Any = network.cpu().half()
    with quiet_libraries():
        DDIMPipeline(unet=stock.to(memory_format=torch.contiguous_format), scheduler=noise_scheduler()).save_pretrained(
            folder, safe_serialization=True
        )
    description = f"a small DDPM on pictures of 64 px, without text: {DATA[name]}"
    write_settings(folder, {"description": description, "sizes": [SIDE, SIDE, SIDE]})
    return folder
