"""Training pictures on disk: rendered once, in parallel, in parts that are kept when it is stopped."""

from collections.abc import Callable
from pathlib import Path

import drjit
import numpy as np

from latentedit_portraits.dataset import Renders, in_processes, kept_array
from latentedit_scenes.attributes import Attributes, Split, draw_split
from latentedit_scenes.parameters import parameters_of
from latentedit_scenes.render import render_array

_CHUNK = 100  # scenes that a process renders at once: two minutes


def render_split(
    folder: Path,
    split: Split,
    count: int,
    *,
    seed: int,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> Renders:
    """The first ``count`` scenes of a split, rendered into ``folder`` unless they are already there.

    Args:
        folder: where files of some scenes each go.
        split: train, calibration or test.
        count: how many different scenes.
        seed: of the draw.
        workers: processes, of one thread each.
        progress: called with (done, total).

    Cost:
        About a second of one core a scene.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scenes = draw_split(split, count, seed)
    chunks = {start: scenes[start : start + _CHUNK] for start in range(0, count, _CHUNK)}
    jobs = [(folder / f"{split}-{seed}-{start}-{len(chunk)}.npy", chunk) for start, chunk in chunks.items()]
    done = 0
    for made in in_processes(_render_chunk, jobs, workers):
        done += made
        if progress is not None:
            progress(done, count)
    return Renders(pixels=np.concatenate([np.load(path) for path, _ in jobs]), attributes=scenes)


def _render_chunk(job: tuple[Path, list[Attributes]]) -> int:
    path, scenes = job
    drjit.set_thread_count(1)
    return len(kept_array(path, lambda: np.stack([render_array(parameters_of(scene)) for scene in scenes])))
