"""The remainder of an image that is saved and opened again up to 30 times, by format, and with `keep` after each round.

    python -m pip install pillow-heif pillow-jxl-plugin
    python research/benchmarks/saved_rounds.py --output research/results/keep/formats.json

Nothing is edited. Thirteen images: five photographs of the test half at 256 px, four cuts of 256 px from screenshots,
four flat drawings. The formats "of `keep`" are written as `latentedit keep` writes them, the others by Pillow. Measured
against the image: PSNR, drift (the mean of result minus image in each channel, in levels), and whether a round returns
what it was given. For `keep`, each round saves and opens the last result; it gets both. Intervals are by the bootstrap
over images, those of shares exact.

Written before the first run: a format suits files between edits if 30 rounds cost less than .1 dB and no channel of any
image drifts by more than .1 levels. `keep` suffices for a format if 10 rounds with it return each of the images, bit
for bit. Control: without `keep`, no lossy format does.
"""

import argparse
import dataclasses
import functools
import importlib.metadata
import json
import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401 (it registers itself)
from PIL import Image

from latentedit import keep
from latentedit.core import write_text
from latentedit.photo import save_image
from latentedit_bench.known_pairs.cases import load_photograph, scaled
from latentedit_bench.known_pairs.check_rates import rate
from latentedit_bench.known_pairs.damages import Pixels
from latentedit_bench.known_pairs.measured import psnr
from latentedit_bench.metrics.statistics import estimate

pillow_heif.register_heif_opener()
ROUNDS, KEPT = 30, 10
_SIDE_PX = 256
_DRAWN = Path(__file__).parents[2] / "docs" / "images"
PHOTOGRAPHS = (
    "skimage/data/astronaut.png", "skimage/data/coffee.png", "skimage/data/rocket.jpg",
    "matplotlib/mpl-data/sample_data/grace_hopper.jpg", "sklearn/datasets/images/flower.jpg",
)  # fmt: skip
CUTS = (  # kind, file, left and top of the cut in pixels
    ("screenshot", "page.png", 40, 120), ("screenshot", "page.png", 380, 640),
    ("screenshot", "check/page.webp", 430, 600), ("screenshot", "comfyui/graph.webp", 200, 80),
    ("drawing", "me.png", 0, 0), ("drawing", "portraits/ben.png", 0, 0), ("drawing", "rounds.webp", 60, 20),
    ("drawing", "results/claims/geometry-frequency.webp", 40, 40),
)  # fmt: skip
_SAMPLINGS = ("4:2:0", "4:4:4")
FORMATS: dict[str, tuple[str, dict[str, Any] | None]] = {  # ending, and options of Pillow; None: as `keep` writes it
    **{f"JPEG {q}, {one}": (".jpg", {"quality": q, "subsampling": one}) for q in (75, 85, 95) for one in _SAMPLINGS},
    **{f"WebP {q}": (".webp", {"quality": q}) for q in (80, 95)},
    **{f"AVIF 90, {one}": (".avif", {"quality": 90, "subsampling": one}) for one in _SAMPLINGS},
    **{f"HEIC 90, {one}": (".heic", {"quality": 90, "chroma": int(one.replace(":", ""))}) for one in _SAMPLINGS},
    "JPEG XL 90": (".jxl", {"quality": 90}),
    "GIF": (".gif", {}),
    **{f"{one} of `keep`": (f".{one.lower()}", None) for one in ("JPEG", "AVIF", "WebP", "JXL", "TIFF", "BMP", "PNG")},
}


def main() -> None:
    """Measure all, and write rows and means."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path, required=True)
    path = options.parse_args().output
    rows = json.loads(path.read_text())["rows"] if path.exists() else []  # a stopped run continues
    done = {(row["format"], row["image"]) for row in rows}
    warnings.simplefilter("ignore")
    grain = np.random.default_rng(0)  # not used, as none is enlarged
    images = {("photograph", one): scaled(load_photograph(one), _SIDE_PX, grain) for one in PHOTOGRAPHS}
    for kind, file, left, top in CUTS:
        with Image.open(_DRAWN / file) as whole:
            pixels = np.asarray(whole.convert("RGB"))[top : top + _SIDE_PX, left : left + _SIDE_PX]
        images[kind, f"{file} {left} {top}"] = np.ascontiguousarray(pixels)
    for (kind, name), image in images.items():
        for codec, (ending, settings) in FORMATS.items():
            if (codec, name) not in done:
                through = functools.partial(saved, ending=ending, settings=settings)
                rows.append({"format": codec, "kind": kind, "image": name, **measured(image, through)})
        write(path, rows)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """The rows so far, and their means over images."""
    libraries = ("pillow", "pillow-heif", "pillow-jxl-plugin", "opencv-python-headless")
    report = {
        "command": f"python research/benchmarks/saved_rounds.py --output {path}",
        "versions": {name: importlib.metadata.version(name) for name in libraries},
        "formats": [{"format": one, **summary([row for row in rows if row["format"] == one])} for one in FORMATS],
        "rows": rows,
    }
    write_text(path, re.sub(r"\n +(?=[-\d\]])", "", json.dumps(report, indent=1)) + "\n")  # a list is one line


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the images of a format with their intervals, and how many come back identical."""
    db, drift, same = (np.array([row[key] for row in rows]) for key in ("db", "drift", "keep identical"))
    means = (estimate(db[:, at - 1].tolist(), [(row["image"],) for row in rows]) for at in (1, 10, ROUNDS))
    return {
        "db by round": db.mean(axis=0).round(2).tolist(),
        **{f"db {at}": dataclasses.asdict(mean) for at, mean in zip((1, 10, ROUNDS), means, strict=True)},
        **{f"drift {name}": float(one) for name, one in zip("RGB", drift.mean(axis=0), strict=True)},
        "settled": sum(row["settles"] is not None for row in rows),
        "lost with keep": rate(~same),
        "keep least db": min(row["keep db"] for row in rows),
        "suits": bool(np.abs(drift).max() <= 0.1 and (99 - db).max() < 0.1),
    }


def measured(image: Pixels, through: Callable[[Pixels], Pixels]) -> dict[str, Any]:
    """All rounds of one image."""
    everywhere = np.ones(image.shape[:2], dtype=bool)
    last, db, settles = image, list[float | None](), None
    for number in range(1, ROUNDS + 1):
        before, last = last, through(last) if settles is None else last
        settles = number if settles is None and np.array_equal(before, last) else settles
        db.append(round(psnr(last, image, everywhere), 2))
    kept, found = image, list[str]()
    while len(found) < KEPT and not (found and np.array_equal(kept, image)):  # once identical, all others are too
        result = keep(Image.fromarray(kept), Image.fromarray(through(kept)))
        kept = np.asarray(result.image.convert("RGB"))
        found.append(result.found)
    return {
        "db": db,
        "settles": settles,
        "drift": (last.astype(float) - image).mean(axis=(0, 1)).round(4).tolist(),
        "keep db": round(psnr(kept, image, everywhere), 2),
        "keep identical": bool(np.array_equal(kept, image)),
        "keep found": found,
    }


def saved(pixels: Pixels, ending: str, settings: dict[str, Any] | None) -> Pixels:
    """The pixels after saving and opening."""
    with tempfile.TemporaryDirectory() as folder:
        path, image = Path(folder, f"saved{ending}"), Image.fromarray(pixels)
        save_image(image, path) if settings is None else image.save(path, **settings)
        return np.asarray(Image.open(path).convert("RGB"))


if __name__ == "__main__":
    main()
