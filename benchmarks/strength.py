"""Does a strength mean what it says? Requested against measured, on portraits whose right answer is rendered.

    python benchmarks/strength.py --dtype bfloat16                     test split -> results/strength.json, strength.md
    python benchmarks/strength.py --dtype bfloat16 --split calibration

Eleven strengths in [0, 1]. Two effects, both shares: of the whole change that the method itself makes (the projected
clean-latent change), and of the way to the encoded rendered truth. Reported are Pearson's r between strength and effect
(median and 95 % bootstrap interval of the median over pairs), the share of pairs whose effect never falls (by more than
0.005), and the reader's mean probability of the value asked for. The opposite is looked at for changes that have one.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edit_pairs import Batch, Pair, draw_pairs, encode_pairs
from jaxtyping import Float
from torch import Tensor

from latentedit.directions.base import Direction
from latentedit.directions.identification import identify
from latentedit.editors.baselines.flowslider import FlowSlider
from latentedit.editors.eim import EIM
from latentedit.editors.registry import stored_settings
from latentedit.editors.slider import Arm
from latentedit.editors.strength import measure_effect
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder, load
from latentedit_portraits.attributes import VALUES, draw_split
from latentedit_portraits.reader import PortraitReader, split_logits
from latentedit_portraits.render import counterfactual

RESULTS = Path(__file__).resolve().parent.parent / "results"
STRENGTHS = tuple(index / 10 for index in range(11))
FALL = 0.005
OPPOSITES = {"eyebrows": ("flat", "raised", "angry"), "eyes": ("open", "wide", "closed")}
"""Attributes with a middle: (source, what strength 1 asks for, its opposite)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Swept:
    """Displacements of one batch at all strengths, ``[strengths, b, ...]``, and evaluations a picture."""

    moved: Float[Tensor, "k b *latent"]
    evaluations: float


def slide(stored: EIM, batch: Batch, direction: Direction, arm: Arm, *, calibrated: bool) -> Swept:
    """Our slider, or its raw scales."""
    editor = dataclasses.replace(stored, arm=arm, level=0.75, steps=14)
    slider = editor.slider(batch.latent, direction, seed=0)
    before = batch.latent.backbone.evaluations
    if calibrated:
        z = torch.stack([moved.z for moved in slider.edit(STRENGTHS)])
    else:
        scales = torch.tensor(STRENGTHS, dtype=torch.float64)[:, None].expand(-1, len(batch.pairs))
        z = slider.move(scales)
    spent = (batch.latent.backbone.evaluations - before) / len(batch.pairs)
    return Swept(moved=z - batch.latent.z, evaluations=spent)


def flowslider(batch: Batch) -> Swept:
    """FlowSlider at each strength."""
    before, editor = batch.latent.backbone.evaluations, FlowSlider(level=0.98, steps=10)
    z = torch.stack([editor.edit(batch.latent, batch.target, [strength])[0].z for strength in STRENGTHS])
    spent = (batch.latent.backbone.evaluations - before) / len(batch.pairs)
    return Swept(moved=z - batch.latent.z, evaluations=spent)


def pearson(effects: Float[Tensor, "k b"]) -> np.ndarray:
    """Correlation of strength and effect for each pair; 0 where the effect does not move."""
    s = np.asarray(STRENGTHS) - np.mean(STRENGTHS)
    e = effects.double().cpu().numpy()
    e = e - e.mean(axis=0)
    norm = np.linalg.norm(e, axis=0)
    return np.where(norm > 1e-9, (s @ e) / np.maximum(norm * np.linalg.norm(s), 1e-12), 0.0)


def summary(effects: list[Tensor]) -> dict[str, Any]:
    """Median r with its interval, share of monotone pairs, mean absolute distance of effect and strength."""
    joined = torch.cat([item.double().cpu() for item in effects], dim=1)
    r = pearson(joined)
    draws = np.random.default_rng(0).integers(0, len(r), (2000, len(r)))
    low, high = np.percentile(np.median(r[draws], axis=1), [2.5, 97.5])
    falls = (joined[1:] - joined[:-1]).amin(0) < -FALL
    asked = torch.tensor(STRENGTHS, dtype=torch.float64)[:, None]
    return {
        "pearson_median": float(np.median(r)),
        "pearson_low": float(low),
        "pearson_high": float(high),
        "monotone": float((~falls).double().mean()),
        "mean_distance": float((joined - asked).abs().mean()),
        "mean_effect": [round(value, 4) for value in joined.mean(1).tolist()],
    }


def probabilities(model: Backbone, reader: PortraitReader, batch: Batch, moved: Tensor) -> Tensor:
    """The reader's probability of the value asked for, ``[strengths, b]``."""
    assert batch.latent.decoded is not None
    names, rows = list(VALUES), []
    for shift in moved:
        pictures = (batch.source_pixels + model.decode(batch.latent.z + shift) - batch.latent.decoded).clamp(-1, 1)
        heads = [logits.softmax(1) for logits in split_logits(reader.network(pictures.float()))]
        wanted = [(names.index(p.target), VALUES[p.target].index(getattr(p.truth, p.target))) for p in batch.pairs]
        rows.append(torch.stack([heads[a][index, v] for index, (a, v) in enumerate(wanted)]))
    return torch.stack(rows)


@torch.no_grad()
def measure(model: Backbone, reader: PortraitReader, pairs: list[Pair], small: int) -> dict[str, Any]:
    """All methods; those after the first on the first ``small`` pairs only, for their sake of time."""
    stored = EIM.from_dict(stored_settings("eim", model))
    own: dict[str, list[Tensor]] = {}
    truth: dict[str, list[Tensor]] = {}
    seen: dict[str, list[Tensor]] = {}
    cost: dict[str, float] = {}
    for start in range(0, len(pairs), 30):
        batch = encode_pairs(model, pairs[start : start + 30])
        before = model.evaluations
        direction = identify(batch.latent, batch.target, stored.search, seed=0)
        search = (model.evaluations - before) / len(batch.pairs)
        swept = {"EIM image": slide(stored, batch, direction, "image", calibrated=True)}
        if start < small:
            swept |= {
                "EIM joint": slide(stored, batch, direction, "joint", calibrated=True),
                "joint scaling, uncalibrated": slide(stored, batch, direction, "joint", calibrated=False),
                "text scaling, uncalibrated": slide(stored, batch, direction, "text", calibrated=False),
                "FlowSlider": flowslider(batch),
            }
        wanted = batch.truth_z - batch.latent.z
        for name, found in swept.items():
            own.setdefault(name, []).append(measure_effect(found.moved, found.moved[-1]))
            truth.setdefault(name, []).append(measure_effect(found.moved, wanted))
            seen.setdefault(name, []).append(probabilities(model, reader, batch, found.moved).mean(1))
            cost[name] = found.evaluations + (0 if name.startswith(("text", "Flow")) else search)
        print(f"\r  {start + len(batch.pairs)}/{len(pairs)} pairs", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {
        name: {
            "pairs": sum(item.shape[1] for item in own[name]),
            "evaluations_of_all_strengths": cost[name],
            "own_change": summary(own[name]),
            "way_to_truth": summary(truth[name]),
            "reader_probability": [round(v, 4) for v in torch.stack(seen[name]).mean(0).tolist()],
        }
        for name in own
    }


@torch.no_grad()
def opposites(model: Backbone, split: str, portraits: int) -> dict[str, Any]:
    """At strength -1: the share of the way to the rendered opposite, and how far the range goes."""
    stored = EIM.from_dict(stored_settings("eim", model))
    found: dict[str, Any] = {}
    for field, (middle, plus, minus) in OPPOSITES.items():
        pool = draw_split("calibration" if split == "calibration" else "test", 40 * portraits, 5)
        sources = [item for item in pool if getattr(item, field) == middle][:portraits]
        up, down = (
            encode_pairs(
                model, [Pair(change=field, source=item, truth=counterfactual(item, {field: value})) for item in sources]
            )
            for value in (plus, minus)
        )
        direction = identify(up.latent, up.target, stored.search, seed=0)
        moved = stored.slider(up.latent, direction, seed=0).edit([-1.0])[0]
        share = measure_effect((moved.z - up.latent.z)[None], down.truth_z - up.latent.z)[0]
        found[f"{field}: {middle} to {plus}, opposite {minus}"] = {
            "portraits": len(sources),
            "measured_strength": float(moved.measured.mean()),
            "limit": float(moved.limit.mean()),
            "way_to_opposite": float(share.mean()),
            "cosine_of_true_changes": float(
                torch.nn.functional.cosine_similarity(
                    (up.truth_z - up.latent.z).flatten(1), (down.truth_z - up.latent.z).flatten(1)
                ).mean()
            ),
        }
    return found


def table(methods: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        "| method | pairs | evaluations | r, own change | monotone | r, way to truth | monotone | mean distance, own |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in methods.items():
        own, truth = row["own_change"], row["way_to_truth"]
        r_own, r_truth = (
            f"{x['pearson_median']:.3f} [{x['pearson_low']:.3f}, {x['pearson_high']:.3f}]" for x in (own, truth)
        )
        lines.append(
            f"| {name} | {row['pairs']} | {row['evaluations_of_all_strengths']:.0f} | {r_own} | {own['monotone']:.3f} "
            f"| {r_truth} | {truth['monotone']:.3f} | {own['mean_distance']:.3f} |"
        )
    lines += ["", f"| reader's probability | {' | '.join(f'{s:.1f}' for s in STRENGTHS)} |", "|---" * 12 + "|"]
    lines += [
        f"| {name} | {' | '.join(f'{p:.2f}' for p in row['reader_probability'])} |" for name, row in methods.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("test", "calibration"), default="test")
    parser.add_argument("--portraits", type=int, default=40, help="six changes each")
    parser.add_argument("--baseline-portraits", type=int, default=20, help="of the methods after the first")
    parser.add_argument("--model", default="portraits")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the network")
    arguments = parser.parse_args()
    model = load(arguments.model, dtype=getattr(torch, arguments.dtype))
    reader = PortraitReader.from_folder(bundled_folder(arguments.model))
    pairs = draw_pairs(arguments.split, arguments.portraits, seed=11)
    command = " ".join(["python", "benchmarks/strength.py", *sys.argv[1:]])
    methods = measure(model, reader, pairs, 6 * arguments.baseline_portraits)
    negative = opposites(model, arguments.split, 16)
    content = {"command": command, "model": model.fingerprint, "methods": methods, "negative": negative}
    suffix = "" if arguments.split == "test" else "-calibration"
    (RESULTS / f"strength{suffix}.json").write_text(json.dumps(content, indent=1) + "\n")
    written = f"`{command}`\n\n{table(methods)}\n\nStrength -1:\n\n```\n{json.dumps(negative, indent=1)}\n```\n"
    (RESULTS / f"strength{suffix}.md").write_text(written)
    print(written)


if __name__ == "__main__":
    main()
