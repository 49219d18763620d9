"""*Match frame and color* of the pack for ComfyUI against *Transfer Color*, which ComfyUI has of its own.

    COMFYUI=folder python benchmarks/transfer_color.py --output results/keep/transfer-color.json

Pairs: the first 20 local changes of the calibration half of the known pairs, whose truth is the original after the
edit and nothing else. Transfer Color gets the edited image as its target and the original as its reference, with each
of its methods, in the frame that *Match* with `color` off found, since it aligns nothing; and, as people have it, on
the edited image that was only resized. Measure: mean absolute difference from the truth in levels of 255, where the
edited image shows anything; of the whole image, and inside and outside the change.

Criterion, set before the run: over the whole image, *Match* differs from the truth by less than each method of
Transfer Color in the same frame, the 95 % bootstrap interval of the paired difference being below 0. Control: *Match*
with `color` off, which shows how much of the color cast there was to undo.

ComfyUI 0.33 or later and kornia 0.8 are needed, in a Python that also has latentedit and the benchmark.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentedit_bench.known_pairs.cases import Case, make_case
from latentedit_keep.base.files import write_text
from tests.comfyui import pack
from tests.comfyui.networks import load_comfy

METHODS = ("reinhard_lab", "mkl_lab", "histogram")
COMMAND = "COMFYUI=folder python benchmarks/transfer_color.py --output results/keep/transfer-color.json"


def main() -> None:
    """Measure all pairs, and write means and paired differences."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path, required=True)
    chosen = options.parse_args()
    sys.path.insert(0, os.environ["COMFYUI"])
    load_comfy()
    import comfyui_version  # noqa: PLC0415
    import kornia  # noqa: PLC0415
    from comfy_extras.nodes_post_processing import ColorTransfer  # noqa: PLC0415

    def transferred(image: Tensor, original: Tensor, method: str) -> Tensor:
        return ColorTransfer.execute(image, original, method, {"source_stats": "per_frame"}).result[0]

    rows, index = list[dict[str, Any]](), -1
    while len(rows) < 20:
        index += 1
        case = make_case("calibration", index)
        if case.kind != "local":
            continue
        rows.append({"case": index, "image": case.image, "what": case.what, **measured(case, transferred)})
        print(json.dumps(rows[-1]), flush=True)
    names = [name for name in rows[0] if name not in ("case", "image", "what")]
    found = {name: interval([row[name]["all"] for row in rows]) for name in names}
    parts = {name: {part: mean(row[name][part] for row in rows) for part in ("inside", "outside")} for name in names}
    less = {
        method: interval([row["match"]["all"] - row[f"match, then {method}"]["all"] for row in rows])
        for method in METHODS
    }
    versions = {"ComfyUI": comfyui_version.__version__, "kornia": kornia.__version__, "torch": torch.__version__}
    values = {
        "command": COMMAND, "versions": versions, "pairs": len(rows), "whole image": found, "parts": parts,
        "match less transfer in the same frame": less,
        "passed": all(one["high"] < 0 for one in less.values()), "rows": rows,
    }  # fmt: skip
    write_text(chosen.output, json.dumps(values, indent=1) + "\n")


def measured(case: Case, transferred: Any) -> dict[str, dict[str, float]]:
    """Differences from the truth, in levels."""
    images = pack("images")
    original, edited = (torch.from_numpy(one.astype(np.float32) / 255)[None] for one in (case.original, case.edited))
    framed, colored = (images.match_frame_and_color(edited, original, color) for color in (False, True))
    size = case.original.shape[:2]
    resized = torch.nn.functional.interpolate(edited.movedim(-1, 1), size, mode="bicubic", antialias=True)
    resized = resized.movedim(1, -1).clamp(0, 1)
    made = {"resized": resized, "match, color off": framed.image, "match": colored.image}
    for method in METHODS:
        made[f"resized, then {method}"] = transferred(resized, original, method)
        made[f"match, then {method}"] = transferred(framed.image, original, method)
    shown, inside = framed.change[0].numpy() > 0, case.mask > 0.5
    areas = {"all": shown, "inside": shown & inside, "outside": shown & ~inside}
    found = dict[str, dict[str, float]]()
    for name, image in made.items():
        off = np.abs(255 * image[0, ..., :3].numpy() - case.truth.astype(np.float32)).mean(axis=-1)
        found[name] = {part: round(float(off[area].mean()), 4) for part, area in areas.items()}
    return found


def mean(values: Any) -> float:
    """Rounded."""
    return round(float(np.mean(list(values))), 4)


def interval(values: list[float]) -> dict[str, float]:
    """Mean with its 95 % bootstrap interval over pairs."""
    drawn = np.random.default_rng(0).choice(values, (10000, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"mean": mean(values), "low": round(float(low), 4), "high": round(float(high), 4)}


if __name__ == "__main__":
    main()
