"""What is left of an image that is saved and opened again up to 30 times, by format, and with `keep` after each round.

    python -m pip install pillow-heif pillow-jxl-plugin
    python research/benchmarks/saved_rounds.py --output research/results/keep/formats.json

Nothing is edited. The photograph is the first of the test half at 256 px. Measured against it: PSNR, drift (the mean
of result minus image in each channel, in levels), CIEDE2000, the shift of the gray image (phase correlation), and the
first round that returns what it was given. For `keep`, each round saves and opens the last result; it gets both.

Written before the first run: a format suits files between edits if 30 rounds cost less than .1 dB and no channel of any
image drifts by more than .1 levels. `keep` suffices if 10 rounds with it lose nothing on any image.
"""

import argparse
import importlib.metadata
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401 (it registers itself)
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.registration import phase_cross_correlation

from latentedit_bench.known_pairs.cases import PHOTOGRAPHS, load_photograph, scaled
from latentedit_bench.known_pairs.damages import Pixels, as_pixels
from latentedit_bench.known_pairs.measured import psnr
from latentedit_keep.api import keep
from latentedit_keep.floor.files import write_text
from latentedit_keep.photo.warp import cv2

pillow_heif.register_heif_opener()
Round = Callable[[Pixels], Pixels]
ROUNDS, KEPT = 30, 10
_SIDE_PX = 256
_SAMPLINGS = ("4:2:0", "4:4:4")
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"JPEG {q}, {one}": ("JPEG", {"quality": q, "subsampling": one}) for q in (75, 85, 95) for one in _SAMPLINGS},
    "WebP 80": ("WEBP", {"quality": 80}),
    "WebP 95": ("WEBP", {"quality": 95}),
    **{f"AVIF 90, {one}": ("AVIF", {"quality": 90, "subsampling": one}) for one in _SAMPLINGS},
    **{f"HEIC 90, {one}": ("HEIF", {"quality": 90, "chroma": int(one.replace(":", ""))}) for one in _SAMPLINGS},
    "JPEG XL 90": ("JXL", {"quality": 90}),
    "GIF": ("GIF", {}),
    "WebP, lossless": ("WEBP", {"lossless": True}),
    "JPEG XL, lossless": ("JXL", {"lossless": True}),
    "PNG": ("PNG", {}),
}


def main() -> None:
    """Measure all, and write rows and means."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path, required=True)
    path = options.parse_args().output
    rows = json.loads(path.read_text())["rows"] if path.exists() else []  # a stopped run continues
    done = {(row["format"], row["image"]) for row in rows}
    warnings.simplefilter("ignore")
    generator = np.random.default_rng(85)
    photographs = {name: scaled(load_photograph(name), _SIDE_PX, generator) for name in PHOTOGRAPHS["test"][:1]}
    through = {kind: saved(*options) for kind, options in FORMATS.items()} | {"TIFF, 16 bits": deep}
    work = [(kind, codec, *one) for one in photographs.items() for kind, codec in through.items()]
    for kind, codec, name, image in work:
        if (kind, name) not in done:
            rows.append({"format": kind, "image": name, **measured(image, codec)})
        write(path, rows)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """The rows so far, and their means over images."""
    kinds = dict.fromkeys(row["format"] for row in rows)
    libraries = ("pillow", "pillow-heif", "pillow-jxl-plugin", "opencv-python-headless")
    report = {
        "command": f"python research/benchmarks/saved_rounds.py --output {path}",
        "versions": {name: importlib.metadata.version(name) for name in libraries},
        "formats": [{"format": kind, **summary([row for row in rows if row["format"] == kind])} for kind in kinds],
        "rows": rows,
    }
    write_text(path, json.dumps(report, indent=1) + "\n")


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the images of a format, or the worst of them."""
    db, drift = np.array([row["db"] for row in rows]), np.array([row["drift"] for row in rows])
    return {
        "images": len(rows),
        "db by round": db.mean(axis=0).round(2).tolist(),
        **{f"db {at}": float(db[:, at - 1].mean()) for at in (1, 10, ROUNDS)},
        **{f"drift {name}": float(one) for name, one in zip("RGB", drift.mean(axis=0), strict=True)},
        "delta e": float(np.mean([row["delta e"] for row in rows])),
        "shift px": max(row["shift px"] for row in rows),
        "settles": " to ".join(dict.fromkeys(str(row["settles"] or "–") for row in rows)),
        "keep db": float(np.mean([row["keep db"] for row in rows])),
        "suits": bool(np.abs(drift).max() <= 0.1 and (99 - db).max() < 0.1),
    }


def measured(image: Pixels, through: Round) -> dict[str, Any]:
    """All rounds of one image."""
    everywhere = np.ones(image.shape[:2], dtype=bool)
    last, db, settles = image, list[float | None](), None
    for number in range(1, ROUNDS + 1):
        before, last = last, through(last) if settles is None else last
        settles = number if settles is None and np.array_equal(before, last) else settles
        db.append(psnr(last, image, everywhere))
    colors = (rgb2lab(one) for one in (image, last))
    grays = (one.mean(axis=2) for one in (image, last))
    kept, found = image, list[str]()
    while len(found) < KEPT and not (found and np.array_equal(kept, image)):  # once identical, all others are too
        result = keep(Image.fromarray(kept), Image.fromarray(through(kept)))
        kept = np.asarray(result.image.convert("RGB"))
        found.append(result.found)
    return {
        "db": db,
        "settles": settles,
        "drift": (last.astype(float) - image).mean(axis=(0, 1)).tolist(),
        "delta e": float(deltaE_ciede2000(*colors).mean()),
        "shift px": float(np.abs(phase_cross_correlation(*grays, upsample_factor=100, normalization=None)[0]).max()),
        "keep db": psnr(kept, image, everywhere),
        "keep identical": bool(np.array_equal(kept, image)),
        "keep found": found,
    }


def saved(kind: str, options: dict[str, Any]) -> Round:
    """Saving and opening by Pillow."""

    def through(pixels: Pixels) -> Pixels:
        Image.fromarray(pixels).save(file := io.BytesIO(), kind, **options)
        return np.asarray(Image.open(file).convert("RGB"))

    return through


def deep(pixels: Pixels) -> Pixels:
    """A TIFF of 16 bits by OpenCV."""
    content = cv2.imencode(".tif", pixels.astype(np.uint16) * 257)[1]
    return as_pixels(cv2.imdecode(content, cv2.IMREAD_UNCHANGED) / np.float32(257))


if __name__ == "__main__":
    main()
