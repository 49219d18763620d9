"""Is the verdict right? The model's own judgement of edits against what the renderer knows.

    python benchmarks/verdicts.py calibrate --dtype bfloat16   thresholds -> the model's latentedit.json ("judge")
    python benchmarks/verdicts.py --dtype bfloat16             test split -> results/verdicts.json, verdicts.md

The truth of an edit: it is *damaged* if its clean latent lies further than DAMAGED (root mean square a number) from
each of three rendered portraits: the source, the right answer, and the portrait with the attributes that are read in
the result. Otherwise it *changed* if it went at least half of the way to the right answer (projection of the clean
latent), and *nothing changed* if not. Edits of every kind are judged: right, faint, too strong, from too low levels.
"""

import argparse
import collections
import dataclasses
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edit_pairs import Batch, draw_pairs, encode_pairs
from torch import Tensor

from latentedit.directions.identification import identify
from latentedit.editors.baselines.flowedit import FlowEdit
from latentedit.editors.baselines.inversion import AlignedInversion
from latentedit.editors.eim import EIM
from latentedit.editors.judge import Judge
from latentedit.editors.registry import make_editor, stored_settings
from latentedit.editors.strength import measure_effect
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder, load
from latentedit.models.settings_file import write_settings
from latentedit_portraits.dataset import to_pixels
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.render import counterfactual, render_array

RESULTS = Path(__file__).resolve().parent.parent / "results"
DAMAGED = 0.3
SCALES = (-2.0, 0.1, 1.0, 2.0, 3.0)
WORDS = ("changed", "nothing changed", "damaged")


def edits(model: Backbone, batch: Batch) -> dict[str, tuple[Tensor, float]]:
    """Name to edited latents and the strength asked for."""
    stored = EIM.from_dict(stored_settings("eim", model))
    direction = identify(batch.latent, batch.target, stored.search, seed=0)
    slider = dataclasses.replace(stored, arm="image").slider(batch.latent, direction, seed=0)
    scales = torch.tensor(SCALES, dtype=torch.float64)[:, None].expand(-1, len(batch.pairs))
    found = {f"eim x {s:g}": (z, 1.0 if abs(s) < 1 else s) for s, z in zip(SCALES, slider.move(scales), strict=True)}
    editors = {
        "flowedit": make_editor("flowedit", model),
        "flowedit from .5": FlowEdit(level=0.5, steps=14, target_guidance=1.0),
        "aligned inversion": make_editor("aligned-inversion", model),
        "aligned inversion from .4": AlignedInversion(level=0.4, steps=20),
        "sdedit": make_editor("sdedit", model),
    }
    return found | {
        name: (editor.edit(batch.latent, batch.target, [1.0])[0].z, 1.0) for name, editor in editors.items()
    }


def truth_words(model: Backbone, reader: PortraitReader, batch: Batch, z: Tensor) -> list[str]:
    """What the renderer says of each edit."""
    assert batch.latent.decoded is not None
    pictures = (batch.source_pixels + model.decode(z) - batch.latent.decoded).clamp(-1, 1)
    read = [
        counterfactual(pair.source, {name: getattr(seen, name) for name in seen.differences(pair.source)})
        for pair, seen in zip(batch.pairs, reader.attributes(pictures), strict=True)
    ]
    rendered = model.encode(to_pixels(np.stack([render_array(item) for item in read]), model.device))
    near = torch.stack([(z - other).flatten(1).square().mean(1) for other in (batch.latent.z, batch.truth_z, rendered)])
    distance = near.amin(0).sqrt()
    share = measure_effect((z - batch.latent.z)[None], batch.truth_z - batch.latent.z)[0]
    return [
        "damaged" if d > DAMAGED else "changed" if s >= 0.5 else "nothing changed"
        for d, s in zip(distance.tolist(), share.tolist(), strict=True)
    ]


@torch.no_grad()
def collect(
    model: Backbone, reader: PortraitReader, split: str, portraits: int, judges: list[Judge]
) -> list[dict[str, Any]]:
    """One record an edit: what is true, and what each judge measures."""
    pairs = draw_pairs("calibration" if split == "calibration" else "test", portraits, seed=17)
    records: list[dict[str, Any]] = []
    for start in range(0, len(pairs), 30):
        batch = encode_pairs(model, pairs[start : start + 30])
        for name, (z, strength) in edits(model, batch).items():
            words = truth_words(model, reader, batch, z)
            judged = [judge.judge(batch.latent, batch.target, z, strength=strength, seed=0) for judge in judges]
            records += [
                {
                    "edit": name,
                    "change": pair.change,
                    "truth": word,
                    "strength": strength,
                    "judged": [(row[index].word, row[index].share, row[index].residual) for row in judged],
                }
                for index, (pair, word) in enumerate(zip(batch.pairs, words, strict=True))
            ]
        print(f"\r  {start + len(batch.pairs)}/{len(pairs)} pairs", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return records


def calibrate(records: list[dict[str, Any]], judges: list[Judge]) -> tuple[Judge, float]:
    """The level and thresholds that agree with the truth most often."""
    best, most = judges[0], 0.0
    for number, judge in enumerate(judges):
        for least, damage in itertools.product((0.2, 0.3, 0.4, 0.5, 0.6), (1.6, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)):
            right = 0
            for record in records:
                _, share, residual = record["judged"][number]
                s = record["strength"]
                word = (
                    "damaged" if residual > damage else "changed" if share * s >= least * s * s else "nothing changed"
                )
                right += word == record["truth"]
            if right / len(records) > most:
                best, most = dataclasses.replace(judge, least_share=least, damage=damage), right / len(records)
    return best, most


def report(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Agreement, its interval, and by edit; the confusion of words."""
    right = np.asarray([record["judged"][0][0] == record["truth"] for record in records], dtype=np.float64)
    draws = np.random.default_rng(0).integers(0, len(right), (2000, len(right)))
    low, high = np.percentile(right[draws].mean(1), [2.5, 97.5])
    confusion = collections.Counter(f"{record['truth']} -> {record['judged'][0][0]}" for record in records)
    names = dict.fromkeys(record["edit"] for record in records)
    by_edit = {
        name: {
            "right": float(np.mean([ok for ok, record in zip(right, records, strict=True) if record["edit"] == name])),
            "truth": dict(collections.Counter(record["truth"] for record in records if record["edit"] == name)),
        }
        for name in names
    }
    return {
        "edits": len(records),
        "right": float(right.mean()),
        "low": float(low),
        "high": float(high),
        "truth -> verdict": dict(sorted(confusion.items())),
        "by_edit": by_edit,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=("calibrate", "test"), default="test")
    parser.add_argument("--portraits", type=int, default=10, help="six changes each")
    parser.add_argument("--model", default="portraits")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the network")
    arguments = parser.parse_args()
    model = load(arguments.model, dtype=getattr(torch, arguments.dtype))
    folder = bundled_folder(arguments.model)
    reader = PortraitReader.from_folder(folder)
    command = " ".join(["python", "benchmarks/verdicts.py", *sys.argv[1:]])
    if arguments.stage == "calibrate":
        judges = [Judge(level=0.6), Judge(level=0.8), Judge(level=0.6, pairs=2), Judge(level=0.8, pairs=2)]
        records = collect(model, reader, "calibration", arguments.portraits, judges)
        judge, right = calibrate(records, judges)
        print(f"{command}: {judge} agrees with the truth in {right:.3f} of {len(records)} edits")
        write_settings(folder, {"judge": dataclasses.asdict(judge)})
        return
    judge = Judge.of(model)
    found = report(collect(model, reader, "test", arguments.portraits, [judge]))
    content = {"command": command, "model": model.fingerprint, "judge": dataclasses.asdict(judge)} | found
    (RESULTS / "verdicts.json").write_text(json.dumps(content, indent=1) + "\n")
    lines = [
        f"`{command}`",
        "",
        f"right {found['right']:.3f} [{found['low']:.3f}, {found['high']:.3f}] of {found['edits']} edits",
        "",
        "| edit | right | truth |",
        "|---|---|---|",
        *(f"| {name} | {row['right']:.2f} | {row['truth']} |" for name, row in found["by_edit"].items()),
        "",
        f"truth -> verdict: {found['truth -> verdict']}",
    ]
    (RESULTS / "verdicts.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
