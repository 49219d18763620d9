"""Values between source and target: by their own name, as `sweep --via` passes through them, and by a cross-fade.

    python benchmarks/graded_strengths.py --model portraits --output out/graded-portraits
    python benchmarks/graded_strengths.py --model scenes --device cuda --output out/graded-scenes

Every graded item of the test split whose attribute has a value between the first and the last: one search for each
value, and the right answer of each is rendered. A cross-fade gets the strength that is best for the right answer. A
stopped run continues.
"""

import argparse
import functools
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import latentedit as le
from latentedit.batch.executors import run_work
from latentedit.batch.folder import RunFolder, UnitResult
from latentedit.core.recipe import Recipe
from latentedit.core.rng import item_seed
from latentedit.core.settings import RESIDUAL
from latentedit.directions.identification import composed_change, dropped_residual
from latentedit.editors.eim import stored_eim
from latentedit.editors.moving import Aim, Move
from latentedit.editors.strength import along_path
from latentedit.latents.encode import embed_targets, encode_frames, fit_all
from latentedit_bench.data.counterfactual import Rendered, counterfactual
from latentedit_bench.data.prepared import to_tensor
from latentedit_bench.domains.base import full_caption, load_domain
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.statistics import over_groups, ratio_over_groups
from latentedit_bench.ranking.run import table_of
from latentedit_bench.work import UnitWork
from latentedit_keep.base.console import progress_bar
from latentedit_keep.base.files import plain, write_text

FADES = np.linspace(0, 1, 21)[1:]  # strengths of a cross-fade, the best of which counts
STEPS = 8  # equal steps of the strength, of which the largest change is compared with the mean


def main() -> None:
    """Measure all, and write the rows, and the errors and their ratio."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path, required=True)
    options.add_argument("--model", default="portraits")
    options.add_argument("--device", default="cpu")
    options.add_argument("--items", type=int, default=480)
    options.add_argument("--skip", type=int, default=0)
    options.add_argument("--seeds", type=int, default=3)
    chosen = options.parse_args()
    groups = graded(chosen.model, chosen.skip, chosen.items)
    tasks = {
        f"{name}-{seed}": (name, chosen.model, chosen.skip, chosen.items, seed)
        for name in groups
        for seed in range(chosen.seeds)
    }
    spec = {"model": chosen.model, "units": list(tasks)}
    command = " ".join(["python", "benchmarks/graded_strengths.py", *sys.argv[1:]])
    run = RunFolder.start(chosen.output, spec, kind="graded", units=list(tasks), command=command, request={})
    work = UnitWork(spec=spec, tasks=tasks, measure=functools.partial(measured, device=chosen.device))
    with progress_bar() as progress:
        run_work(run, work, progress=progress)
    run.write_table()
    rows = table_of(run)
    write_text(chosen.output / "graded.json", json.dumps(plain({"command": command} | summary(rows)), indent=1) + "\n")


def summary(rows: pd.DataFrame) -> dict[str, Any]:
    """Errors by attribute and over all, the ratio of a named value's to that of the best cross-fade, and evenness."""
    found: dict[str, Any] = {}
    for name, part in [("all", rows), *rows.groupby("attribute")]:
        item = part.groupby(["group", "value"]).mean(numeric_only=True).reset_index().set_index("group")
        measures = ("named", "best fade", "even fade", "best strength", "evenness named", "evenness fade")
        found[str(name)] = {"items": len(item), "rows": len(part)}
        found[str(name)] |= {measure: over_groups(item[measure]) for measure in measures}
        found[str(name)]["ratio to best fade"] = ratio_over_groups(item["named"], item["best fade"])
    return found


@functools.cache
def graded(name: str, skip: int, count: int) -> dict[str, tuple[Any, str, list[str]]]:
    """Scene, attribute and the values from the next to the last, of items with one or more in between."""
    domain, found = load_domain(name), dict[str, tuple[Any, str, list[str]]]()
    for item in counterfactual(name, "test").items[skip : skip + count]:
        image, attribute = item.image, item.about.get("change", "")
        if item.kind == "graded" and isinstance(image, Rendered):
            places = list(domain.ordered[attribute])
            values = places[places.index(domain.attributes(image.scene)[attribute]) + 1 :]
            if len(values) > 1:
                found[item.group] = image.scene, attribute, values
    return found


@functools.cache
def loaded(name: str, device: str) -> Any:
    """The model, once."""
    return le.load(name, device=device)


@torch.no_grad()
def measured(task: tuple[str, str, int, int, int], *, device: str) -> UnitResult:
    """One row for each value in between."""
    group, name, skip, count, seed = task
    (source, attribute, values), domain, model = (
        graded(name, skip, count)[group],
        load_domain(name),
        loaded(name, device),
    )
    scenes = [domain.change(source, {attribute: value}) for value in values]
    frames = fit_all(model, [Rendered(source, name)()])
    latent = encode_frames(model, frames, source_prompt=[full_caption(domain, source)])
    number, editor = item_seed(seed, group), stored_eim(model)
    stops: list[torch.Tensor] = []
    for scene in scenes:
        target = embed_targets(latent, [full_caption(domain, scene)])
        move = Move(recipe=Recipe(method=editor, refine=True), latent=latent, strengths=[1.0], seed=[number])
        (step,) = move.towards(Aim(condition=target), [1.0]).steps
        stops.append(step.z - latent.z)
    decoded = model.decode(latent.z)
    pixels = latent.pixels.to(decoded)

    def drawn(moved: torch.Tensor, strength: float) -> torch.Tensor:
        change = composed_change(
            model.decode(latent.z + moved) - decoded, pixels, decoded, dropped_residual(strength, RESIDUAL), local=True
        )
        return to_tensor([frames[0].restore(change[0]).convert("RGB")])

    before = to_tensor([Rendered(source, name)()])
    fades = [drawn(float(strength) * stops[-1], float(strength)) for strength in FADES]
    ways = [along_path(torch.stack(stops), step / STEPS) for step in range(1, STEPS + 1)]
    walks = {"named": [drawn(moved, float(passed.min())) for moved, passed in ways]}
    walks["fade"] = [drawn(step / STEPS * stops[-1], step / STEPS) for step in range(1, STEPS + 1)]
    uneven = {f"evenness {way}": evenness([before, *images]) for way, images in walks.items()}
    rows: list[dict[str, Any]] = []
    for place, (value, scene) in enumerate(zip(values[:-1], scenes[:-1], strict=True)):
        truth = to_tensor([Rendered(scene, name)()])
        error = [min(1.0, float(all_scores(image, before, truth)["error"])) for image in fades]
        even = int(np.argmin(np.abs((place + 1) / len(values) - FADES)))
        named = min(1.0, float(all_scores(drawn(stops[place], 1.0), before, truth)["error"]))
        row = {"group": group, "seed": seed, "attribute": attribute}
        row |= {"value": value, "named": named, "best fade": min(error), "even fade": error[even]}
        rows.append(row | {"best strength": float(FADES[int(np.argmin(error))]), **uneven})
    return UnitResult(rows=rows)


def evenness(images: list[torch.Tensor]) -> float:
    """The largest change of pixels in one step, relative to the mean of the steps: 1 is even."""
    steps = [float((b - a).square().mean().sqrt()) for a, b in itertools.pairwise(images)]
    return max(steps) / max(float(np.mean(steps)), 1e-9)


if __name__ == "__main__":
    main()
