"""Training images and latents on disk: made once, in parallel, in parts that are kept when it is stopped."""

import functools
import multiprocessing
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from latentedit.models.base import Backbone
from latentedit_keep.files import atomic_file
from latentedit_portraits.attributes import Attributes, draw_split
from latentedit_portraits.domain import PortraitDomain
from latentedit_portraits.recolored import draw_recolored
from latentedit_portraits.recolored_domain import RECOLORED
from latentedit_portraits.render import draw_framing, render_array
from latentedit_portraits.worlds import to_pixels
from latentedit_scenes.domain import SceneDomain
from training.loop import Plan, Training, mixed_precision

World = PortraitDomain | SceneDomain  # the worlds on which models are trained

SEED = 0
"""Of all scenes, networks and batches."""

ENCODED = 100
"""Images that a codec takes at once."""

CHUNK = 200
"""Images that a process renders at once."""

Draw = Callable[[int, Sequence[Any]], Sequence[NDArray[np.uint8]]]
"""Images of some items of many, of which the first has this number; a function of a module, for other processes."""


def render_kept(name: str, items: Sequence[Any], draw: Draw, run: Training) -> NDArray[np.uint8]:
    """Images of all items, ``[n, h, w, 3]``, rendered into files in ``run.folder`` unless they are there.

    Args:
        name: begins those of the files.
        items: what is drawn.
        draw: images of `CHUNK` of them.
        run: where, and who hears of it.
    """
    folder = run.folder / "renders"
    folder.mkdir(parents=True, exist_ok=True)
    parts = {start: items[start : start + CHUNK] for start in range(0, len(items), CHUNK)}
    jobs = [(folder / f"{name}-{start}-{len(part)}.npy", draw, start, part) for start, part in parts.items()]
    workers, done = min(os.cpu_count() or 1, len(jobs)), 0
    if workers > 1:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            for made in pool.imap(_render_part, jobs):
                run.tell("renders", done := done + made, len(items))
    else:
        for job in jobs:
            run.tell("renders", done := done + _render_part(job), len(items))
    return np.concatenate([np.load(path) for path, *_ in jobs])


def _render_part(job: tuple[Path, Draw, int, Sequence[Any]]) -> int:
    path, draw, start, items = job
    return len(kept_array(path, lambda: np.stack(draw(start, items))))


def kept_array(path: Path, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """An array from its file, which is made where it is missing; see `atomic_file`."""
    if not path.exists():
        values = make()
        with atomic_file(path) as file:
            np.save(file, values)
    return np.load(path, mmap_mode="r")


def render_world(world: World, count: int, run: Training) -> tuple[NDArray[np.uint8], list[Any]]:
    """So many scenes of the test split and their descriptions."""
    scenes = world.draw("test", count, SEED)
    return render_kept(f"{world.name}-test", scenes, functools.partial(_draw_world, world), run), scenes


def _draw_world(world: World, start: int, scenes: Sequence[Any]) -> list[NDArray[np.uint8]]:
    del start
    return [world.render(scene) for scene in scenes]


def draw_framed(start: int, portraits: Sequence[Attributes]) -> list[NDArray[np.uint8]]:
    """Portraits in near-standard framings; those of one number have one framing."""
    generator = random.Random(f"portraits/framing/{SEED * 1_000_003 + start}")
    return [render_array(one, framing=draw_framing(generator)) for one in portraits]


def portrait_images(run: Training, plan: Plan) -> tuple[NDArray[np.uint8], list[Attributes]]:
    """Portraits of the training split in near-standard framings, and recolored ones in wide framings, in disorder."""
    plain = draw_split("train", plan.images, SEED)
    other = [draw_recolored(random.Random(f"portraits/recolored/{SEED}/{i}")) for i in range(plan.recolored)]
    pixels = [render_kept("train", plain, draw_framed, run)]
    pixels += [render_kept("recolored", other, functools.partial(_draw_world, RECOLORED), run)] if other else []
    order = np.random.default_rng(SEED).permutation(plan.images + plan.recolored)
    return np.concatenate(pixels)[order], [[*plain, *other][index] for index in order]


def encode_in_batches(
    encode: Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b *latent"]],
    pixels: NDArray[np.uint8],
    run: Training,
) -> NDArray[np.float32]:
    """Latents of all images, bytes ``[n, h, w, 3]``, encoded on the run's device in `mixed_precision`."""
    found: list[NDArray[np.float32]] = []
    for start in range(0, len(pixels), ENCODED):
        with mixed_precision(run.device):
            latents = encode(to_pixels(pixels[start : start + ENCODED], run.device))
        found.append(latents.float().cpu().numpy())
        run.tell("latents", start + len(latents), len(pixels))
    return np.concatenate(found)


@torch.no_grad()
def encode_latents(
    model: Backbone, pixels: NDArray[np.uint8], run: Training, name: str = "latents"
) -> NDArray[np.float16]:
    """Clean latents ``[n, 8, 16, 16]`` of all images, normalized as the model wants them; kept."""

    def encoded() -> NDArray[np.float16]:
        return encode_in_batches(model.encode, pixels, run).astype(np.float16)

    return kept_array(run.folder / f"{name}.npy", encoded)
