"""Pairs that real editors made: verdicts, how much of the original stays, and sheets that are graded blind.

Nothing is known of what truly changed, so people grade the results. A sheet shows those of all methods without their
names, each pair in an order of its own; the grades are A (ship it), B (small flaw), C (visible flaw) and F (wrong).
"""

import csv
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy.stats import binomtest

from latentedit.core.errors import ConfigError
from latentedit_bench.known_pairs.baselines import (
    above_threshold,
    aligned_by_features,
    merged_by_node,
    pasted,
    resized,
)
from latentedit_bench.known_pairs.sheet import stacked
from latentedit_keep.api import keep
from latentedit_keep.files import write_text
from latentedit_keep.pictures import read_image, save_image

OURS = "keep"
GRADES = "ABCF"

_THRESHOLD = 25
"""Levels of 255 of the two plain baselines: the best of three on these pairs."""

_CELL_PX = 420
_ROWS = 4


def read_pairs(folder: Path) -> list[dict[str, Any]]:
    """What ``pairs.json`` says of each pair: its number ``n`` and its kind.

    Raises:
        ConfigError: there is no such file.
    """
    place = folder / "pairs.json"
    if not place.is_file():
        raise ConfigError(f"there is no {place}. Name a folder with pairs.json and a folder for each pair")
    return json.loads(place.read_text(encoding="utf-8"))


def measured_pair(folder: Path, pair: dict[str, Any], output: Path, node: Path | None) -> dict[str, Any]:
    """The row of one pair; the results of all methods are written below the output.

    Args:
        node: module of the ComfyUI node that is measured beside it.
    """
    places = [folder / f"{pair['n']:03d}" / f"{name}.webp" for name in ("original", "edited")]
    original, edited = (np.asarray(read_image(place).convert("RGB")) for place in places)
    moving = resized(edited, (original.shape[1], original.shape[0]))
    aligned = aligned_by_features(original, edited)
    started = time.process_time()
    found = keep(*places)
    seconds = time.process_time() - started
    results = {
        OURS: np.asarray(found.image.convert("RGB")),
        "threshold": pasted(original, moving, above_threshold(original, moving, _THRESHOLD)),
        "sift": pasted(original, aligned, above_threshold(original, aligned, _THRESHOLD)),
    }
    if node is not None:
        results["diff-merge"] = merged_by_node(node, original, moving)
    for name, pixels in results.items():
        (output / name).mkdir(parents=True, exist_ok=True)
        save_image(Image.fromarray(pixels), output / name / f"{pair['n']:03d}.png")
    stays = {name: float((pixels == original).all(axis=2).mean()) for name, pixels in results.items()}
    expected = found.verdict.startswith("kept" if pair["kind"] == "local" else str(pair["kind"]))
    row = {"n": pair["n"], "kind": pair["kind"], "verdict": found.verdict, "expected": expected, "seconds": seconds}
    return row | stays


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Verdicts as expected, by kind, the share of the original that stays on local edits, and the time."""
    kinds = sorted({row["kind"] for row in rows})
    local = [row for row in rows if row["kind"] == "local"]
    methods = [name for name in rows[0] if name not in ("n", "kind", "verdict", "expected", "seconds")]
    return {
        "pairs": len(rows),
        "expected": {kind: sum(row["expected"] for row in rows if row["kind"] == kind) for kind in kinds},
        "of": Counter(row["kind"] for row in rows),
        "stays": {name: float(np.median([row[name] for row in local])) for name in methods},
        "seconds": float(np.median([row["seconds"] for row in rows])),
    }


def draw_blind(folder: Path, pairs: Sequence[dict[str, Any]], output: Path, *, seed: int = 0) -> list[Path]:
    """Sheets of original, editor's picture and the results in an order that ``key.json`` has; one a cell.

    Returns:
        The sheets' files.
    """
    methods = sorted(place.name for place in output.iterdir() if place.is_dir())
    generator = np.random.default_rng(seed)
    key = {str(pair["n"]): [str(name) for name in generator.permutation(methods)] for pair in pairs}
    made: list[Path] = []
    for start in range(0, len(pairs), _ROWS):
        strips = [_strip(folder, pair["n"], output, key[str(pair["n"])]) for pair in pairs[start : start + _ROWS]]
        made.append(output / f"sheet{start // _ROWS:02d}.png")
        save_image(stacked(strips), made[-1])
    write_text(output / "key.json", json.dumps(key))
    return made


def _strip(folder: Path, n: int, output: Path, methods: Sequence[str]) -> Image.Image:
    named = [("original", folder / f"{n:03d}/original.webp"), ("edited", folder / f"{n:03d}/edited.webp")]
    named += [("1234"[at], output / name / f"{n:03d}.png") for at, name in enumerate(methods)]
    cells: list[Image.Image] = []
    for label, place in named:
        image = read_image(place).convert("RGB")
        image.thumbnail((_CELL_PX, _CELL_PX), Image.Resampling.LANCZOS)
        cell = Image.new("RGB", (_CELL_PX + 4, image.height + 16), "white")
        cell.paste(image, (0, 14))
        ImageDraw.Draw(cell).text((2, 1), f"{n} {label}", fill="black")
        cells.append(cell)
    strip = Image.new("RGB", (sum(one.width for one in cells), max(one.height for one in cells)), "white")
    for at, cell in enumerate(cells):
        strip.paste(cell, (at * cell.width, 0))
    return strip


def graded(rows: Sequence[dict[str, Any]], output: Path, grades: Path) -> dict[str, Any]:
    """What blind grades say of each method on local edits, and how often ours is better than each other one.

    Args:
        grades: a table with the columns ``n``, ``1``, ``2``, ``3``, ``4``: a grade of each cell.
    """
    key = json.loads((output / "key.json").read_text(encoding="utf-8"))
    local = {row["n"] for row in rows if row["kind"] == "local"}
    found: dict[int, dict[str, str]] = {}
    with grades.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if int(line["n"]) in local:
                found[int(line["n"])] = {name: line["1234"[at]].strip() for at, name in enumerate(key[line["n"]])}
    told: dict[str, Any] = {}
    for name in sorted(next(iter(found.values()))):
        counts = Counter(one[name] for one in found.values())
        told[name] = {grade: counts[grade] for grade in GRADES}
        if name != OURS:
            ranks = [GRADES.index(one[name]) - GRADES.index(one[OURS]) for one in found.values()]
            better, worse = sum(rank > 0 for rank in ranks), sum(rank < 0 for rank in ranks)
            p = float(binomtest(better, better + worse, alternative="greater").pvalue) if better + worse else 1.0
            told[name] |= {"keep better": better, "keep worse": worse, "sign test p": p}
    return told
