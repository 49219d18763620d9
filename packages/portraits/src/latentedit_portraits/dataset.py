"""Training pictures on disk: rendered once, in parallel, the same on every machine."""

import dataclasses
import json
import multiprocessing
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from latentedit_keep.files import write_text, written_beside
from latentedit_portraits.attributes import Attributes, Split, draw_split
from latentedit_portraits.fitting import mixed_precision
from latentedit_portraits.render import draw_framing, render_array

SIZE = 128
"""Side of a portrait in pixels."""

ENCODED = 100
"""Pictures that a codec takes at once."""

_CHUNK = 200  # portraits that a process renders at once


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Renders:
    """Scenes of a world with their descriptions.

    Args:
        pixels: unsigned bytes ``[n, 128, 128, 3]``, memory-mapped.
        attributes: one description a picture.
    """

    pixels: NDArray[np.uint8]
    attributes: list[Any]


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
    name = f"{split}-{count}-{seed}{'-framed' if framed else ''}.npy"
    attributes = draw_split(split, count, seed)
    return render_all(folder / name, attributes, seed=seed, framed=framed, workers=workers, progress=progress)


def render_all(
    path: Path,
    attributes: list[Attributes],
    *,
    seed: int,
    framed: bool,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Renders:
    """Portraits, rendered into one file unless it is already there; those at one place have one framing for one seed.

    Args:
        path: of the ``.npy`` file.
        attributes: one a portrait.
        seed: of the framing, as are the following as for `render_split`.
        framed: vary framing and colour.
        workers: processes.
        progress: called with (done, total).
    """
    count = len(attributes)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        starts = range(0, count, _CHUNK)
        jobs = [(attributes[i : i + _CHUNK], seed * 1_000_003 + i if framed else None) for i in starts]
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, SIZE, SIZE, 3)}
        write_text(path.with_suffix(".json"), json.dumps([dataclasses.asdict(item) for item in attributes]))
        with written_beside(path) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for start, chunk in zip(starts, in_processes(_render_chunk, jobs, workers), strict=True):
                file.write(chunk.tobytes())
                if progress is not None:
                    progress(start + len(chunk), count)
    return Renders(pixels=np.load(path, mmap_mode="r"), attributes=attributes)


def in_processes(work: Callable[[Any], Any], jobs: Sequence[Any], workers: int) -> Iterator[Any]:
    """What the work makes of each job, in order.

    Args:
        work: a module's own function, for other processes.
        jobs: its arguments.
        workers: processes; this one where there is work for one alone.
    """
    if min(workers, len(jobs)) <= 1:
        yield from map(work, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(work, jobs)


def to_pixels(pictures: NDArray[np.uint8], device: torch.device) -> Float[Tensor, "b 3 h w"]:
    """Bytes ``[b, h, w, 3]`` to pixels in [-1, 1]."""
    tensor = torch.from_numpy(np.array(pictures)).to(device)
    return tensor.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def encode_in_batches(
    encode: Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b *latent"]],
    pixels: NDArray[np.uint8],
    device: torch.device,
    progress: Callable[[str, int, int], None],
) -> NDArray[np.float32]:
    """Latents of all pictures, encoded in `mixed_precision`.

    Args:
        encode: pixels in [-1, 1] to latents.
        pixels: bytes ``[n, h, w, 3]``.
        device: where the encoder runs.
        progress: told "latents" after each batch.
    """
    found: list[NDArray[np.float32]] = []
    for start in range(0, len(pixels), ENCODED):
        chunk = to_pixels(pixels[start : start + ENCODED], device)
        with mixed_precision(device):
            latents = encode(chunk)
        found.append(latents.float().cpu().numpy())
        progress("latents", start + len(chunk), len(pixels))
    return np.concatenate(found)


def kept_array(path: Path, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """An array from its file, which is made where it is missing; see `written_beside`."""
    if not path.exists():
        values = make()
        with written_beside(path) as file:
            np.save(file, values)
    return np.load(path, mmap_mode="r")
