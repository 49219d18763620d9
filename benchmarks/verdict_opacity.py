"""The opacity in the verdict against the truth: right answers as cross-fades of known strengths.

    python benchmarks/verdict_opacity.py --output out/opacity.json
    python benchmarks/verdict_opacity.py --items 96 --device cuda --output out/opacity.json

For each model and strength: mean and spread of the verdict's share and opacity, and how many images count as done.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import latentedit as le
from latentedit.editors.judge import Judge
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.prepared import prepare
from latentedit_keep.base.files import write_text

STRENGTHS = (0.3, 0.6, 0.8, 1.0)


@torch.no_grad()
def main() -> None:
    """Measure every model, and write the numbers."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path, required=True)
    options.add_argument("--items", type=int, default=24)
    options.add_argument("--skip", type=int, default=72)
    options.add_argument("--split", choices=["calibration", "test"], default="calibration")
    options.add_argument("--models", nargs="+", default=["portraits", "scenes"])
    options.add_argument("--device", default="cpu")
    options.add_argument("--batch", type=int, default=12)
    chosen = options.parse_args()
    found: dict[str, Any] = {"command": " ".join(["python", "benchmarks/verdict_opacity.py", *sys.argv[1:]])}
    for name in chosen.models:
        model = le.load(name, device=chosen.device)
        data = counterfactual(name, chosen.split, captions="completed").items[chosen.skip :]
        items = [item for item in data if item.about["requested"]][: chosen.items]
        judge = dataclasses.replace(
            Judge.of(model), damage=1000.0
        )  # a cross-fade of a large change may count as damage
        rows: dict[float, list[tuple[float, float, bool]]] = {strength: [] for strength in STRENGTHS}
        for start in range(0, len(items), chosen.batch):
            batch = prepare(model, items[start : start + chosen.batch])
            latent = batch.latent
            assert batch.answer_pixels is not None
            answer = model.encode(batch.answer_pixels.to(model.device, model.dtype))
            before = judge.losses_at(model, latent.z, (latent.condition, batch.target), seed=0)
            for strength in STRENGTHS:
                z = latent.z + strength * (answer - latent.z)
                for one in judge.judge(latent, batch.target, z, strength=1.0, seed=0, before=before):
                    if one.share is not None:
                        rows[strength].append((one.share, one.opacity or 0.0, one.word == "done"))
        found[name] = [summary(strength, values) for strength, values in rows.items()]
        write_text(chosen.output, json.dumps(found, indent=1) + "\n")


def summary(strength: float, values: list[tuple[float, float, bool]]) -> dict[str, Any]:
    """Means, spread and the share that counts as done."""
    shares, opacities, done = (np.array(column, dtype=float) for column in zip(*values, strict=True))
    numbers = {
        "share": shares.mean(),
        "opacity": opacities.mean(),
        "spread": opacities.std(),
        "lowest": opacities.min(),
    }
    numbers |= {"done": done.mean(), "done by the share alone": (shares >= 0.75).mean()}
    return {"strength": strength, "images": len(values)} | {name: round(float(one), 3) for name, one in numbers.items()}


if __name__ == "__main__":
    main()
