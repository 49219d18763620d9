"""Settings of editors on a model that is told what to do, found with the same effort each.

    python benchmarks/instructed.py [--model portraits-kontext] [--store]

Every editor has six tries, on calibration items as instructions, at strength 1, its change kept to where it is strong;
its settings are those that err least. What of eim is not tried is as on `portraits`, which reads captions.
With --store they are kept in the folder of the bundled model, from where all commands take them. Writes
results/instructed.
"""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from results import RESULTS, save, table

import latentedit
from latentedit.editors.registry import editor_class, stored_settings
from latentedit.models.base import Backbone
from latentedit.models.registry import locate
from latentedit.models.settings_file import read_settings, write_settings
from latentedit_bench.experiments.instructed_edits import asked, told
from latentedit_bench.experiments.known_items import asking
from latentedit_bench.ranking.evaluate import evaluate
from latentedit_bench.ranking.methods import Method
from latentedit_bench.tuning.tuning import score

SEED = 31
BATCH = 8

LEVELS = (0.99, 0.97, 0.95, 0.93, 0.9, 0.85)

GRIDS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "eim": {"levels": tuple((level, 0.0) for level in LEVELS)},
    "velocity-steering": {"level": (1.0, 0.95, 0.9, 0.85, 0.8, 0.7)},
    "veloedit": {"until": (0.84, 0.7, 0.5), "threshold": (0.8, 1.0)},
    "flowslider": {"level": (1.0, 0.95, 0.9, 0.85, 0.8, 0.7)},
}


def settings_of(name: str, tried: Mapping[str, Any], captioned: Backbone) -> dict[str, Any]:
    """An editor's settings with those that are tried, which for eim are of its search."""
    return {"search": {**stored_settings(name, captioned)["search"], **tried}} if name == "eim" else dict(tried)


@torch.no_grad()
def main() -> None:
    """Try, tell, and store what is best."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="portraits-kontext", help="a bundled name, or a folder")
    options.add_argument("--items", type=int, default=24, help="of the calibration split")
    options.add_argument("--store", action="store_true", help="keep what is best with the model")
    chosen = options.parse_args()
    model, captioned = latentedit.load(chosen.model), latentedit.load("portraits")
    items = asking("calibration", chosen.items).items
    parts = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
    batches = [told(model, part, [asked(item) for item in part]) for part in parts]
    rows: list[tuple[str, dict[str, Any], float]] = []
    for name, grid in GRIDS.items():
        for values in itertools.product(*grid.values()):
            settings = settings_of(name, dict(zip(grid, values, strict=True)), captioned)
            method = Method(name=name, editor=editor_class(name).from_dict(settings), local=True)
            found = [row for batch in batches for row in evaluate(method, batch, [1.0], seed=SEED, beside=False)[0]]
            rows.append((name, settings, score(found)))
            print(f"{name} {values}: {rows[-1][2]:.4f}", flush=True)
    best = {name: min((row for row in rows if row[0] == name), key=lambda row: row[2])[1] for name in GRIDS}
    tried = [{"method": name, "settings": settings, "error": error} for name, settings, error in rows]
    lines = [
        (name, ", ".join(f"{key} {settings.get('search', settings)[key]}" for key in GRIDS[name]), f"{error:.4f}")
        for name, settings, error in rows
    ]
    content = {"model": model.name, "fingerprint": model.fingerprint, "items": len(items), "best": best, "tried": tried}
    save(RESULTS / "instructed", content, table(("method", "settings", "error at strength 1"), lines))
    if chosen.store:
        store(locate(chosen.model)[1], best)


def store(folder: Path, best: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep settings with a model, beside those of other editors."""
    write_settings(folder, {"editors": {**read_settings(folder).get("editors", {}), **best}})


if __name__ == "__main__":
    main()
