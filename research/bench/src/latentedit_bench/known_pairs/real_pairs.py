"""Pairs from real editors: verdicts by the kind of edit, and the share of the original that stays."""

import contextlib
import functools
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from latentedit import keep
from latentedit.batch import UnitResult
from latentedit.core import ConfigError
from latentedit.photo import read_image, resized
from latentedit_bench.known_pairs.baselines import THRESHOLD, baseline
from latentedit_bench.known_pairs.damages import Pixels, as_pixels
from latentedit_bench.known_pairs.measured import contradictions, is_expected
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.run import encoded
from latentedit_bench.work import UnitWork

_METHODS = ("keep", "threshold", "sift", "diff-merge")


def real_work(folder: Path, node: Path | None) -> UnitWork:
    """The pairs of a folder as units of work; ``pairs.json`` has each pair's number ``n`` and its ``kind``."""
    place = folder / "pairs.json"
    if not place.is_file():
        raise ConfigError(f"{place} does not exist. Pass a folder with pairs.json and one folder per pair")
    if node is not None:
        _merge_node(node)
    kinds = {f"{pair['n']:03d}": str(pair["kind"]) for pair in json.loads(place.read_text(encoding="utf-8"))}
    tasks, measure = {unit: (unit, kind) for unit, kind in kinds.items()}, functools.partial(_measured, folder, node)
    return UnitWork(spec={"pairs": kinds, "node": node and node.name}, tasks=tasks, measure=measure)


def real_summary(rows: Table) -> dict[str, Any]:
    """Numbers of expected verdicts by kind, and the median share of the original that local edits leave unchanged."""
    kinds, local = rows.groupby("kind"), rows[rows["kind"] == "local"]
    stays = local[[name for name in _METHODS if name in local]].median()
    columns = {"expected": kinds["expected"].sum(), "of": kinds.size(), "stays": stays}
    contradicted = rows[rows["contradictions"].str.len() > 0].set_index("n")["contradictions"]
    return {"pairs": len(rows), "contradictions": contradicted.to_dict()} | {
        name: values.to_dict() for name, values in columns.items()
    }


def _measured(folder: Path, node: Path | None, task: tuple[str, str]) -> UnitResult:
    """The row of one pair, and the results of all methods as files."""
    unit, kind = task
    places = [folder / unit / f"{name}.webp" for name in ("original", "edited")]
    original, edited = (np.asarray(read_image(place).convert("RGB")) for place in places)
    found = keep(*places)
    results = {"keep": np.asarray(found.image.convert("RGB"))}
    results |= {name: baseline(name, original, edited, THRESHOLD)[0] for name in ("threshold", "sift")}
    if node is not None:
        results["diff-merge"] = _merged(node, original, resized(edited, original.shape[1::-1]))
    files = {f"{name}/{unit}.png": encoded(Image.fromarray(one), "PNG") for name, one in results.items()}
    stays = {name: float((pixels == original).all(axis=2).mean()) for name, pixels in results.items()}
    row = {"n": unit, "kind": kind, "found": found.found, "expected": is_expected(kind, found), **stays}
    row |= {"contradictions": contradictions(found)}
    return UnitResult(rows=[row], files=files)


def _merged(file: Path, original: Pixels, moving: Pixels) -> Pixels:
    """The result of the ComfyUI node flux-kontext-diff-merge (MIT) with its defaults."""
    node = _merge_node(file)
    defaults = {name: given[1]["default"] for name, given in node.INPUT_TYPES()["required"].items() if len(given) > 1}
    images = [torch.from_numpy(one.astype(np.float32) / 255)[None] for one in (original, moving)]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        merged, *_ = node.merge_diff(*images, **defaults)
    return as_pixels(merged[0].numpy() * 255)


@functools.cache
def _merge_node(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location("diff_merge", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ConfigError(f"{file} is not a Python module. Clone safzanpirani/flux-kontext-diff-merge")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FluxKontextDiffMerge()
