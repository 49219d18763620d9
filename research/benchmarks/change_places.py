"""Three other ways to find the place of a change, for `eim` and FlowAlign alike; ten minutes of CPU time.

`python -m research.benchmarks.change_places`; the plan is in `research/results/benchmark/plan.md`.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from latentedit import keep, load
from latentedit.editors import Refinement
from latentedit.identification import change_share, composed_change
from latentedit.numerics import draw
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.prepared import Prepared, evenly, prepare, to_tensor
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.ranking.evaluate import CODEC, RankedEdits
from latentedit_bench.ranking.summaries import compare_methods, per_item
from latentedit_bench.tuning.tuning import tuned_methods

OURS, THEIRS = "eim", "flowalign, local"
FLOOR, COVERED = 0.03, 0.3  # `identification.locality`
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
            with Scores() as kept:
                model.velocity((1 - level) * z + level * noise, torch.full((len(z),), level), text)
            scores, count = torch.stack(kept.found), text.tokens.shape[1]
            words = torch.stack([changed_words(a, b, count) for a, b in zip(own, other, strict=True)])[:, None]
            there = words @ scores[..., :-count, -count:].softmax(-1).mean(2).mT
            sides.append(torch.stack([there, words @ scores[..., -count:, :-count].softmax(-1).mean(2)]))
        least, most = torch.aminmax(maps := torch.maximum(*sides), dim=-1, keepdim=True)
        maps = ((maps - least) / (most - least).clamp_min(1e-9)).unflatten(4, (round(maps.shape[4] ** 0.5), -1))
        for way, layers in zip(("to words", "to image"), maps, strict=True):
            for name, one in (*enumerate(layers), ("mean", layers.mean(0))):
                yield f"attention {way}, layer {name}, level {level}", interpolate(one, 128, mode="bilinear")


def pair_maps(batch: Prepared, change: Tensor, other: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The masks of `keep`, and what two edits have in common."""
    images = (batch.decoded + change, batch.decoded, batch.pixels)
    edited, *sources = ((127.5 * one.clamp(-1, 1) + 128).byte().movedim(1, 3).numpy() for one in images)
    for name, source in zip(("decoded", "original"), sources, strict=True):
        found = [keep(*map(Image.fromarray, pair)).mask.convert("RGB") for pair in zip(source, edited, strict=True)]
        yield f"keep, {name}", (to_tensor(found)[:, :1] + 1) / 2
    products = ((change, other), (change, change), (other, other))
    dot, own, its = (avg_pool2d((a * b).sum(1, keepdim=True), 3, 1, 1) for a, b in products)
    a, b = (change_share(one, FLOOR, strongest=1.0) for one in (change, other))
    like = (2 * dot / (own + its).clamp_min(1e-9)).clamp(0, 1)
    named = {"likeness": like, "smaller": torch.minimum(a, b), "product": (a * b).sqrt()}
    yield from ((f"agreement, {name}", one) for name, one in named.items())


def masks(change: Tensor, true: Tensor, maps: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
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
def measured(batch: Any, methods: list[Any]) -> Iterator[dict[str, Any]]:
    """Rows as `per_item` reads them, of every method with every mask."""

    def rows(name: str, change: Tensor, seed: int) -> Iterator[dict[str, Any]]:
        scores: Any = all_scores(to_tensor(batch.restored(change)), batch.source, batch.truth)
        for index, item in enumerate(batch.items):
            about = {"method": name, "item": item.id, "group": item.group, "kind": item.kind, "requested": ""}
            yield about | {"seed": seed, "strength": 1} | {key: float(of[index]) for key, of in scores.items()}

    yield from rows(CODEC, batch.changed(batch.latent.backbone.encode(batch.answer_pixels)), 0)
    for method in methods:
        edited = list[Tensor]()
        for seed in (1, 2):
            change = method.gain * (RankedEdits.of(method, batch, [1.0], seed=seed).latents[1.0] - batch.latent.z)
            edited.append(batch.latent.z + Refinement()(batch.latent, batch.target, change, seed=batch.seeds(seed)))
        first, second = map(batch.changed, edited)
        for seed, z, change, other in ((1, edited[0], first, second), (2, edited[1], second, first)):
            maps = (*attention_maps(batch, z, seed), *pair_maps(batch, change, other))
            for name, mask in masks(change, batch.mask, maps):
                made = composed_change(mask * change, batch.pixels, batch.decoded, 1.0, local=False)
                yield from rows(f"{method.name} | {name}", made, seed)


def main() -> None:
    data, model = counterfactual("portraits", "calibration", captions="completed", draw=5851), load("portraits")
    items = [item for item in data.items if item.about["requested"]][:48]
    methods = tuned_methods(model, data, (OURS, THEIRS), path=Path("research/results/benchmark/best/settings.json"))
    found = per_item(pd.DataFrame(row for part in evenly(items, 24) for row in measured(prepare(model, part), methods)))
    means = found.groupby("method")[["above", "above scaled", "effect"]].mean()
    names = [name.partition(" | ")[2] for name in means.index if name.startswith(OURS)]
    cost = {name: [means["above scaled"][f"{method} | {name}"] for method in (OURS, THEIRS)] for name in names}
    best = [min((name for name in cost if name.startswith(kind)), key=lambda name: sum(cost[name])) for kind in KINDS]
    other, table = min((*CONTROLS[:3], *best), key=lambda name: cost[name][1]), list[dict[str, Any]]()
    for name in (*CONTROLS, *best):
        row: dict[str, Any] = {"mask": name, "best of FlowAlign": other}
        row |= {key: dict(means.loc[f"{method} | {name}"]) for key, method in (("eim", OURS), ("flowalign", THEIRS))}
        for key, its in (("ratio", other), ("same", name)):
            ratio = compare_methods(found, f"{OURS} | {name}", f"{THEIRS} | {its}", measure="above scaled").ratio
            row[key] = {"mean": ratio.mean, "low": ratio.low, "high": ratio.high}
        table.append(row)
    Path("research/results/benchmark/places.json").write_text(json.dumps(table, indent=1) + "\n")
    print(pd.json_normalize(table).to_string())


if __name__ == "__main__":
    main()
