"""Is the strength of an instruction better set inside attention? Measured on `portraits-kontext`.

    python research/benchmarks/attention_strength.py --rows out/attention.jsonl \\
        --output research/results/attention-strength/strengths.json

Rows, measures and criteria: `research/results/attention-strength/plan.md`, written before the run. A run that was
interrupted resumes from its rows; `--only` runs some of the methods, so that several processes can share the work.
"""

import argparse
import dataclasses
import itertools
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from image_guidance import instruction, scores_of
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from latentedit import Backbone, Condition, JointLatent, load
from latentedit.core import Recipe, write_text
from latentedit.editors import EIM, Aim, Edit, Move, SDEdit, VeloEdit, make_editor, resolve
from latentedit.encoding import encode_frames
from latentedit.identification import dropped_residual
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.items import Item
from latentedit_bench.data.prepared import Prepared, prepare
from latentedit_bench.metrics.statistics import over_groups, ratio_over_groups

MODEL, DRAW, IMAGES, SEEDS = "portraits-kontext", 8107, 16, (311, 312, 313)
STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
EFFECTS = (0.25, 0.5, 0.75)  # at which leakage is compared
STEPS = 14  # steps of a sample of the stock pipeline
TODAY = "eim"
MEASURES = ("effect", "leakage", "outside", "error")
SINGLE = ("cross-fade", "start", "veloedit")  # other ways that run the network once a step
INSIDE = ("reference keys", "reference keys and values", "text keys")
WEAK = ("no image, levels 1 and 2", "no image, levels 5 and 6", "half the image, levels 1 and 2")

Steps = Sequence[Tensor]  # edited clean latents, one batch for each strength


class Spread(TorchFunctionMode):
    """In this thread, keys and values of a group of tokens keep their mean, and their distances from it are scaled.

    In the attention of FLUX.1, FLUX.2 and Qwen-Image-Edit the text comes first, then the image, then its references.
    """

    def __init__(self, group: Literal["reference", "text"], tokens: int, *, keys: float, values: float = 1.0) -> None:
        super().__init__()
        self._group, self._tokens, self._scales = group, tokens, (keys, values)  # tokens of the image, and of the group

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """The attention with other keys and values, and any other function as it is."""
        given = dict(kwargs or {})
        if func is scaled_dot_product_attention:
            given |= dict(zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), args, strict=False))
            for name, scale in zip(("key", "value"), self._scales, strict=True):
                given[name] = self._spread(given[name], scale)
            args = ()
        return func(*args, **given)

    def _spread(self, sequence: Tensor, scale: float) -> Tensor:
        count = sequence.shape[-2] - 2 * self._tokens
        sizes = [count, self._tokens, self._tokens]
        parts = list(sequence.split(sizes, dim=-2))
        at = 2 if self._group == "reference" else 0
        mean = parts[at].mean(-2, keepdim=True)
        parts[at] = mean + scale * (parts[at] - mean)
        return sequence if scale == 1 else torch.cat(parts, dim=-2)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Items of one batch with their instructions, and a seed."""

    model: Backbone
    batch: Prepared
    latent: JointLatent
    instructed: Condition
    captions: Condition
    seed: int

    def moved(self, editor: Any, strengths: Sequence[float] = (1.0,)) -> Steps:
        """Edits by an editor with its default mask, which is made later."""
        recipe = resolve(Recipe(method=editor), self.model, instructed=True)
        aim = Aim(captions=tuple(map(instruction, self.batch.items)), condition=self.instructed)
        seeds = self.batch.seeds(self.seed)
        move = Move(recipe=recipe, latent=self.latent, strengths=strengths, shares=[1.0], seed=seeds)
        return [step.z for step in move.run([aim]).steps]

    def attending(self, method: str, strength: float) -> Tensor:
        """A stock sample with the strength inside attention."""
        tokens = self.latent.z[0, 0].numel() // 4
        if method == "text keys":
            spread = Spread("text", tokens, keys=strength)
        else:
            values = 1 + 0.15 * (1 - strength) if method.endswith("values") else 1.0
            spread = Spread("reference", tokens, keys=1 + 0.4 * (1 - strength), values=values)
        with spread:
            return self.moved(stock())[0]

    def half_blind(self, method: str) -> Tensor:
        """A stock sample that sees less of the image on two levels."""
        first = 4 if method.endswith("5 and 6") else 0
        weight = 0.5 if method.startswith("half") else 0.0
        model, levels = self.model, self.latent.path(STEPS).levels
        seeds = self.batch.seeds(self.seed)
        edit = Edit(name=SDEdit.name, latent=self.latent, target=self.instructed, strength=1.0, seed=seeds)
        z = edit.noised(levels[0])
        for index, (s, s_next) in enumerate(itertools.pairwise(levels)):
            at = torch.full((len(z),), s)
            if index in (first, first + 1):
                v = model.velocity(z, at, self.instructed.guided_by_image(weight) if weight else self.captions)
            else:
                v = model.velocity(z, at, self.instructed)
            z = z + (s_next - s) * v
        return z


def stock() -> SDEdit:
    """The way of the stock pipeline: a sample next to the image."""
    return SDEdit(level=1.0, guidance=1.0, steps=STEPS)


def edits(method: str, task: Task, strengths: Sequence[float]) -> dict[float, Tensor]:
    """The edited latents at each strength."""
    if method == TODAY:
        editor: Any = make_editor(EIM.name, task.model, instructed=True)
        return dict(zip(strengths, task.moved(editor, strengths), strict=True))
    if method in WEAK:
        return {1.0: task.half_blind(method)}
    if method == "veloedit":
        editor = VeloEdit(steps=STEPS)
        return dict(zip(strengths, task.moved(editor, strengths), strict=True))
    if method == "start":
        return {a: task.moved(stock(), (a,))[0] for a in strengths if a <= 1}
    if method == "cross-fade":
        x, (full,) = task.latent.z, task.moved(stock())
        return {a: x + a * (full - x) for a in strengths}
    return {a: task.attending(method, a) for a in strengths}


@torch.no_grad()
def measured(
    model: Backbone, items: tuple[Item, ...], method: str, seed: int, strengths: Sequence[float]
) -> list[dict[str, Any]]:
    """A row for each item and strength."""
    batch = prepare(model, items)
    latent = encode_frames(model, batch.latent.frames, instructed=True)
    instructed = latent.embed_with_references(tuple(map(instruction, items)))
    captions = model.embed([item.target_caption for item in items])
    task = Task(model=model, batch=batch, latent=latent, instructed=instructed, captions=captions, seed=seed)
    start = time.process_time()
    with model.count() as spent:
        found = edits(method, task, strengths)
    seconds = time.process_time() - start
    rows: list[dict[str, Any]] = []
    for strength, z in found.items():
        dropped = dropped_residual(min(strength, 1.0), 1.0)
        scores = scores_of(model, batch, z, dropped, local=True)
        rows += [
            {"item": item.id, "group": item.group, "method": method, "seed": seed, "strength": strength}
            | {name: float(scores[name][index]) for name in MEASURES}
            | {"evaluations": spent.evaluations / len(items), "cpu_seconds": seconds / len(items)}
            for index, item in enumerate(items)
        ]
    return rows


def leakage_at(walk: pd.DataFrame, effect: float) -> float:
    """The leakage where the effect first passes a value on the way from no edit; nan where it never does."""
    walk = walk.sort_values("strength")
    effects, leakages = (np.concatenate([[0.0], walk[name].to_numpy(float)]) for name in ("effect", "leakage"))
    passed = np.flatnonzero(effects >= effect)
    if not len(passed):
        return float("nan")
    at = passed[0]
    return float(np.interp(effect, effects[at - 1 : at + 1], leakages[at - 1 : at + 1]))


def compared(rows: pd.DataFrame) -> dict[str, Any]:
    """Means by method and strength, leakage at equal effect, and its ratios to today's way and the best single one."""
    key = ["group", "item", "seed"]
    methods = [name for name in (TODAY, *SINGLE, *INSIDE) if name in set(rows["method"])]
    table, level = list[dict[str, Any]](), dict[str, dict[float, pd.Series]]()
    for method in methods:
        own = rows[rows["method"] == method]
        walks = own.groupby(key)
        level[method] = {e: walks.apply(lambda walk, e=e: leakage_at(walk, e)) for e in EFFECTS}
        effects = own.pivot_table(index=key, columns="strength", values="effect")
        steps = np.diff(effects[[a for a in effects if a <= 1]].to_numpy(float), axis=1)
        row: dict[str, Any] = {"method": method, "rises": float((steps > 0).mean())}
        row |= {"evaluations": float(own["evaluations"].mean()), "cpu_seconds": float(own["cpu_seconds"].mean())}
        for name in MEASURES:
            row[name] = {f"{strength:.2f}": float(some[name].mean()) for strength, some in own.groupby("strength")}
        row["leakage at"] = {f"{e:.2f}": plain(over_groups(level[method][e])) for e in EFFECTS}
        row["reached"] = {f"{e:.2f}": int(level[method][e].notna().sum()) for e in EFFECTS}
        table.append(row)
    single = min((name for name in SINGLE if name in level), key=lambda name: float(level[name][0.5].mean()))
    for row in table:
        for name, other in (("to today's", TODAY), ("to the best single", single)):
            row[name] = {f"{e:.2f}": ratio_of(level[row["method"]][e], level[other][e]) for e in EFFECTS}
    full = rows[rows["strength"] == 1].set_index([*key, "method"])
    base = full.xs("cross-fade", level="method")
    weak = list[dict[str, Any]]()
    for method in (name for name in WEAK if name in set(rows["method"])):
        own = full.xs(method, level="method")
        less = {f"{name} less": plain(over_groups(own[name] - base[name])) for name in ("effect", "error")}
        weak.append({"method": method} | {name: float(own[name].mean()) for name in MEASURES} | less)
    return {"best single": single, "rows": table, "weak": weak}


def ratio_of(own: pd.Series, other: pd.Series) -> dict[str, float]:
    """The ratio of leakages over the walks that both have."""
    both = pd.DataFrame({"own": own, "other": other}).dropna()
    return plain(ratio_over_groups(both["own"], both["other"])) | {"walks": len(both)}


def plain(found: Any) -> dict[str, float]:
    """A number with its interval."""
    return {"mean": found.mean, "low": found.low, "high": found.high}


def main() -> None:
    """Measure what is missing, then compare."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=Path, required=True, help="finished rows, one JSON object a line")
    options.add_argument("--output", type=Path, help="the comparison")
    options.add_argument("--only", nargs="*", default=(TODAY, *SINGLE, *INSIDE, *WEAK), help="methods to run")
    options.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    chosen = options.parse_args()
    chosen.rows.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in chosen.rows.read_text().splitlines()] if chosen.rows.exists() else []
    finished = {(row["method"], row["seed"]) for row in done}
    candidates = [item for item in counterfactual("portraits", "test", draw=DRAW).items if item.about["requested"]]
    items = tuple({item.group: item for item in reversed(candidates)}.values())[::-1][:IMAGES]
    model = load(MODEL)
    for seed in chosen.seeds:
        for method in chosen.only:
            if (method, seed) not in finished:
                rows = measured(model, items, method, seed, STRENGTHS)
                done += rows
                with chosen.rows.open("a") as file:
                    file.write("".join(json.dumps(row) + "\n" for row in rows))
    if chosen.output:
        command = shlex.join(["python", "research/benchmarks/attention_strength.py", *sys.argv[1:]])
        about = {"command": command, "model": MODEL, "images": len(items), "seeds": list(chosen.seeds)}
        write_text(chosen.output, json.dumps(about | compared(pd.DataFrame(done)), indent=1) + "\n")


if __name__ == "__main__":
    main()
