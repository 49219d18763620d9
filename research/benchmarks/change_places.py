"""Does another way to find the place of a change lower the error? Three kinds of masks, for `eim` and FlowAlign alike.

    python -m research.benchmarks.change_places --rows out/places --output research/results/benchmark/places.json

Plan, written before the first run. Items: 48 with a change of draw 5851 of the calibration split of `portraits`, which
no run used; captions completed, seeds 1 and 2, refined, settings as in the ranking. Every mask is applied to the
decoded change of the same edit:

- attention: how much image positions and the words that differ attend to each other, source caption on the noised
  source or target caption on the noised edit, the larger; each layer and their mean, levels .3, .6, .9, both ways.
- keep: the mask of `latentedit_keep` between source (decoded, or the original's pixels) and decoded edit.
- agreement of the edits with the two seeds: likeness around each pixel, smaller share, or root of the product of the
  shares. It costs a second search, which is not counted here.

Such a map enters alone, times today's mask, three times (at most 1) times today's mask, or as prior odds of today's
share; wide changes stay whole. Of each kind, what has the least mean "above scaled" of both methods is taken, which
favors it. Goal: the error at equal effect of `eim` at most .85 of FlowAlign's with the best of all masks but the true
one, interval over images below 1. A kind within .90 is run again on the test split of draw 5852 (`--chosen`, the
folder of the first run), on `scenes` too; otherwise nothing is run again, and the search for masks ends.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from latentedit import load
from latentedit.edits import Refinement, change_share, composed_change
from latentedit.kit import draw
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.prepared import Prepared, evenly, prepare, to_tensor
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.ranking.evaluate import CODEC, RankedEdits
from latentedit_bench.ranking.summaries import compare_methods, per_item
from latentedit_bench.tuning.tuning import tuned_methods
from latentedit_keep import keep
from latentedit_keep.floor import write_text

OURS, THEIRS = METHODS = "eim", "flowalign, local"
FLOOR, COVERED = 0.03, 0.3  # `directions.identification`
KINDS, CONTROLS = ("attention", "keep", "agreement"), ("none", "today", "before", "true")


class Scores(TorchFunctionMode):
    """Keeps the scores of each layer of joint attention, which has the image first."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention:
            self.found = [*getattr(self, "found", ()), args[0] @ args[1].mT * args[0].shape[3] ** -0.5]
        return func(*args, **(kwargs or {}))


def changed_words(caption: str, other: str, tokens: int) -> Tensor:
    """1 at the tokens of phrases that the other caption lacks: one a word and comma, after the first token."""
    own, known = caption.split(", "), other.split(", ")
    flags = [0.0, *(float(phrase not in known) for phrase in own for _ in [*phrase.split(), ","])]
    return torch.tensor((flags[:-1] + [0.0] * tokens)[:tokens])


def attention_maps(batch: Prepared, edited: Tensor, seed: int) -> Iterator[tuple[str, Tensor]]:
    model, texts = batch.latent.backbone, (list(batch.latent.captions), list(batch.targets))
    noise = torch.stack([draw(edited.shape[1:], seed=one, purpose="places") for one in batch.seeds(seed)])
    for level in (0.3, 0.6, 0.9):
        sides = list[Tensor]()
        for z, own, other in ((batch.latent.z, *texts), (edited, *texts[::-1])):
            text = model.embed(own)
            count = text.tokens.shape[1]
            with Scores() as kept:
                model.velocity((1 - level) * z + level * noise, torch.full((len(z),), level), text)
            words = torch.stack([changed_words(a, b, count) for a, b in zip(own, other, strict=True)])[:, None]
            there = [words @ one[:, :, :-count, -count:].softmax(-1).mean(1).mT for one in kept.found]
            back = [words @ one[:, :, -count:, :-count].softmax(-1).mean(1) for one in kept.found]
            sides.append(torch.stack([torch.stack(there), torch.stack(back)]))
        maps = torch.maximum(*sides)
        maps = maps - maps.amin(-1, keepdim=True)
        maps = maps / maps.amax(-1, keepdim=True).clamp_min(1e-9)
        for way, layers in zip(("to words", "to image"), maps, strict=True):
            for name, one in (*enumerate(layers), ("mean", layers.mean(0))):
                grid = one.unflatten(2, (round(one.shape[2] ** 0.5), -1))
                yield f"attention {way}, layer {name}, level {level}", interpolate(grid, 128, mode="bilinear")


def pair_maps(batch: Prepared, change: Tensor, other: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The masks of `keep`, and what two edits have in common."""
    images = [(127.5 * one.clamp(-1, 1) + 128).byte().movedim(1, 3) for one in (batch.decoded + change, batch.decoded)]
    for name, first in (("decoded", images[1]), ("original", (127.5 * batch.pixels + 128).byte().movedim(1, 3))):
        pairs = zip(first.numpy(), images[0].numpy(), strict=True)
        found = [keep(Image.fromarray(a), Image.fromarray(b)).mask.convert("RGB") for a, b in pairs]
        yield f"keep, {name}", (to_tensor(found)[:, :1] + 1) / 2
    products = ((change, other), (change, change), (other, other))
    dot, own, its = (avg_pool2d((a * b).sum(1, keepdim=True), 3, 1, 1) for a, b in products)
    a, b = (change_share(one, FLOOR, strongest=1.0) for one in (change, other))
    yield "agreement, likeness", (2 * dot / (own + its).clamp_min(1e-9)).clamp(0, 1)
    yield from (("agreement, smaller", torch.minimum(a, b)), ("agreement, product", (a * b).sqrt()))


def masks(change: Tensor, true: Tensor, maps: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Controls, and each map in its forms."""
    share, energy = change_share(change, FLOOR, strongest=1.0), change.square().sum(1, keepdim=True)
    today, narrow = ((1 + FLOOR) * share).clamp(max=1), (1 + FLOOR) * change_share(change, FLOOR)

    def whole(mask: Tensor, by: Tensor = today, most: float = 0.05) -> Tensor:
        lost = ((1 - by).clamp(min=0) * energy).mean((1, 2, 3)) > most * energy.mean((1, 2, 3))
        wide = (by > 0.5).float().mean((1, 2, 3)) > COVERED
        return torch.where((wide & lost)[:, None, None, None], 1.0, mask)

    yield from zip(CONTROLS, (torch.ones_like(share), whole(today), whole(narrow, narrow, 0.1), true), strict=True)
    for name, found in maps:
        odds = share * found.clamp(0.02, 0.98)
        yield f"{name}: alone", whole(found)
        yield f"{name}: times", whole(found * today)
        yield f"{name}: three times", whole((3 * found).clamp(max=1) * today)
        yield f"{name}: prior", whole(odds / (odds + (1 - share) * (1 - found.clamp(0.02, 0.98))))


@torch.no_grad()
def measured(batch: Prepared, methods: list[Any]) -> Iterator[dict[str, Any]]:
    """Rows as `per_item` reads them, of every method with every mask."""

    def rows(name: str, change: Tensor, seed: int) -> Iterator[dict[str, Any]]:
        scores: Any = all_scores(to_tensor(batch.restored(change)), batch.source, known.truth)
        for index, item in enumerate(batch.items):
            about = {"method": name, "item": item.id, "group": item.group, "kind": item.kind, "requested": ""}
            yield about | {"seed": seed, "strength": 1} | {key: float(of[index]) for key, of in scores.items()}

    known, latent, source = batch, batch.latent, batch.latent.z
    yield from rows(CODEC, batch.changed(latent.backbone.encode(known.answer_pixels)), 0)
    for method in methods:
        edited = list[Tensor]()
        for seed in (1, 2):
            change = method.gain * (RankedEdits.of(method, batch, [1.0], seed=seed).latents[1.0] - source)
            edited.append(source + Refinement()(latent, batch.target, change, seed=batch.seeds(seed)))
        first, second = map(batch.changed, edited)
        for seed, z, change, other in ((1, edited[0], first, second), (2, edited[1], second, first)):
            maps = iter([*attention_maps(batch, z, seed), *pair_maps(batch, change, other)])
            for name, mask in masks(change, known.mask, maps):
                made = composed_change(
                    mask * change, batch.pixels, batch.decoded, method.subtract_residual, local=False
                )
                yield from rows(f"{method.name} | {name}", made, seed)


def table(items: Any, chosen: Any) -> Iterator[dict[str, Any]]:
    """A row for each control and the choice of each kind."""
    means, own = (one.groupby("method")[["above", "above scaled", "effect"]].mean() for one in (chosen, items))
    cost = means["above scaled"]
    names = list(dict.fromkeys(name.split(" | ")[1] for name in cost.index if name.startswith(f"{OURS} | ")))
    both = {name: cost[f"{OURS} | {name}"] + cost[f"{THEIRS} | {name}"] for name in names}
    best = [min((name for name in names if name.startswith(kind)), key=lambda name: both[name]) for kind in KINDS]
    other = min((*CONTROLS[:3], *best), key=lambda name: cost[f"{THEIRS} | {name}"])
    for name in (*CONTROLS, *best):
        row: dict[str, Any] = {
            "mask": name,
            "best of FlowAlign": other,
            "of": sum(one.startswith(name.split()[0].strip(",")) for one in names),
        }
        row |= {method: own.loc[f"{method} | {name}"].to_dict() for method in METHODS}
        for key, its in (("ratio", other), ("ratio, same mask", name)):
            found = compare_methods(items, f"{OURS} | {name}", f"{THEIRS} | {its}", measure="above scaled").ratio
            row[key] = {"mean": found.mean, "low": found.low, "high": found.high}
        yield row


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", choices=("portraits", "scenes"), default="portraits")
    options.add_argument("--rows", type=Path, required=True, help="a folder; finished parts are not run again")
    options.add_argument("--chosen", type=Path, help="the folder of the first run, to confirm its choices")
    options.add_argument("--output", type=Path, required=True)
    given = options.parse_args()
    split, number = ("test", 5852) if given.chosen else ("calibration", 5851)
    data = counterfactual(given.model, split, captions="completed", draw=number)
    items, model = [item for item in data.items if item.about["requested"]][:48], load(given.model)
    place = "best" if given.model == "portraits" else "best-scenes"
    methods = tuned_methods(model, data, METHODS, path=Path(f"research/results/benchmark/{place}/settings.json"))
    given.rows.mkdir(parents=True, exist_ok=True)
    for index, part in enumerate(evenly(items, 24)):
        if not (file := given.rows / f"{index}.jsonl").exists():
            write_text(file, "".join(json.dumps(row) + "\n" for row in measured(prepare(model, part), methods)))
    read = [
        pd.concat(pd.read_json(file, lines=True) for file in sorted(folder.glob("*.jsonl")))
        for folder in (given.rows, given.chosen or given.rows)
    ]
    rows = list(table(*map(per_item, read)))
    write_text(given.output, json.dumps({"draw": number, "items": len(items), "rows": rows}, indent=1) + "\n")
    print(pd.json_normalize(rows).to_string())


if __name__ == "__main__":
    main()
