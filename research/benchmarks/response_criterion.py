"""Does the disentanglement without right answers help `latentedit bench calibrate` to choose settings?

    python research/benchmarks/response_criterion.py --rows out/response-criterion.jsonl \\
        --output research/results/response-criterion.json

Written before the run. Both domains, `portraits` and `scenes`; 16 items each of one attribute, of a draw of the test
split that was not used before, with full captions. The candidates of `calibrate` edit all items, with the automatic
mask. An item has the three criteria of `calibrate` (residual, share, consensus) and a fourth, which is 1 less
`response_scores(...).disentanglement` of the change by the responses to four attributes.

- Settings are chosen on one half of the images by the sum of the ranks of the three criteria, and of all four, and the
  error against the truth is that of the chosen settings on the other half; and the halves exchanged. This is done for
  400 random halves.
- Number: error of the choice by four less error of the choice by three, as a share of the latter; mean over the halves,
  with an interval (bootstrap over images of the whole procedure, 95 %).
- The fourth criterion is taken over if this is below 0 with its interval on one domain, and its mean is not above 0 on
  the other. Otherwise it is not.
- Also reported, deciding nothing: the choice by the fourth criterion alone, the best candidate by truth on the other
  half, and the rank correlation of each criterion with the error over candidates.

A run that was interrupted resumes from its rows.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata, spearmanr

from latentedit import load
from latentedit.calibration import losses_at
from latentedit.core import write_text
from latentedit.encoding import embed_targets
from latentedit.identification import local_change
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.items import Item
from latentedit_bench.data.prepared import evenly, prepare, to_tensor
from latentedit_bench.disentanglement.responses import attribute_responses
from latentedit_bench.experiments.disentanglement_without_truth import other_captions
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.responses import response_scores
from latentedit_bench.tuning.without_truth import CONSENSUS, RESIDUAL, SHARE, candidates, evaluate_settings

DOMAINS, DRAW, ITEMS, BATCH = ("portraits", "scenes"), 9403, 16, 8
OTHERS = 3  # attributes besides the edited one whose responses are computed
HALVES, DRAWS = 400, 400  # random halves; resamples of images, each with one half
RESPONSES, ERROR = "responses", "error"
THREE, FOUR, ALONE = (RESIDUAL, SHARE, CONSENSUS), (RESIDUAL, SHARE, CONSENSUS, RESPONSES), (RESPONSES,)

Numbers = Mapping[str, Float[np.ndarray, "candidates items"]]


class Made:
    """An edit that was made before, as an editor."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def edit(self, *_: object, **__: object) -> tuple[Any]:
        """The edit."""
        return (self.result,)


def main() -> None:
    """Measure what is missing, then compare."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=Path, required=True, help="finished rows, one JSON object a line")
    options.add_argument("--output", type=Path, required=True, help="the comparison")
    chosen = options.parse_args()
    chosen.rows.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in chosen.rows.read_text().splitlines()] if chosen.rows.exists() else []
    finished = {(row["domain"], row["item"]) for row in done}
    for domain in DOMAINS:
        data = counterfactual(domain, "test", draw=DRAW)
        items = [one for one in data.items if one.about["requested"] and one.kind == "single"][:ITEMS]
        for part in evenly(items, BATCH):
            if (domain, part[0].id) not in finished:
                rows = measured(domain, part)
                done += rows
                with chosen.rows.open("a") as file:
                    file.write("".join(json.dumps(row) + "\n" for row in rows))
    command = "python research/benchmarks/response_criterion.py" + "".join(f" {word}" for word in sys.argv[1:])
    cpu = sum({(row["domain"], row["batch"]): row["cpu_seconds"] for row in done}.values())
    found = {"command": command, "cpu_seconds": round(cpu), "items": ITEMS, "draw": DRAW, "halves": HALVES}
    found["domains"] = {domain: compared([row for row in done if row["domain"] == domain]) for domain in DOMAINS}
    write_text(chosen.output, json.dumps(found, indent=1) + "\n")


@torch.no_grad()
def measured(domain: str, part: Sequence[Item]) -> list[dict[str, Any]]:
    """The criteria and the error of all candidates on a batch of items."""
    start, model = time.process_time(), load(domain)
    batch = prepare(model, part)
    latent, target, seeds = batch.latent, batch.target, batch.seeds(1)
    assert batch.truth is not None
    texts = [other_captions(item, OTHERS) for item in part]
    others = [embed_targets(latent, column) for column in zip(*texts, strict=True)]
    responses = attribute_responses(latent, [target, *others], seed=seeds)
    shown = torch.stack([batch.changed(latent.z + one) for one in responses])
    before = losses_at(latent, (latent.condition, target), latent.z, seed=1)
    edits = {name: one.edit(latent, target, [1.0], seed=seeds)[0] for name, one in candidates(model).items()}
    made: dict[str, Any] = {name: Made(result) for name, result in edits.items()}
    criteria = evaluate_settings(latent, target, batch.decoded, before, made, seed=1)
    rows: list[dict[str, Any]] = []
    for name, result in edits.items():
        change, found = local_change(batch.changed(result.z)), criteria[name]
        scores = response_scores(change, shown, 0).disentanglement
        truth = all_scores(to_tensor(batch.restored(change)), batch.source, batch.truth)[ERROR]
        share = (1 - found.share).abs().clamp(max=1).nanmean(0).nan_to_num(1.0)
        columns = {RESIDUAL: found.target.mean(0), SHARE: share, CONSENSUS: found.consensus}
        columns |= {RESPONSES: 1 - scores, ERROR: truth}
        rows += [
            {"domain": domain, "batch": part[0].id, "item": item.id, "image": item.group, "candidate": name}
            | {column: float(values[index]) for column, values in columns.items()}
            for index, item in enumerate(part)
        ]
    spent = time.process_time() - start
    return [row | {"cpu_seconds": round(spent, 1)} for row in rows]


def compared(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers of one domain."""
    names, items = sorted({row["candidate"] for row in rows}), sorted({row["item"] for row in rows})
    at = {(row["candidate"], row["item"]): row for row in rows}
    columns = (*FOUR, ERROR)
    values: Numbers = {
        column: np.array([[at[name, item][column] for item in items] for name in names]) for column in columns
    }
    images = np.array([at[names[0], item]["image"] for item in items])
    generator, each = np.random.default_rng(0), np.unique(images)
    halves = [_halves(values, images, generator.permutation(each)) for _ in range(HALVES)]
    drawn = [_halves(values, images, generator.choice(each, len(each))) for _ in range(DRAWS)]
    kept = [one for one in drawn if one]
    found = {name: float(np.mean([one[name] for one in halves])) for name in halves[0]}
    low, high = np.quantile([one["four"] / one["three"] - 1 for one in kept], [0.025, 0.975])
    error = values[ERROR].mean(1)
    return {
        "items": len(items),
        "images": len(each),
        "error": found,
        "change of the error": {"mean": found["four"] / found["three"] - 1, "low": low, "high": high},
        "the same choice": float(np.mean([one["four"] == one["three"] for one in halves])),
        "rank correlation with the error": {
            name: float(spearmanr(values[name].mean(1), error).statistic) for name in FOUR
        },
        "candidates": {
            name: {column: float(values[column][place].mean()) for column in columns}
            for place, name in enumerate(names)
        },
    }


def _halves(values: Numbers, images: np.ndarray, order: Sequence[Any]) -> dict[str, float]:
    """The mean error of each choice made on either half and taken to the other; of images drawn more than once, in one.

    Empty where all that was drawn is one image.
    """
    once = list(dict.fromkeys(order))
    cut = len(once) // 2
    if not cut:
        return {}
    count = {image: list(order).count(image) for image in once}
    sides = [
        np.concatenate([np.flatnonzero(images == image).repeat(count[image]) for image in side])
        for side in (once[:cut], once[cut:])
    ]
    found: dict[str, list[float]] = {}
    for chosen, other in (sides, sides[::-1]):
        truth = values[ERROR][:, other].mean(1)
        for name, criteria in {"three": THREE, "four": FOUR, "responses alone": ALONE, "truth": (ERROR,)}.items():
            ranks = sum(rankdata(values[one][:, chosen].mean(1)) for one in criteria)
            found.setdefault(name, []).append(float(truth[int(np.argmin(ranks))]))
        found.setdefault("best", []).append(float(truth.min()))
        found.setdefault("all", []).append(float(truth.mean()))
    return {name: float(np.mean(one)) for name, one in found.items()}


if __name__ == "__main__":
    main()
