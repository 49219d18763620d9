"""Training images and latents, cached on disk: computed once, in parallel, in parts that survive an interruption."""

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

from latentedit import Backbone
from latentedit.core import atomic_file
from latentedit_drawn.recolored import Recolored
from latentedit_drawn.recolored_domain import RECOLORED
from latentedit_drawn.render import draw_framing, render_array
from latentedit_portraits.attributes import Attributes, draw_split
from latentedit_portraits.classifiers import to_pixels
from latentedit_portraits.domains import AttributeDomain
from research.training.loop import Plan, Trainer, mixed_precision

SEED = 0
"""Random seed of all scenes, networks and batches."""

ENCODED = 100
"""Batch size of the codec."""

CHUNK = 200
"""Images per cached file, which one process renders."""

Render = Callable[[int, Sequence[Any]], Sequence[NDArray[np.uint8]]]
"""Images of a chunk of items, given the index of its first item; a module's function, so that it can be pickled."""


def render_cached(name: str, items: Sequence[Any], render: Render, trainer: Trainer) -> NDArray[np.uint8]:
    """Images of all items, ``[n, h, w, 3]``, rendered into files in the trainer's folder unless these exist.

    Args:
        name: prefix of the files.
        items: the scenes.
        render: renders `CHUNK` items.
        trainer: has the folder, and reports progress.
    """
    folder = trainer.folder / "renders"
    folder.mkdir(parents=True, exist_ok=True)
    parts = {start: items[start : start + CHUNK] for start in range(0, len(items), CHUNK)}
    jobs = [(folder / f"{name}-{start}-{len(part)}.npy", render, start, part) for start, part in parts.items()]
    workers, done = min(os.cpu_count() or 1, len(jobs)), 0
    if workers > 1:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            for count in pool.imap(_render_part, jobs):
                trainer.report_progress("renders", done := done + count, len(items))
    else:
        for job in jobs:
            trainer.report_progress("renders", done := done + _render_part(job), len(items))
    return np.concatenate([np.load(path) for path, *_ in jobs])


def _render_part(job: tuple[Path, Render, int, Sequence[Any]]) -> int:
    path, render, start, items = job
    return len(cached_array(path, lambda: np.stack(render(start, items))))


def cached_array(path: Path, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """The array in a file; if that does not exist, it is computed and written first."""
    if not path.exists():
        values = make()
        with atomic_file(path) as file:
            np.save(file, values)
    return np.load(path, mmap_mode="r")


def render_test_split(domain: AttributeDomain, count: int, trainer: Trainer) -> tuple[NDArray[np.uint8], list[Any]]:
    """Images of ``count`` scenes of the test split, and the scenes."""
    scenes = [*domain.draw("test", count, SEED)]
    return render_cached(f"{domain.name}-test", scenes, functools.partial(_render_scenes, domain), trainer), scenes


def _render_scenes(domain: AttributeDomain, start: int, scenes: Sequence[Any]) -> list[NDArray[np.uint8]]:
    del start
    return [domain.render(scene) for scene in scenes]


def render_framed(start: int, portraits: Sequence[Attributes]) -> list[NDArray[np.uint8]]:
    """Portraits in near-standard framings; equal ``start`` gives equal framings."""
    generator = random.Random(f"portraits/framing/{SEED * 1_000_003 + start}")
    return [render_array(portrait, framing=draw_framing(generator)) for portrait in portraits]


def portrait_images(trainer: Trainer, plan: Plan) -> tuple[NDArray[np.uint8], list[Attributes]]:
    """Portraits of the training split in near-standard framings, and recolored ones in wide framings, shuffled."""
    plain = draw_split("train", plan.images, SEED)
    other = [Recolored.draw(random.Random(f"portraits/recolored/{SEED}/{i}")) for i in range(plan.recolored)]
    pixels = [render_cached("train", plain, render_framed, trainer)]
    pixels += (
        [render_cached("recolored", other, functools.partial(_render_scenes, RECOLORED), trainer)] if other else []
    )
    order = np.random.default_rng(SEED).permutation(plan.images + plan.recolored)
    return np.concatenate(pixels)[order], [[*plain, *other][index] for index in order]


def encode_in_batches(
    encode: Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b *latent"]],
    pixels: NDArray[np.uint8],
    trainer: Trainer,
) -> NDArray[np.float32]:
    """Latents of all images, bytes ``[n, h, w, 3]``, encoded on the trainer's device in `mixed_precision`."""
    chunks: list[NDArray[np.float32]] = []
    for start in range(0, len(pixels), ENCODED):
        with mixed_precision(trainer.device):
            latents = encode(to_pixels(pixels[start : start + ENCODED], trainer.device))
        chunks.append(latents.float().cpu().numpy())
        trainer.report_progress("latents", start + len(latents), len(pixels))
    return np.concatenate(chunks)


@torch.no_grad()
def encode_latents(
    model: Backbone, pixels: NDArray[np.uint8], trainer: Trainer, name: str = "latents"
) -> NDArray[np.float16]:
    """Clean latents ``[n, 8, 16, 16]`` of all images, normalized as the model requires; cached."""

    def encoded() -> NDArray[np.float16]:
        return encode_in_batches(model.encode, pixels, trainer).astype(np.float16)

    return cached_array(trainer.folder / f"{name}.npy", encoded)
