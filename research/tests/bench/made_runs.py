"""Rows with known errors, and folders of runs that hold them."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from latentedit.batch import Failure, RunFolder, UnitResult, file_name
from latentedit_bench.metrics.statistics import SEEDS
from latentedit_bench.ranking.evaluate import ANSWERS, CHANGE, CODEC, FLOOR, TRUE_CHANGE
from latentedit_bench.ranking.plan import KIND
from latentedit_bench.ranking.run import SOURCE, TRUTH, preview_name

SLOPES = {CODEC: 0.05, FLOOR: 0.1, "eim": 0.2, "eim joint": 0.25, "eim text": 0.4, "sdedit": 0.9, "flow<edit>": 0.5}
STRENGTHS = (0.5, 1.0, 2.0)
ITEMS = tuple(f"i{index}" for index in range(8))
ATTRIBUTES = ("hair", "eyes")
PLAN: dict[str, Any] = {
    "latentedit": "1",
    "model": "x",
    "model_fingerprint": "0123",
    "network_dtype": "float32",
    "data": {"name": "some", "version": "3", "items": len(ITEMS), "fingerprint": "f" * 64},
    "methods": [
        {"name": name, "editor": "one", "local": True, "settings": {"steps": 3, "search": {"gamma": 0.5}}}
        for name in SLOPES
        if name not in ANSWERS
    ],
    "strengths": [0.5, 1.0],
    "seeds": list(range(SEEDS)),
    "batch": 32,
}


def constructed(
    paths: Mapping[str, Mapping[str, Sequence[tuple[float, float, float]]]], **more: Any
) -> list[dict[str, Any]]:
    """Rows of methods on items, from (strength, effect, leakage) of each; ``more`` is in every row."""
    return [
        {
            "method": method,
            "item": item,
            "group": item.split("-")[0],
            "kind": "single",
            "change": "short hair => long hair",
            "requested": "hair",
            "strength": strength,
            "seed": 0,
            "effect": effect,
            "leakage": leakage,
            "error": (1 - effect) ** 2 + leakage**2,
            "changed_rms": (effect**2 + leakage**2) ** 0.5,
            "evaluations": 28.0,
            **more,
        }
        for method, items in paths.items()
        for item, points in items.items()
        for strength, effect, leakage in points
    ]


def straight(slope: float, gain: float = 1.0) -> list[tuple[float, float, float]]:
    """A path with an effect of ``gain`` times the strength, and a leakage of ``slope`` times the effect."""
    return [(strength, gain * strength, slope * gain * strength) for strength in STRENGTHS]


def of_slopes(**slopes: Sequence[float]) -> Any:
    """One item for each slope of a method, whose error at strength 1 is the slope squared, with each of five seeds."""
    paths = {name: {f"i{index}": straight(slope) for index, slope in enumerate(some)} for name, some in slopes.items()}
    return with_seeds(pd.DataFrame(constructed(paths)))


def with_seeds(rows: Any, count: int = SEEDS) -> Any:
    """The same rows once for each seed."""
    return pd.concat([rows.assign(seed=seed) for seed in range(count)], ignore_index=True)


def rows_of(method: str) -> list[dict[str, Any]]:
    """Straight paths, whose slope grows from item to item, and the changes that a classifier measured."""
    strengths = (1.0,) if method in ANSWERS else (0.5, 1.0)
    slopes = {name: SLOPES[method] + 0.01 * index for index, name in enumerate(ITEMS)}
    paths = {name: [(s, s, slope * s) for s in strengths] for name, slope in slopes.items()}
    once = constructed({method: paths}, failed=0.0, disentanglement=1 - SLOPES[method] / 2)
    rows = [row | {"seed": seed} for row in once for seed in range(1 if method in ANSWERS else SEEDS)]
    for row in rows:
        requested = ATTRIBUTES[int(row["item"][1:]) % 2]
        row |= {f"{TRUE_CHANGE}{name}": float(name == requested) for name in ATTRIBUTES}
        row |= {f"{CHANGE}{name}": 0.8 if name == requested else 0.1 for name in ATTRIBUTES}
    return rows


def image(shade: int) -> bytes:
    """A small WebP of one gray."""
    file = BytesIO()
    Image.new("RGB", (24, 24), (shade, shade, shade)).save(file, "WEBP")
    return file.getvalue()


def made_run(path: Path, *, ranked: bool = True) -> Path:
    """A finished run with or without right answers; the image of i3 by "eim" is missing."""
    names = [f"{place:03d}-000000-{file_name(method)}" for place, method in enumerate(SLOPES)]
    run = RunFolder.start(path, PLAN, kind=KIND, units=names, command="latentedit bench run <x>", request={})
    for place, method in enumerate(SLOPES):
        rows = rows_of(method)
        if not ranked:
            kept = ("method", "item", "group", "kind", "change", "strength", "changed_rms", "evaluations", "failed")
            rows = [{name: row[name] for name in kept} | {"legacy background_mse": 7.5} for row in rows]
        files = {preview_name(method, name): image(20 * place) for name in ITEMS if (method, name) != ("eim", "i3")}
        if method == CODEC:
            files = {preview_name(kind, name): image(200) for kind in (SOURCE, TRUTH) for name in ITEMS}
        failures = [Failure(item="i9", what=method, why="it is <gone>")] if method == "sdedit" else []
        about = {"method": method, "items": 8, "evaluations": 9, "edit_seconds": 4.0, "seconds": 6.0, "peak_bytes": 0}
        run.add(names[place], UnitResult(rows=rows, files=files, failures=failures, about=about))
    return path
