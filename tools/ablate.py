"""Which constants of `latentedit_keep.pixels` no stored pair needs: each is made 8 times as large, and as small.

A constant is needed by the first pair whose verdict changes, or whose mask does by more than .2 % of the image. A
run that was stopped goes on: ``python -m tools.ablate PAIRS... -o out/ablate.csv``, where PAIRS are folders of folders,
each with one file named original and one named edited.
"""

import argparse
import ast
import csv
import importlib
import random
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from latentedit_keep.photo.images import PixelImage, read_pixels
from latentedit_keep.pixels import analysis

MODULES = (
    "detection",
    "finding",
    "rest",
    "seams",
    "tones",
    "verdict",
    "change",
    "light",
    "layouts",
    "exact",
    "analysis",
)
FACTORS = (8, 1 / 8)
MOST = 0.002  # mean difference of two masks, as a share of the image
SEED = 7
HEADER = ["module", "constant", "value", "needed_by", "factor", "effect"]
State = tuple[str, bool, np.ndarray[Any, Any] | None]


def constants(module: str) -> Iterator[tuple[str, Any]]:
    """Names and numbers at the top level of a module."""
    found = importlib.import_module(f"latentedit_keep.pixels.{module}")
    for node in ast.parse(Path(str(found.__file__)).read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = getattr(found, node.targets[0].id)
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield node.targets[0].id, value


def state(pair: tuple[PixelImage, PixelImage]) -> State:
    """Verdicts on content and colors, and the opacity of the change at the size it was found at."""
    found = analysis.analyze(*pair)
    mask = None if found.change is None or not found.is_local else found.change.opacity
    return found.found, found.recolored, mask


def effect(before: State, after: State) -> str:
    """A word on the difference; empty if there is none."""
    if before[:2] != after[:2]:
        return f"{before[0]} became {after[0]}"
    if before[2] is None or after[2] is None:
        return ""
    apart = 1.0 if before[2].shape != after[2].shape else float(np.abs(before[2] - after[2]).mean())
    return f"{100 * apart:.2f} %" if apart > MOST else ""


def needed(name: str, value: Any, pairs: dict[str, Any], usual: dict[str, State]) -> tuple[str, str, str]:
    """The first pair that needs a constant, the factor, and what happened."""
    of_pixels = [found for key, found in sys.modules.items() if key.startswith("latentedit_keep.pixels.")]
    places = [found for found in of_pixels if getattr(found, name, None) == value]
    for key, pair in pairs.items():
        for factor in FACTORS:
            other = type(value)(value * factor) if value else factor
            for place in places:
                setattr(place, name, other)
            try:
                what = effect(usual[key], state(pair))
            except Exception as error:  # noqa: BLE001
                what = type(error).__name__
            finally:
                for place in places:
                    setattr(place, name, value)
            if what:
                return key, f"{factor:g}", what
    return "", "", ""


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

    analysis.register = remembered
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
        for module in MODULES:
            for name, value in constants(module):
                if (module, name) not in done:
                    row = [module, name, value, *needed(name, value, pairs, usual)]
                    writer.writerow(row)
                    file.flush()


if __name__ == "__main__":
    main()
