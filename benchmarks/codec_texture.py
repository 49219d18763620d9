"""Recolored photographs through a model's codec: whether the texture inside the change stays what it should be.

    python benchmarks/codec_texture.py --output out/texture.json
    python benchmarks/codec_texture.py --split test --device cuda --output out/texture-test.json

A disk of each photograph gets another color with its own light and shade, at full or at 60 % brightness; the edit is
the right answer through the codec. "texture" is the gradient energy inside the disk, relative to that of the right
answer, with none, half and all of what the codec lost dropped; 1 is best, .95 to 1.05 passes.
"""

import argparse
import colorsys
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import latentedit as le
from latentedit.directions.identification import composed_change
from latentedit_bench.known_pairs.cases import PHOTOGRAPHS, load_photograph
from latentedit_keep.base.files import write_text

DROPPED = (0.0, 0.5, 1.0)


@torch.no_grad()
def main() -> None:
    """Measure every model, and write means and ranges."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path, required=True)
    options.add_argument("--split", choices=list(PHOTOGRAPHS), default="calibration")
    options.add_argument("--models", nargs="+", default=["portraits", "scenes"])
    options.add_argument("--device", default="cpu")
    chosen = options.parse_args()
    command = " ".join(["python", "benchmarks/codec_texture.py", *sys.argv[1:]])
    found: dict[str, Any] = {"command": command}
    for name in chosen.models:
        model = le.load(name, device=chosen.device)
        pairs = [
            recolored(photo, crop, model.capabilities.sizes[1])
            for photo in PHOTOGRAPHS[chosen.split]
            for crop in (0, 1)
        ]
        rows: dict[float, list[tuple[float, float]]] = {dropped: [] for dropped in DROPPED}
        for before, after, inside in pairs:
            source, truth = (image.to(model.device) for image in (before, after))
            decoded, wanted = (model.decode(model.encode(image)) for image in (source, truth))
            for dropped in DROPPED:
                made = source + composed_change(wanted - decoded, source, decoded, dropped, local=True)
                texture = float(energy(made, inside) / energy(truth, inside))
                rows[dropped].append((texture, float((made - truth).square().mean())))
        found[name] = [
            {"dropped": dropped, "images": len(values), "texture": float(np.mean([texture for texture, _ in values]))}
            | {
                "lowest": min(values)[0],
                "highest": max(values)[0],
                "squared error": float(np.mean([e for _, e in values])),
            }
            for dropped, values in rows.items()
        ]
        write_text(chosen.output, json.dumps(found, indent=1) + "\n")


def recolored(photo: str, crop: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """A crop of a photograph, the same with a disk of another color, and where the disk is."""
    image = Image.fromarray(load_photograph(photo)).convert("RGB")
    generator = np.random.default_rng([sum(photo.encode()), crop])
    length = min(image.size) * 3 // 4
    left, top = (int(generator.integers(most - length + 1)) for most in image.size)
    box = (left, top, left + length, top + length)
    pixels = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS, box=box), dtype=np.float64) / 255
    y, x = np.mgrid[:side, :side] / side - 0.5
    disk = 1 / (1 + np.exp((np.hypot(y, x) - 0.28) / 0.01))
    color = np.array(colorsys.hsv_to_rgb(generator.random(), 0.8, 1.0))
    painted = np.clip(pixels.mean(2, keepdims=True) * color / color.mean() * (0.6 if crop else 1.0), 0, 1)
    after = pixels + disk[..., None] * (painted - pixels)
    both = (torch.from_numpy(2 * one - 1).permute(2, 0, 1)[None].float() for one in (pixels, after))
    return (*both, torch.from_numpy(disk > 0.9))


def energy(image: Tensor, inside: Tensor) -> Tensor:
    """The squared differences between neighbors inside a disk."""
    down, right = image[..., 1:, :-1] - image[..., :-1, :-1], image[..., :-1, 1:] - image[..., :-1, :-1]
    return ((down.square() + right.square()) * inside[:-1, :-1].to(image.device)).sum()


if __name__ == "__main__":
    main()
