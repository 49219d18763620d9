"""Does the weight of the image (`--image-guidance`) help an instruction-tuned model? Measured on `portraits-kontext`.

    python research/benchmarks/image_guidance.py --rows out/image-guidance.jsonl \\
        --output research/results/image-guidance.json

Written before the run, after a trial on 8 calibration items. The items are 24 counterfactual changes of an untouched
draw of the test split, as instructions; each has a noise of its own. Methods: `eim` as `latentedit edit` has it
(refined, with its automatic mask), and what the stock pipeline does (a sample next to the image, whole), in 14 steps.

- Criterion, for each method: the error against the truth at weight 1.5, the default of other tools, less that at
  weight 1, paired by item, has an interval (bootstrap over images, 95 %) below 0. Otherwise it is reported as no gain.
  The weights .5 and 2 are reported with theirs, and decide nothing.
- At equal effect: the same for decomposability, which does not depend on the strength; it should rise.
- Identity: the change outside of the true change (RMS, in levels of 255); it should fall.
- Control at equal cost: weight 1 with twice the steps.

A run that was interrupted resumes from its rows.
"""

import argparse
import dataclasses
import json
import random
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from latentedit import Backbone, load
from latentedit.core import Recipe, write_text
from latentedit.editors import EIM, Aim, Move, SDEdit, make_editor, resolve
from latentedit.encoding import encode_frames
from latentedit.identification import composed_change, dropped_residual
from latentedit_bench.data.counterfactual import Rendered, counterfactual
from latentedit_bench.data.items import Item
from latentedit_bench.data.prepared import Prepared, evenly, prepare, to_tensor
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.statistics import over_groups
from latentedit_portraits.instructions import draw_instruction

MODEL, DRAW, ITEMS, BATCH = "portraits-kontext", 6063, 24, 8
WEIGHTS = (0.5, 1.0, 1.5, 2.0)
EIM_NAME, STOCK, TWICE = "eim", "stock pipeline", ", twice the steps"
MEASURES = ("error", "effect", "decomposability", "outside")


def main() -> None:
    """Measure what is missing, then compare."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=Path, required=True, help="finished rows, one JSON object a line")
    options.add_argument("--output", type=Path, required=True, help="the comparison")
    chosen = options.parse_args()
    data = counterfactual("portraits", "test", draw=DRAW)
    items = [item for item in data.items if item.about["requested"]][:ITEMS]
    model = load(MODEL)
    chosen.rows.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in chosen.rows.read_text().splitlines()] if chosen.rows.exists() else []
    finished = {(row["item"], row["method"], row["weight"]) for row in done}
    for part in evenly(items, BATCH):
        for method in (EIM_NAME, STOCK):
            for name, weight in (*((method, weight) for weight in WEIGHTS), (method + TWICE, 1.0)):
                if (part[0].id, name, weight) not in finished:
                    rows = measured(model, part, name, weight)
                    done += rows
                    with chosen.rows.open("a") as file:
                        file.write("".join(json.dumps(row) + "\n" for row in rows))
    command = "python research/benchmarks/image_guidance.py" + "".join(f" {word}" for word in sys.argv[1:])
    found = {"command": command, "model": MODEL, "items": len(items), "rows": compared(pd.DataFrame(done))}
    write_text(chosen.output, json.dumps(found, indent=1) + "\n")


def scores_of(model: Backbone, batch: Prepared, z: Tensor, dropped: float, *, local: bool) -> dict[str, Tensor]:
    """All scores of edited clean latents, one per item, and how far they are off outside the wanted area, in levels."""
    change = composed_change(model.decode(z) - batch.decoded, batch.pixels, batch.decoded, dropped, local=local)
    edited = to_tensor(batch.restored(change))
    assert batch.truth is not None
    assert batch.mask is not None
    off = 127.5 * (edited - batch.source) * ~batch.mask
    outside = (off.square().flatten(1).sum(1) / (3 * (~batch.mask).flatten(1).sum(1))).sqrt()
    return {**all_scores(edited, batch.source, batch.truth), "outside": outside}


@torch.no_grad()
def measured(model: Backbone, items: tuple[Item, ...], name: str, weight: float) -> list[dict[str, Any]]:
    """A row for each item: edits as `latentedit edit` makes them, without verdicts."""
    batch = prepare(model, items)
    latent = encode_frames(model, batch.latent.frames, instructed=True)
    factor = 2 if name.endswith(TWICE) else 1
    if name.startswith(EIM_NAME):
        editor: Any = make_editor(EIM.name, model, instructed=True)
        editor = dataclasses.replace(editor, search=dataclasses.replace(editor.search, steps=factor * 7))
        recipe = Recipe(method=editor, image_guidance=weight)
    else:
        recipe = Recipe(
            method=SDEdit(level=1.0, guidance=1.0, steps=factor * 14),
            image_guidance=weight,
            auto_mask=False,
            refine=False,
        )
    recipe = resolve(recipe, model, instructed=True)
    texts = tuple(map(instruction, items))
    aim = Aim(captions=texts, condition=latent.embed_with_references(texts))
    move = Move(recipe=recipe, latent=latent, strengths=[1.0], shares=[1.0], seed=batch.seeds(0))
    with model.count() as spent:
        moved = move.run([aim])
    dropped = dropped_residual(1.0, recipe.subtract_residual) if recipe.auto_mask else 0.0
    scores = scores_of(model, batch, moved.steps[0].z, dropped, local=bool(recipe.auto_mask))
    return [
        {"item": item.id, "group": item.group, "method": name, "weight": weight}
        | {key: float(scores[key][index]) for key in (*MEASURES[:-1], "outside")}
        | {"evaluations": spent.evaluations / len(items)}
        | {"planned": moved.evaluations[0]}
        for index, item in enumerate(items)
    ]


def instruction(item: Item) -> str:
    """The change of an item, in words that its id draws."""
    before, after = item.image, item.truth
    assert isinstance(before, Rendered)
    assert isinstance(after, Rendered)
    source: Any = before.scene
    answer: Any = after.scene
    return draw_instruction(source, answer, random.Random(item.id), idle=0.0)


def compared(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Means of each method and weight, and differences to weight 1, paired by item."""
    found = list[dict[str, Any]]()
    indexed = rows.set_index(["group", "item", "method", "weight"])
    for method, weight in dict.fromkeys(zip(rows["method"], rows["weight"], strict=True)):
        own = indexed.xs((method, weight), level=("method", "weight"))
        base = indexed.xs((method.removesuffix(TWICE), 1.0), level=("method", "weight"))
        row: dict[str, Any] = {
            "method": method,
            "weight": weight,
            "evaluations": float(own["evaluations"].to_numpy(float).mean()),
        }
        for measure in MEASURES:
            row[measure] = float(own[measure].to_numpy(float).mean())
            less = over_groups(own[measure] - base[measure].reindex(own.index))
            row[f"{measure} less"] = {"mean": less.mean, "low": less.low, "high": less.high}
        found.append(row)
    return found


if __name__ == "__main__":
    main()
