"""Which constants of `latentedit.pixels` no stored pair needs: each gets a value at which its rule does nothing.

A pair needs a constant if its verdict changes, or its mask by more than .2 % of the image; two pairs are enough. A run
that was stopped goes on: ``python -m tools.ablate PAIRS... -o out/ablate.csv``, where PAIRS are folders of folders,
each with one file named original and one named edited. The table of 24 pairs, a tenth of the stored ones, is
`research/results/keep/ablation.csv`. What none of these needs, others may, and so may made pairs, or colors, of which
masks say nothing.
"""

import argparse
import csv
import importlib
import random
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from latentedit.photo.images import PixelImage, read_pixels
from latentedit.pixels import analysis

NEVER = 1e9  # above everything
NEUTRAL: dict[str, dict[str, float]] = {
    "analysis": {"_STREAKS": 9},
    "change": {"_AGREES_STRUCTURE": 0.97},
    "detection": {
        "_BEYOND": 1, "_BLEEDS_FROM": 0, "_DOUBTS": 0, "_GAP": 0, "_HOLE_FLOOR": NEVER, "_LEAST_WEIGHT": 0,
        "_OUTWEIGHS": 0, "_RINGING": 0, "_SAME": 0, "_SEAM_USUAL": 0, "_STRUCTURE_PX": 0, "_SURE_PX": 1, "_TAIL": 0,
        "_UNSIGNED": 1, "_WEAK": 0,
    },
    "finding": {
        "_COUNTED_OF_MOST": NEVER, "_EVIDENT_OUTLINE": NEVER, "_EVIDENT_SHARE": 0, "_MIXED": 1, "_MIXED_LEVELS": 0,
        "_RESTORED_BLUR": NEVER,
    },
    "layouts": {"_LAYOUT_AGREEING": 0.5, "_SHIFT_CELLS": 0},
    "rest": {"_RESTORED_DETAIL": 0},
    "seams": {"_LEAST_PX": 0, "_LEFT": NEVER, "_OFTEN": 0},
    "tones": {
        "_CELL_LEVELS": 0, "_CLEARLY": 0.7, "_CUT_OFF": 9, "_FLAT_LEVELS": 3, "_HELD_SAMPLES": 20, "_KNOWN_CELLS": 0,
        "_NEARLY_ALL": 1, "_SAME_LUMA": 12, "_SATURATION": 1e-3, "_SEEN": 1, "_SMOOTH_PX": 1, "_UNKNOWN_CELLS": 8,
    },
    "verdict": {"_UNKNOWN": 0},
}  # fmt: skip
ENOUGH = 2  # pairs that need a constant
MOST = 0.002  # mean difference of two masks, as a share of the image
SEED = 7
HEADER = ["module", "constant", "value", "neutral", "pairs", "changed", "most"]
State = tuple[str, bool, np.ndarray[Any, Any] | None]


def state(pair: tuple[PixelImage, PixelImage]) -> State:
    """Verdicts on content and colors, and the opacity of the change at the size it was found at."""
    found = analysis.analyze(*pair)
    mask = None if found.change is None or not found.is_local else found.change.opacity
    return found.found, found.recolored, mask


def effect(before: State, after: State) -> float:
    """Share of the image by which the masks differ; 1 for another verdict."""
    if before[:2] != after[:2] or (before[2] is None) != (after[2] is None):
        return 1.0
    if before[2] is None or after[2] is None:
        return 0.0
    return 1.0 if before[2].shape != after[2].shape else float(np.abs(before[2] - after[2]).mean())


def needed(
    module: ModuleType, name: str, neutral: float, pairs: dict[str, Any], usual: dict[str, State]
) -> tuple[int, int, float]:
    """How many pairs were tried, how many need a constant, and the largest effect."""
    value, effects = getattr(module, name), list[float]()
    for key, pair in pairs.items():
        setattr(module, name, neutral)
        try:
            effects.append(effect(usual[key], state(pair)))
        finally:
            setattr(module, name, value)
        if sum(one > MOST for one in effects) == ENOUGH:
            break
    return len(effects), sum(one > MOST for one in effects), max(effects)


def main() -> None:
    """Write the table, the pairs in a random order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--most", type=int, default=24, help="pairs")
    parser.add_argument("--largest", type=int, default=1_200_000, help="pixels of the original")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    register, known = analysis.register, dict[tuple[int, int], Any]()

    def remembered(original: Any, edited: Any, *rest: Any) -> Any:
        key = hash(original.tobytes()), hash(edited.tobytes())
        if key not in known:
            known[key] = register(original, edited, *rest)
        return known[key]

    # The module passes every argument by position.
    analysis.register = remembered  # pyrefly: ignore[bad-assignment]
    folders = sorted(one for root in options.pairs for one in root.iterdir() if one.is_dir())
    random.Random(SEED).shuffle(folders)
    pairs = dict[str, tuple[PixelImage, PixelImage]]()
    for folder in folders:
        files = [next((one for one in folder.iterdir() if one.stem == role), None) for role in ("original", "edited")]
        if None in files or len(pairs) == options.most:
            continue
        first, second = (read_pixels(one) for one in files if one is not None)
        if first.size[0] * first.size[1] <= options.largest:
            pairs[folder.name] = first, second
    usual = {key: state(pair) for key, pair in pairs.items()}
    done = set[tuple[str, str]]()
    if options.output.exists():
        with options.output.open() as file:
            done = {(row["module"], row["constant"]) for row in csv.DictReader(file)}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.open("a", newline="") as file:
        writer = csv.writer(file)
        if not done:
            writer.writerow(HEADER)
        for module, of_module in NEUTRAL.items():
            found = importlib.import_module(f"latentedit.pixels.{module}")
            for name, neutral in of_module.items():
                if (module, name) not in done:
                    row = [module, name, getattr(found, name), neutral]
                    writer.writerow([*row, *needed(found, name, neutral, pairs, usual)])
                    file.flush()


if __name__ == "__main__":
    main()
