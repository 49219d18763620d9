"""Global directions by the feature of arXiv 2302.12469, found on 16 portraits and applied to 8 others.

Writes ``research/results/global-directions.json`` and a contact sheet per model: a row of eight portraits for each
direction, at minus and plus the length at which the clean latent changes by `TYPICAL_EFFECT`. Random vectors of the
feature, pulled back in the same way, are the control. About 15 minutes per model on two CPU cores:
``python research/benchmarks/global_directions.py``.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

import latentedit as le
from latentedit.core import write_text
from latentedit.geometry import (
    TRANSPORT_DAMPING,
    Walk,
    global_directions,
    meaning_of,
    settings_of,
    step_lengths,
    transported,
)
from latentedit_drawn.domain import PORTRAITS
from latentedit_portraits.reader import PortraitReader

ROOT = Path(__file__).resolve().parents[2]
RANK, LEVEL, SIDE = 7, 0.95, 64  # the rank that makes half of the energy, on most portraits
SETTINGS: dict[str, Any] = {**settings_of("2302.12469").basis, "rank": RANK, "energy": None, "level": LEVEL}


def main() -> None:
    """Measure both models; the criterion of a useful direction is the same attribute on six of the eight."""
    found: dict[str, Any] = {}
    for name in ("portraits", "portraits-unet"):
        model = le.load(name)
        draws = {seed: PORTRAITS.images(name, count, seed) or [] for count, seed in ((16, 60), (8, 61))}
        latents = {seed: [le.encode(model, one, source_prompt="") for one in drawn] for seed, drawn in draws.items()}
        bases = {seed: [le.local_basis(one, **SETTINGS) for one in some] for seed, some in latents.items()}
        shared = global_directions(bases[60], mean="hungarian")
        random = torch.randn(shared.u.shape, generator=torch.Generator().manual_seed(60), dtype=torch.float64)
        found[name] = {"captured": shared.captured.mean(0).tolist()}
        for kind, u in (("global", shared.u), ("random", random)):
            names, rows = zip(*(_applied(model, basis, u) for basis in bases[61]), strict=True)
            each = [_agreement([one[index] for one in names]) for index in range(RANK)]
            found[name][kind] = {"most": max(one["portraits"] for one in each), "directions": each}
            if kind == "global":
                sheet = _sheet([[row[index] for row in rows] for index in range(RANK)], each)
                sheet.save(ROOT / "docs" / "images" / "results" / f"global-directions-{name}.webp", quality=85)
    write_text(ROOT / "research" / "results" / "global-directions.json", json.dumps(found, indent=1) + "\n")


def _applied(model: le.Backbone, basis: le.LocalBasis, u: Tensor) -> tuple[list[str], list[Tensor]]:
    """The largest change of each direction at one portrait, and the portrait at minus, 0 and plus the direction."""
    v = transported(u.to(basis.u), basis.u, basis.singular_values, basis.v, damping=TRANSPORT_DAMPING).v.to(basis.v)
    walk = Walk(latent=basis.latent, trace=basis.trace)
    lengths = step_lengths(walk, v)
    both = walk.to(v, torch.stack([lengths, -lengths]), what="global directions")
    source = model.decode(basis.latent.z)
    edited = [model.decode(both[:, index]) for index in range(len(v))]
    names = [meaning_of(PortraitReader.bundled(), source[0], one, (1, -1)).attribute for one in edited]
    return names, [torch.cat([one[1:], source, one[:1]]) for one in edited]


def _agreement(attributes: list[str]) -> dict[str, Any]:
    """The attribute that changes most on most portraits, and on how many."""
    ((name, count),) = Counter(attributes).most_common(1)
    return {"attribute": name or "unnamed", "portraits": count}


def _sheet(rows: list[list[Tensor]], found: list[dict[str, Any]]) -> Image.Image:
    """Each direction's portraits, one a column: minus, the portrait itself, plus."""
    height = 3 * SIDE + 20
    sheet = Image.new("RGB", (8 * (SIDE + 4), RANK * height), "white")
    for index, row in enumerate(rows):
        label = f"direction {index + 1}: {found[index]['attribute']} on {found[index]['portraits']} of 8"
        ImageDraw.Draw(sheet).text((2, index * height + 3), label, fill="black")
        for column, images in enumerate(row):
            for place, pixels in enumerate(images):
                array = ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
                tile = Image.fromarray(array).resize((SIDE, SIDE))
                sheet.paste(tile, (column * (SIDE + 4), index * height + 16 + place * SIDE))
    return sheet


if __name__ == "__main__":
    with torch.no_grad():
        main()
