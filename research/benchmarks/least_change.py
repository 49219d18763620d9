"""How large a change must be so that `latentedit check` finds it where there is noise.

    python research/benchmarks/least_change.py --output research/results/keep/least.json

A square is painted on photographs of the calibration half, 60 levels away from the mean of what it covers, and the
image goes through JPEG or WebP. The square's side is a share of the root of the image's area.
"""

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latentedit import check
from latentedit.core import write_text
from latentedit_bench.known_pairs.cases import PHOTOGRAPHS, load_photograph

SIDES = (0.01, 0.015, 0.02, 0.025, 0.03, 0.04)
LEVELS = 60
WIDTHS = (512, 1024)
CODECS: tuple[tuple[str, dict[str, Any]], ...] = (("JPEG", {"quality": 88}), ("WEBP", {"quality": 80}))


def main() -> None:
    """Measure all, and write the share that was found by side."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path, required=True)
    options.add_argument("--draws", type=int, default=3, help="squares a photograph, width and side")
    chosen = options.parse_args()
    found: dict[float, list[bool]] = {share: [] for share in SIDES}
    for number, name in enumerate(PHOTOGRAPHS["calibration"]):
        for width in WIDTHS:
            image = Image.fromarray(load_photograph(name))
            image = image.resize((width, round(width * image.height / image.width)), Image.Resampling.LANCZOS)
            for share in SIDES:
                for draw in range(chosen.draws):
                    generator = np.random.default_rng([number, width, round(1000 * share), draw])
                    edited = through(painted(np.asarray(image), share, generator), *CODECS[draw % 2])
                    found[share].append(check(image, edited).report.found != "nothing")
    command = "python research/benchmarks/least_change.py" + "".join(f" {word}" for word in sys.argv[1:])
    rows = [{"side": share, "of": len(hits), "found": float(np.mean(hits))} for share, hits in found.items()]
    write_text(chosen.output, json.dumps({"command": command, "levels": LEVELS, "by side": rows}, indent=1) + "\n")


def painted(pixels: Any, share: float, generator: np.random.Generator) -> Any:
    """A copy with a square that is brighter or darker than the place it covers."""
    height, width = pixels.shape[:2]
    side = max(2, round(share * (height * width) ** 0.5))
    top, left = (int(generator.integers(length - side)) for length in (height, width))
    usual = pixels[top : top + side, left : left + side].reshape(-1, 3).mean(axis=0)
    result = pixels.copy()
    result[top : top + side, left : left + side] = usual + (LEVELS if usual.mean() < 128 else -LEVELS)
    return result


def through(pixels: Any, kind: str, options: dict[str, Any]) -> Image.Image:
    """The image as a codec returns it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return Image.open(file).convert("RGB")


if __name__ == "__main__":
    main()
