"""Training pictures on disk: rendered once, in parallel, the same on every machine."""

import dataclasses
import json
import multiprocessing
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from latentedit.core.progress import Progress
from latentedit_portraits.attributes import Attributes, Split, draw_split
from latentedit_portraits.render import draw_framing, render_array

SIZE = 128
"""Side of a portrait in pixels."""

UNNAMED = -1
"""The label of an attribute for which a portrait shows nothing that has a name."""

_CHUNK = 200


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledPortraits:
    """Portraits with what the reader is to say of each.

    Args:
        pixels: unsigned bytes ``[n, 128, 128, 3]``.
        labels: positions in ``VALUES``, in its order, or ``UNNAMED``; ``[n, 12]``.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Renders:
    """Portraits with their descriptions.

    Args:
        pixels: unsigned bytes ``[n, 128, 128, 3]``, memory-mapped.
        attributes: one description a picture.
    """

    pixels: NDArray[np.uint8]
    attributes: list[Attributes]

    @property
    def labelled(self) -> LabelledPortraits:
        """The same pictures with the positions of their values."""
        return LabelledPortraits(pixels=self.pixels, labels=np.array([item.indices() for item in self.attributes]))


def _render_chunk(job: tuple[list[Attributes], int | None]) -> NDArray[np.uint8]:
    attributes, seed = job
    if seed is None:
        return np.stack([render_array(item, SIZE) for item in attributes])
    generator = random.Random(f"portraits/framing/{seed}")
    return np.stack([render_array(item, SIZE, draw_framing(generator)) for item in attributes])


def render_split(
    folder: Path,
    split: Split,
    count: int,
    *,
    seed: int,
    framed: bool,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Renders:
    """The first ``count`` portraits of a split, rendered into ``folder`` unless they are already there.

    Args:
        folder: where ``{split}-{count}-{seed}.npy`` goes.
        split: train, calibration or test.
        count: how many different portraits.
        seed: of the draw and of the framing.
        framed: vary framing and colour, as for training; otherwise the standard crop.
        workers: processes.
        progress: called with (done, total).
    """
    attributes = draw_split(split, count, seed)
    stem = f"{split}-{count}-{seed}{'-framed' if framed else ''}"
    path = folder / f"{stem}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{stem}.partial.npy"
        shape = (count, SIZE, SIZE, 3)
        pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        starts = range(0, count, _CHUNK)
        jobs = [(attributes[i : i + _CHUNK], seed * 1_000_003 + i if framed else None) for i in starts]
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            for start, chunk in zip(starts, pool.imap(_render_chunk, jobs), strict=True):
                pixels[start : start + len(chunk)] = chunk
                if progress is not None:
                    progress(start + len(chunk), count)
        pixels.flush()
        partial.replace(path)
        described = [dataclasses.asdict(item) for item in attributes]
        path.with_suffix(".json").write_text(json.dumps(described))
    return Renders(pixels=np.load(path, mmap_mode="r"), attributes=attributes)


def render_arrays(
    path: Path,
    render_chunk: Callable[[tuple[int, int, int]], dict[str, NDArray[Any]]],
    count: int,
    *,
    seed: int,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[Any]]:
    """Arrays of ``count`` rows each, kept in ``path`` and rendered only where it is missing.

    Args:
        path: an ``.npz`` file.
        render_chunk: the arrays' rows for (seed, first, end), by name; a module's own function, for other processes.
        count: how many rows.
        seed: of everything drawn.
        workers: processes.
        progress: called with (done, total).
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        jobs = [(seed, start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
        chunks: list[dict[str, NDArray[Any]]] = []
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            for job, chunk in zip(jobs, pool.imap(render_chunk, jobs), strict=True):
                chunks.append(chunk)
                if progress is not None:
                    progress(job[2], count)
        partial = path.with_suffix(".partial.npz")
        arrays: dict[str, Any] = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
        np.savez(partial, **arrays)
        partial.replace(path)
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def to_pixels(pictures: NDArray[np.uint8], device: torch.device) -> Float[Tensor, "b 3 h w"]:
    """Bytes ``[b, h, w, 3]`` to pixels in [-1, 1]."""
    tensor = torch.from_numpy(np.array(pictures)).to(device)
    return tensor.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def encode_in_batches(
    encode: Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b *latent"]],
    pixels: NDArray[np.uint8],
    device: torch.device,
    *,
    batch: int,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Latents of all pictures, encoded in bfloat16 where the encoder's operations allow it.

    Args:
        encode: pixels in [-1, 1] to latents.
        pixels: bytes ``[n, h, w, 3]``.
        device: where the encoder runs.
        batch: pictures at once.
        progress: told "latents" after each batch.
    """
    found: list[NDArray[np.float32]] = []
    for start in range(0, len(pixels), batch):
        chunk = to_pixels(pixels[start : start + batch], device)
        with torch.autocast(device.type, torch.bfloat16):
            latents = encode(chunk)
        found.append(latents.float().cpu().numpy())
        if progress is not None:
            progress("latents", start + len(chunk), len(pixels))
    return np.concatenate(found)


def keep_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array to a file, whole or not at all."""
    partial = path.with_suffix(".partial.npy")
    np.save(partial, values)
    partial.replace(path)


def for_renders(progress: Progress | None) -> Callable[[int, int], None] | None:
    """The progress of rendering, as one stage called "renders" of a whole recipe's."""
    return None if progress is None else lambda done, total: progress("renders", done, total)
