"""Can words that must stay protect a part of an image? Measured on `portraits`: too little, so there is no such option.

    python benchmarks/kept_words.py --rows out/kept-words.jsonl --output results/kept-words.json

Where does the model look for words? The response k to some is the mean of ``x_hat(x_s, c0) - x_hat(x_s, c0 without
them)`` over an antithetic pair of noises and the levels .8 and .5 (8 evaluations). With ``share(d, f) = p / (p + f max
p)`` and p the local energy, the displacement d of an edit is held there, unless it is strong:

    d <- d (1 - share(k, .3) (1 - share(d, .03)))

Written before the test run. On 8 calibration items (17 other forms tried: masks of other floors, without the second
share, the smaller of two energies, projection of d on what is across k, and both texts moved away from those without
the words) this held most with no error of more than .002. The protected words are those of the attribute, among those
that should stay, whose area the edit with seed 0 changes most; the edits that are compared have seed 1. Items: 24 of an
untouched draw of the test split, `eim` with its defaults and full captions.

- Criterion: the change in the protected area (RMS, in levels of 255) less that of the plain edit, paired, has an
  interval (bootstrap over images, 95 %) below 0; the upper end of that of the error against the truth is at most .002.
- Control: the same with the words of another attribute that should stay, drawn at random, must hold less: the interval
  of the difference is below 0. And ``share(k, .3)`` replaced by its mean over the image, as if any place were meant.
- It is built only if all hold, and if it takes a tenth or more of the change in the protected area.

A run that was interrupted resumes from its rows.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentedit.core.flow import level_batch
from latentedit.core.recipe import Recipe
from latentedit.core.rng import noise_like
from latentedit.directions.identification import change_share, composed_change, dropped_residual
from latentedit.editors.base import resolve
from latentedit.editors.moving import Aim, Move
from latentedit.latents.encode import embed_targets
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.items import Item
from latentedit_bench.data.prepared import Prepared, evenly, prepare, to_tensor
from latentedit_bench.domains.base import load_domain
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.statistics import over_groups
from latentedit_keep.base.files import write_text

DRAW, ITEMS, BATCH = 6063, 24, 8
LEVELS = (0.8, 0.5)
WORDS, STRONG = 0.3, 0.03
SEEN, FEWEST = 8, 40  # a change in levels of 255 that counts, and pixels of an area
PLAIN, KEPT, OTHER, ANYWHERE = "plain", "words kept", "other words kept", "kept anywhere"
DOMAIN: Any = load_domain("portraits")


def main() -> None:
    """Measure what is missing, then compare."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=Path, required=True, help="finished rows, one JSON object a line")
    options.add_argument("--output", type=Path, required=True, help="the comparison")
    chosen = options.parse_args()
    items = [item for item in counterfactual("portraits", "test", draw=DRAW).items if item.about["requested"]][:ITEMS]
    model = load("portraits")
    chosen.rows.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in chosen.rows.read_text().splitlines()] if chosen.rows.exists() else []
    for part in evenly(items, BATCH):
        if part[0].id not in {row["item"] for row in done}:
            rows = measured(model, part)
            done += rows
            with chosen.rows.open("a") as file:
                file.write("".join(json.dumps(row) + "\n" for row in rows))
    command = "python benchmarks/kept_words.py" + "".join(f" {word}" for word in sys.argv[1:])
    found = {"command": command, "model": "portraits", "items": len(items), "rows": compared(pd.DataFrame(done))}
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    write_text(chosen.output, text)


@torch.no_grad()
def measured(model: Backbone, items: Sequence[Item]) -> list[dict[str, Any]]:
    """A row for each item and way."""
    batch = prepare(model, items)
    assert batch.truth is not None
    chosen = [protected(item, change) for item, change in zip(items, drawn(batch, moved(batch, 0)), strict=True)]
    area = torch.stack([place for place, _, _ in chosen])[:, None]
    d = moved(batch, 1)
    strong = change_share(d, STRONG)
    own = change_share(response(batch, [less for _, less, _ in chosen]), WORDS)
    other = change_share(response(batch, [less for _, _, less in chosen]), WORDS)
    held = {PLAIN: 0 * own, KEPT: own, OTHER: other, ANYWHERE: own.mean((2, 3), keepdim=True).expand_as(own)}
    rows: list[dict[str, Any]] = []
    for name, share in held.items():
        change = drawn(batch, d * (1 - share * (1 - strong)))
        scores = all_scores(batch.source + change, batch.source, batch.truth)
        leak = ((change.square() * area).flatten(1).sum(1) / (3 * area.flatten(1).sum(1))).sqrt()
        rows += [
            {"item": item.id, "group": item.group, "method": name, "protected": 127.5 * float(leak[index])}
            | {key: float(scores[key][index]) for key in ("error", "effect")}
            for index, item in enumerate(items)
        ]
    return rows


def moved(batch: Prepared, seed: int) -> Tensor:
    """The displacement of `eim` at strength 1."""
    latent, targets = batch.latent, tuple(batch.targets)
    recipe = resolve(Recipe(), latent.backbone)
    move = Move(recipe=recipe, latent=latent, strengths=[1.0], shares=[1.0], seed=batch.seeds(seed))
    return move.run([Aim(captions=targets, condition=batch.target)]).steps[0].z - latent.z


def drawn(batch: Prepared, d: Tensor) -> Tensor:
    """The change of the images, as `latentedit edit` makes it."""
    recipe = resolve(Recipe(), batch.latent.backbone)
    change = batch.latent.backbone.decode(batch.latent.z + d) - batch.decoded
    dropped = dropped_residual(1.0, recipe.subtract_residual)
    change = composed_change(change, batch.pixels, batch.decoded, dropped, local=bool(recipe.auto_mask))
    return to_tensor(batch.restored(change)) - batch.source


def response(batch: Prepared, captions: Sequence[str]) -> Tensor:
    """How the clean estimate of the images changes with what the captions lack."""
    latent = batch.latent
    noise, less = noise_like(latent.z, seed=batch.seeds(9), purpose="kept words"), embed_targets(latent, captions)
    found = torch.zeros_like(latent.z)
    for level in LEVELS:
        for e in (noise, -noise):
            z = (1 - level) * latent.z + level * e
            s = level_batch(level, z)
            full, without = (latent.backbone.velocity(z, s, text) for text in (latent.condition, less))
            found = found - level * (full - without) / (2 * len(LEVELS))
    return found


def protected(item: Item, change: Tensor) -> tuple[Tensor, str, str]:
    """The area of the attribute that changes most of those that should stay, and captions without it or another."""
    image: Any = item.image
    truth: Any = item.truth
    scene, after = image.scene, truth.scene
    assert item.mask is not None
    outside, before = ~torch.from_numpy(item.mask()), DOMAIN.render(scene).astype(int)
    phrases, new, alternatives = DOMAIN.phrases(scene), DOMAIN.phrases(after), DOMAIN.alternatives(scene)
    found: list[tuple[float, str, Tensor]] = []
    for name in sorted(set(alternatives) - set(item.about["requested"].split(","))):
        others = [DOMAIN.change(scene, {name: value}) for value in alternatives[name]]
        differ = {at for at, phrase in enumerate(DOMAIN.phrases(others[0])) if phrase != phrases[at]}
        if not differ or any(phrases[at] != new[at] for at in differ):
            continue
        seen = [np.abs(DOMAIN.render(one).astype(int) - before).max(2) > SEEN for one in others]
        area = torch.from_numpy(np.any(seen, axis=0)) & outside
        if int(area.sum()) >= FEWEST:
            text = DOMAIN.caption([phrase for at, phrase in enumerate(phrases) if at not in differ])
            found.append((float((change * area).square().sum() / area.sum()), text, area))
    found.sort(key=lambda row: -row[0])
    return found[0][2], found[0][1], random.Random(item.id).choice(found[1:])[1]


def compared(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Means of each way, and its differences to the plain edit and to other words."""
    indexed, found = rows.set_index(["group", "item", "method"]), list[dict[str, Any]]()
    for name in (PLAIN, KEPT, OTHER, ANYWHERE):
        own, row = indexed.xs(name, level="method"), dict[str, Any](method=name)
        for measure in ("protected", "error", "effect"):
            row[measure] = float(own[measure].to_numpy(float).mean())
            for base in (PLAIN, OTHER, ANYWHERE):
                less = over_groups(own[measure] - indexed.xs(base, level="method")[measure].reindex(own.index))
                row[f"{measure} less {base}"] = {"mean": less.mean, "low": less.low, "high": less.high}
        found.append(row)
    return found


if __name__ == "__main__":
    main()
