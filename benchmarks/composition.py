"""Several changes at once: does mixing lower their cross-talk?

Eight changes of a portrait, each direction found by itself, all pairs of them composed; the rendered truths are t_i
(one change) and t_ij (both), as displacements of encoded renders.

    effects      of a displacement: its least-squares coefficients on t_i and t_j, (1, 0) for t_i itself
    cross-talk   |effect on j| when only i is asked for, and the other way round, mean of the two
    projection   the same with <x, t_j> / <t_j, t_j> in place of the least-squares coefficient
    error        of the composition at (1, 1) to t_ij, of no edit 1

"together" is no composition: one search for both changes at once, at half the evaluations.

    python benchmarks/composition.py       writes results/composition.{json,md} from the test split
"""

import argparse
import dataclasses
import itertools
import random
import sys

import numpy as np
import torch
from edit_errors import Watch, cell, described, save, table
from edit_pairs import Pair, encode_all
from jaxtyping import Float
from torch import Tensor

from latentedit.api.verbs import load
from latentedit.core.types import Condition
from latentedit.directions.base import Direction
from latentedit.directions.composition import Mixing, compose
from latentedit.editors.eim import EIM
from latentedit.editors.registry import make_editor
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit_portraits.attributes import NONE, VALUES, Attributes, Split, draw_split
from latentedit_portraits.render import counterfactual

FIELDS = ("accessory", "facial_hair", "mouth", "eyes", "eyebrows", "hair_color", "clothes_color", "background")
MIXINGS: tuple[Mixing, ...] = ("sum", "inverse", "projection")

Rows = Float[Tensor, "b *latent"]


def draw_changes(split: Split, portraits: int, seed: int) -> list[tuple[Attributes, list[dict[str, str]]]]:
    """Portraits with one new value of each of ``FIELDS``."""
    generator = random.Random(f"composition/{split}/{seed}")
    pool = draw_split(split, 40 * portraits, seed)
    fit = [item for item in pool if item.accessory == NONE and item.facial_hair == NONE and item.hair != "bald"]
    fixed = {"accessory": "glasses", "facial_hair": "beard"}
    return [
        (
            item,
            [
                {
                    field: fixed.get(field)
                    or generator.choice([value for value in VALUES[field] if value not in (NONE, getattr(item, field))])
                }
                for field in FIELDS
            ],
        )
        for item in fit[:portraits]
    ]


def inner(a: Rows, b: Rows) -> Float[Tensor, " b"]:
    """The inner product of each pair of rows."""
    return (a.double() * b.double()).flatten(1).sum(1)


def effects(moved: Rows, first: Rows, second: Rows) -> Float[Tensor, "b 2"]:
    """Least-squares coefficients on two truths."""
    gram = torch.stack([torch.stack([inner(a, b) for b in (first, second)], 1) for a in (first, second)], 1)
    return torch.linalg.solve(gram, torch.stack([inner(moved, first), inner(moved, second)], 1))


def one(direction: Direction, z: Rows) -> Direction:
    """The same direction with other displacements, for all rows."""
    tokens, pooled = direction.condition.tokens[:1], direction.condition.pooled[:1]
    return dataclasses.replace(direction, z=z, condition=Condition(tokens=tokens, pooled=pooled))


def searched(editor: EIM, latent: JointLatent, target: Condition, size: int = 24) -> Direction:
    """The editor's directions, in parts."""
    parts: list[Direction] = []
    for start in range(0, len(latent), size):
        rows = slice(start, start + size)
        part = JointLatent(
            backbone=latent.backbone,
            z=latent.z[rows],
            condition=latent.condition[rows],
            captions=latent.captions[rows],
        )
        parts.append(editor.direction(part, target[rows], seed=0))
    return one(parts[0], torch.cat([part.z for part in parts]))


def results(model: Backbone, portraits: int, watch: Watch) -> dict[str, dict[str, np.ndarray]]:
    """Every measure of every mixing, one number a composition; and what the compositions are."""
    editor = make_editor("eim", model)
    assert isinstance(editor, EIM)
    drawn = draw_changes("test", portraits, seed=4)
    singles = [
        Pair(change=next(iter(change)), source=item, truth=counterfactual(item, change))
        for item, changes in drawn
        for change in changes
    ]
    batch = encode_all(model, singles)
    watch("encoded")
    direction = searched(editor, batch.latent, batch.target)
    watch("searched")
    pairs = [(p, i, j) for p in range(portraits) for i, j in itertools.combinations(range(len(FIELDS)), 2)]
    doubles = [
        Pair(
            change=f"{FIELDS[i]} and {FIELDS[j]}",
            source=drawn[p][0],
            truth=counterfactual(drawn[p][0], drawn[p][1][i] | drawn[p][1][j]),
        )
        for p, i, j in pairs
    ]
    both = encode_all(model, doubles)
    truth = both.truth_z - both.latent.z
    first = torch.tensor([p * len(FIELDS) + i for p, i, _ in pairs])
    second = torch.tensor([p * len(FIELDS) + j for p, _, j in pairs])
    t = batch.truth_z - batch.latent.z
    ti, tj = t[first], t[second]
    di, dj = (one(direction, direction.z[index]) for index in (first, second))
    together = searched(editor, both.latent, both.target).z
    watch("searched together")

    def measure(only_i: Rows | None, only_j: Rows | None, whole: Rows) -> dict[str, np.ndarray]:
        found = {"error": (inner(whole - truth, whole - truth) / inner(truth, truth)).numpy()}
        if only_i is not None and only_j is not None:
            off = (effects(only_i, ti, tj)[:, 1].abs() + effects(only_j, ti, tj)[:, 0].abs()) / 2
            along = (inner(only_i, tj) / inner(tj, tj)).abs() + (inner(only_j, ti) / inner(ti, ti)).abs()
            found |= {"cross-talk": off.numpy(), "projection": (along / 2).numpy()}
        return found

    made = {
        mixing: measure(*(compose([di, dj], list(s), mixing).z for s in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))))
        for mixing in MIXINGS
    }
    made["truth, summed"] = measure(ti, tj, ti + tj)
    made["together"] = measure(None, None, together)
    made["which"] = {"which": np.array([pair.change for pair in doubles])}
    return made


@torch.no_grad()
def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=8, help="28 pairs of changes each")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the network")
    arguments = parser.parse_args()
    model = load("portraits", dtype=getattr(torch, arguments.dtype))
    watch, before = Watch(model), model.evaluations
    made = results(model, arguments.portraits, watch)
    which = made.pop("which")["which"]
    gains = {
        mixing: {
            kind: described(made["sum"][kind] - made[mixing][kind]) for kind in ("cross-talk", "projection", "error")
        }
        for mixing in MIXINGS[1:]
    }
    content = {
        "command": " ".join(["python", "benchmarks/composition.py", *sys.argv[1:]]),
        "model": model.fingerprint,
        "dtype": arguments.dtype,
        "pairs": len(which),
        "evaluations": model.evaluations - before,
        "seconds": watch.seconds,
        "measures": {name: {kind: described(values) for kind, values in row.items()} for name, row in made.items()},
        "sum minus mixed": gains,
    }
    rows = [
        [name, *(cell(described(row[kind])) if kind in row else "" for kind in ("cross-talk", "projection", "error"))]
        for name, row in made.items()
    ]
    lines = table(["composition", "cross-talk", "by projection", "error of both"], rows)
    lines += ["Sum minus mixed, paired over compositions (positive: mixing is better):", ""]
    lines += table(
        ["mixing", "cross-talk", "by projection", "error of both"],
        [[mixing, *(cell(gains[mixing][kind]) for kind in ("cross-talk", "projection", "error"))] for mixing in gains],
    )
    talk = made["sum"]["cross-talk"]
    most = sorted({name: talk[which == name].mean() for name in which}.items(), key=lambda item: -item[1])[:6]
    lines.append("Most cross-talk of the sum: " + ", ".join(f"{name} {value:.3f}" for name, value in most) + ".")
    save("composition", content, lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
