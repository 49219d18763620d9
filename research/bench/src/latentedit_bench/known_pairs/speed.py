"""CPU seconds and memory of `keep` beside what people do instead: each in a process of its own, with one thread.

A photograph is enlarged with grain to a JPEG of 1, 12 or 33 megapixels; something is pasted, and the editor's output, a
PNG, is moved, tinted and of 1024 or 1536 px, as a JPEG codec left it. On each photograph all methods run one after the
other, in an order that turns, so their ratios are those of one moment of one machine; other programs there slow all.
"""

import functools
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import binom

from latentedit.batch import UnitResult
from latentedit.core import ConfigError
from latentedit.photo import scaling
from latentedit_bench.known_pairs import baselines
from latentedit_bench.known_pairs.cases import PHOTOGRAPHS, changed, covering, load_photograph
from latentedit_bench.known_pairs.damages import Damage, as_pixels
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.work import UnitWork

SIZES = {"1 megapixel": (1152, 864, 1024), "12 megapixels": (4000, 3000, 1536), "33 megapixels": (6656, 4992, 1536)}
"""Width and height of the original, and the longer side of the edited image."""

METHODS = {
    "keep": "`latentedit keep`", "against": "`latentedit keep`, the version before",
    "homography": "SIFT homography and paste",
    "threshold": "resize and paste", "decode": "decode both, encode the original",
}  # fmt: skip
NAMES = PHOTOGRAPHS["test"][:7]  # photographs in color
_SEED = 80
_SHARE = 0.03  # share of the image that is pasted
_ZOOM, _SHIFT = 1.004, (0.003, -0.002)  # zoom and shift of the edited image; the shift as a share of its longer side
_GAIN, _GAMMA = np.array([1.03, 1.0, 0.96]), np.array([0.97, 1.0, 1.03])


def speed_work(repeats: int, against: Path | None) -> UnitWork:
    """Units of all methods on one pair; ``against`` is the folder that contains another version."""
    if not Path("/proc/self/status").is_file():
        raise ConfigError("memory is read from /proc, which only Linux has. Run it there")
    if against is not None and not (against / "latentedit" / "keeping" / "api.py").is_file():
        raise ConfigError(f"{against} does not contain latentedit. Pass src of a checkout")
    if repeats < 1:
        raise ConfigError(f"--count must be 1 or more; got {repeats}")
    tasks = {f"{size.replace(' ', '-')}-{index:02d}": (size, index) for index in range(repeats) for size in SIZES}
    spec = {"sizes": SIZES, "against": against is not None, "repeats": repeats}
    return UnitWork(spec=spec, tasks=tasks, measure=functools.partial(_measured, against))


def speed_summary(rows: Table) -> dict[str, Any]:
    """Medians by size and method; of each method's CPU seconds over those of the others on the same pair, too."""
    found: list[dict[str, Any]] = []
    for size in SIZES:
        some = rows[rows["size"] == size]
        seconds, memory = (
            some.pivot_table(index="repeat", columns="method", values=name) for name in ("seconds", "mb")
        )
        for method in (name for name in METHODS if name in seconds):
            ratio = None if method == "keep" else median((seconds["keep"] / seconds[method]).tolist())
            one = {"size": size, "method": METHODS[method], "seconds": float(seconds[method].median())}
            found.append(one | {"mb": float(memory[method].median()), "keep over it": ratio})
    return {"speed": found, "verdicts": rows[rows["found"] != ""]["found"].value_counts().to_dict()}


def median(values: Sequence[float]) -> dict[str, float]:
    """Median and interval of at least 95 % between two values, for any distribution; nan for fewer than six."""
    ordered, count = sorted(values), len(values)
    out = int(binom.ppf(0.025, count, 0.5))  # so many values at each end are beyond the interval
    known = out > 0
    ends = (ordered[out - 1], ordered[count - out]) if known else (math.nan, math.nan)
    return {"value": float(np.median(ordered)), "low": ends[0], "high": ends[1]}


def _measured(against: Path | None, task: tuple[str, int]) -> UnitResult:
    size, index = task
    names = [name for name in METHODS if name != "against" or against is not None]
    turn = index % len(names)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        original, edited, output = (Path(folder) / name for name in ("original.jpg", "edited.png", "output.png"))
        _write_pair(size, index, original, edited)
        for name in [*names[turn:], *names[:turn]]:
            row = _timed(name, [original, edited, output], against)
            rows.append({"size": size, "repeat": index, "image": Path(_name(index)).stem, "method": name, **row})
    return UnitResult(rows=rows)


def _name(index: int) -> str:
    return NAMES[index % len(NAMES)]


def _write_pair(size: str, index: int, original: Path, edited: Path) -> None:
    width, height, side = SIZES[size]
    generator = np.random.default_rng([_SEED, index])
    photograph = covering(load_photograph(_name(index)), (height, width), generator)
    Image.fromarray(as_pixels(photograph)).save(original, quality=92)
    truth = changed("paste", photograph, load_photograph(_name(index + 1)), _SHARE, generator)
    to = side, round(side * height / width)
    moved = np.array([[_ZOOM, 0, _SHIFT[0] * side], [0, _ZOOM, _SHIFT[1] * side], [0, 0, 1]])
    damage = Damage(
        matrix=moved @ scaling((width, height), to), size=to, gamma=_GAMMA, gain=_GAIN, contrast=1.02, saturation=0.97,
        codec="jpeg", amount=0.2, seed=index,
    )  # fmt: skip
    Image.fromarray(damage.apply(truth)).save(edited)


def _timed(method: str, files: Sequence[Path], against: Path | None) -> dict[str, Any]:
    """Verdict, CPU seconds and MB of one run."""
    folders = [str(against)] * (method == "against") + sys.path
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = os.environ | threads | {"PYTHONPATH": os.pathsep.join(filter(None, folders))}
    name = "keep" if method == "against" else method
    words = [sys.executable, "-m", baselines.__name__, name, *map(str, files)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{method} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])
