"""Is the model's own verdict right? Against what the renderer knows, for good edits and deliberate failures.

    python benchmarks/verdicts.py --output results/verdicts.json

An edit is *damaged* if its clean latent is further than `DAMAGED` (root mean square a number) from each of three
rendered portraits: the source, the right answer, and the portrait with the attributes that are read in the result.
Otherwise it *changed* if it went at least half of the way to the right answer (projection of the clean latent), and
else *nothing changed*. A verdict says "changed" from half of the requested share on. Ten kinds of edits of the same
36 items.
"""

import argparse
import collections
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import latentedit as le
from latentedit.core.settings import to_plain
from latentedit.editors import AlignedInversion, FlowEdit
from latentedit.editors.base import make_editor
from latentedit.editors.eim import stored_eim
from latentedit.editors.judge import Judge, Verdict
from latentedit.editors.strength import effect_along
from latentedit.latents.encode import captioner_for
from latentedit.models.base import Backbone
from latentedit.testing.classifiers import AttributeClassifier, to_pixels
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.prepared import Prepared, prepare
from latentedit_bench.domains.base import load_domain
from latentedit_keep.base.files import write_text

DAMAGED = 0.3
SCALES = (-2.0, 0.1, 1.0, 2.0, 3.0)
ITEMS, BATCH = 36, 6


@torch.no_grad()
def main() -> None:
    """Judge the edits, and write how often the verdict agrees with the truth."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path, required=True)
    chosen = options.parse_args()
    model = le.load("portraits")
    judge, records = Judge.of(model), list[tuple[str, str, str]]()
    items = counterfactual("portraits", "test", captions="completed").items[:ITEMS]
    for start in range(0, ITEMS, BATCH):
        batch = prepare(model, items[start : start + BATCH])
        for name, (z, strength) in edits(model, batch).items():
            verdicts = judge.judge(batch.latent, batch.target, z, strength=strength, seed=0)
            judged = [words_of(one, strength, judge) for one in verdicts]
            records += [(name, *pair) for pair in zip(truths(model, batch, z), judged, strict=True)]
    command = " ".join(["python", "benchmarks/verdicts.py", *sys.argv[1:]])
    found = {"command": command, "model": model.fingerprint, "judge": to_plain(judge), **report(records)}
    write_text(chosen.output, json.dumps(found, indent=1) + "\n")


def edits(model: Backbone, batch: Prepared) -> dict[str, tuple[Tensor, float]]:
    """Name to edited latents and the requested strength."""
    stored, latent, target = stored_eim(model), batch.latent, batch.target
    slider = stored.slider(latent, stored.direction(latent, target, seed=0), seed=0)
    scales = torch.tensor(SCALES, dtype=torch.float64)[:, None].expand(-1, len(latent))
    found = {f"eim x {s:g}": (z, 1.0 if abs(s) < 1 else s) for s, z in zip(SCALES, slider.move(scales), strict=True)}
    editors = {
        "flowedit": make_editor("flowedit", model),
        "flowedit from .5": FlowEdit(level=0.5, steps=14, target_guidance=1.0),
        "aligned inversion": make_editor("aligned-inversion", model),
        "aligned inversion from .4": AlignedInversion(level=0.4, steps=20),
        "sdedit": make_editor("sdedit", model),
    }
    return found | {name: (one.edit(latent, target, [1.0], seed=0)[0].z, 1.0) for name, one in editors.items()}


def words_of(verdict: Verdict, strength: float, judge: Judge) -> str:
    """The verdict in the words of the truth."""
    if verdict.word == "damaged":
        return "damaged"
    share = verdict.share or 0.0
    return (
        "changed"
        if verdict.word == "done" or share * strength >= judge.least_share * strength**2
        else "nothing changed"
    )


def truths(model: Backbone, batch: Prepared, z: Tensor) -> list[str]:
    """What the renderer says of each edit."""
    domain, reader = load_domain("portraits"), captioner_for(model)
    assert batch.answer_pixels is not None
    assert isinstance(reader, AttributeClassifier)
    seen = [domain.render(scene) for scene in reader.attributes(batch.changed(z))]
    answer = model.encode(batch.answer_pixels)
    near = (batch.latent.z, answer, model.encode(to_pixels(np.stack(seen))))
    distance = torch.stack([(z - other).flatten(1).square().mean(1) for other in near]).amin(0).sqrt()
    share = effect_along((z - batch.latent.z)[None], answer - batch.latent.z)[0]
    return [
        "damaged" if d > DAMAGED else "changed" if s >= 0.5 else "nothing changed"
        for d, s in zip(distance.tolist(), share.tolist(), strict=True)
    ]


def report(records: list[tuple[str, str, str]]) -> dict[str, Any]:
    """Agreement with its interval, the table of words, and both by kind of edit."""
    right = np.array([truth == word for _, truth, word in records], dtype=float)
    draws = np.random.default_rng(0).integers(0, len(right), (2000, len(right)))
    low, high = np.percentile(right[draws].mean(1), [2.5, 97.5])
    kinds = {
        name: {
            "right": float(np.mean([truth == word for kind, truth, word in records if kind == name])),
            "truth": dict(collections.Counter(truth for kind, truth, _ in records if kind == name)),
        }
        for name in dict.fromkeys(kind for kind, *_ in records)
    }
    table = collections.Counter(f"{truth} -> {word}" for _, truth, word in records)
    numbers = {"edits": len(records), "right": float(right.mean()), "low": float(low), "high": float(high)}
    return {**numbers, "truth -> verdict": dict(sorted(table.items())), "by_edit": kinds}


if __name__ == "__main__":
    main()
