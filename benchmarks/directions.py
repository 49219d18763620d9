"""Directions that nobody named: are those of a local basis purer than random ones, and what moves along them best?

On portraits of the test split, under no text on the way up and back, at three levels; each claim is a difference
between two ways on the same pictures, with its bootstrap interval over pictures.

    purity        share of the change in the attribute that changes most, as the attribute reader sees it over the
                  scales -2, -1, 1 and 2, mean over those of the first directions of the basis that change any
                  attribute enough to be named; against random directions of equal length (the same norm at the same
                  level) and of equal effect (each as long as it takes to move the clean latent as much, up to the norm
                  of the noise at that level; the effects reached are told)
    moves         x-space guidance against direct addition along the same directions at equal effect: off-manifold
                  residual (the judge's, without text), error of a round trip through the codec, and attributes read
                  otherwise beside the leading one
    prompt        bases under a prompt (the full caption with one attribute changed) against those under no text, at
                  equal effect and in the better sign of each direction: gain in probability of the prompted value,
                  gain in the text-conditioned loss, and the share of the rendered truth's displacement that lies in
                  the span

    python benchmarks/directions.py     writes results/geometry/directions.{json,md} after every picture, and goes on
                                        from there when it is started again with the same settings
"""

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from edit_errors import RESULTS, cell, decide, described, plain, table
from edit_pairs import CHANGES, Pair, draw_pairs

from latentedit.api.discovery import SCALES, Walked, probability_reader, walk_all
from latentedit.api.naming import ProbabilityReader
from latentedit.api.verbs import load
from latentedit.directions.at_level import clean_share, random_direction
from latentedit.directions.local_basis import LocalBasis, local_basis
from latentedit.editors.judge import Judge
from latentedit.editors.walks.latent_walk import LatentWalk
from latentedit.editors.walks.step_length import Walk, step_lengths
from latentedit.latents.encode import encode
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_names
from latentedit_portraits.captions import full_caption
from latentedit_portraits.render import render

LEVELS = (0.5, 0.7, 0.9)
REPEATS = 4
"""Of x-space guidance; each costs two evaluations."""

FEWEST = 6
"""Pictures below which an interval decides nothing: of fewer, all may differ to one side by chance (1 in 32)."""

Row = dict[str, Any]

CLAIMS = {
    "strong": (
        "the basis changes more attributes than random directions of equal length",
        "change",
        "change, equal length",
    ),
    "purer, equal length": (
        "the basis is purer than random directions of equal length",
        "purity",
        "purity, equal length",
    ),
    "purer, equal effect": (
        "the basis is purer than random directions of equal effect",
        "purity",
        "purity, equal effect",
    ),
    "guidance, residual": (
        "x-space guidance stays closer to the manifold than addition",
        "residual, addition",
        "residual, guidance",
    ),
    "guidance, codec": (
        "x-space guidance stays closer to what the codec knows than addition",
        "codec error, addition",
        "codec error, guidance",
    ),
    "guidance, others": (
        "x-space guidance changes fewer other attributes than addition",
        "others, addition",
        "others, guidance",
    ),
    "prompt, value": (
        "a prompted basis raises the prompted value's probability more",
        "gain, prompt",
        "gain, no text",
    ),
    "prompt, loss": ("a prompted basis lowers the loss under the prompt more", "fit, prompt", "fit, no text"),
    "prompt, span": (
        "a prompted basis spans more of the true displacement",
        "span, prompt",
        "span, no text",
    ),
}
"""What is claimed, and two columns of which the first is larger where it is true."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A portrait, what is prompted for, and where it is looked at."""

    model: Backbone
    reader: ProbabilityReader
    pair: Pair
    latent: JointLatent
    level: float
    rank: int
    site: str | None

    @property
    def judge(self) -> Judge:
        return Judge.of(self.model)

    def basis(self, prompt: str) -> LocalBasis:
        return local_basis(self.latent, site=self.site, rank=self.rank, level=self.level, prompt=prompt)

    def walked(self, basis: LocalBasis, move: LatentWalk | None = None) -> list[Walked]:
        """Along the directions of a basis at equal effect."""
        walk = Walk(latent=self.latent, trace=basis.trace, move=move or LatentWalk())
        return walk_all(walk, basis.v, step_lengths(walk, basis.v).length, what="walk")


def changed(walked: Walked) -> float:
    """Total variation summed over the attributes."""
    return sum(walked.meaning.changes.values())


def mean(values: Sequence[float]) -> float:
    """Of those that are numbers; nan where none is."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def purity_columns(case: Case, basis: LocalBasis, found: list[Walked]) -> Row:
    """The basis against random directions."""
    walk = Walk(latent=case.latent, trace=basis.trace)
    drawn = [random_direction(case.latent, level=basis.level, seed=0, index=index).z for index in range(case.rank)]
    units = torch.cat(drawn) * clean_share(basis.level)
    same = torch.tensor([one.length for one in found], dtype=torch.float64)
    short = walk_all(walk, units, same, what="random")
    long = walk_all(walk, units, step_lengths(walk, units).length, what="random")
    return {
        "purity": mean([one.meaning.purity for one in found]),
        "purity, equal length": mean([one.meaning.purity for one in short]),
        "purity, equal effect": mean([one.meaning.purity for one in long]),
        "change": mean([changed(one) for one in found]),
        "change, equal length": mean([changed(one) for one in short]),
        "change, equal effect": mean([changed(one) for one in long]),
        "effect": mean([one.effect for one in found]),
        "effect, equal length": mean([one.effect for one in short]),
        "effect, equal effect": mean([one.effect for one in long]),
        "named": mean([float(bool(one.meaning.attribute)) for one in found]),
        "named, equal effect": mean([float(bool(one.meaning.attribute)) for one in long]),
    }


def quality(case: Case, found: list[Walked]) -> dict[str, float]:
    """At scales -1 and 1: residual, error of a round trip through the codec, other attributes read otherwise."""
    model, sides = case.model, [SCALES.index(-1), SCALES.index(1)]
    z = torch.cat([one.z[sides] for one in found])
    text = case.latent.condition
    losses = case.judge.losses(model, z, (text.expand(len(z)),) * 2, seed=0)[0]
    source = case.judge.losses(model, case.latent.z, (text, text), seed=0)[0]
    again = model.encode(model.decode(z).clamp(-1, 1))
    before = case.reader.probabilities(case.latent.frames[0].pixels[None])
    others: list[float] = []
    for one in found:
        after = case.reader.probabilities(one.pictures[sides])
        differs = [after[n].argmax(1) != before[n].argmax(1) for n in before if n != one.meaning.attribute]
        others += torch.stack(differs).sum(0).double().tolist()
    return {
        "residual": float((losses / source).mean()),
        "codec error": float((again - z).flatten(1).square().mean(1).sqrt().mean()),
        "others": mean(others),
        "effect": mean([one.effect for one in found]),
    }


def towards(case: Case, basis: LocalBasis, found: list[Walked]) -> dict[str, float]:
    """How far the better sign of each direction goes towards the prompt, and what of the truth the basis spans."""
    pair, sides = case.pair, [SCALES.index(-1), SCALES.index(1)]
    wanted = case.reader.values[pair.target].index(getattr(pair.truth, pair.target))
    pixels = torch.cat([case.latent.frames[0].pixels[None], *(one.pictures[sides].cpu() for one in found)])
    p = case.reader.probabilities(pixels)[pair.target][:, wanted].double().cpu()
    gains = (p[1:] - p[0]).unflatten(0, (len(found), 2)).amax(1)
    text = case.model.embed([full_caption(pair.truth)])
    z = torch.cat([case.latent.z, *(one.z[sides] for one in found)])
    losses = case.judge.losses(case.model, z, (text.expand(len(z)),) * 2, seed=0)[0].double().cpu()
    fits = (1 - losses[1:] / losses[0]).unflatten(0, (len(found), 2)).amax(1)
    truth = encode(case.model, render(pair.truth), caption="").z - case.latent.z
    v = basis.v.flatten(1).double()
    span = (v @ truth.flatten().double()).square().sum() / truth.double().square().sum()
    return {"gain": float(gains.mean()), "fit": float(fits.mean()), "span": float(span)}


@torch.no_grad()
def measure(case: Case) -> Row:
    """Everything about one portrait at one level."""
    started, before = time.perf_counter(), case.model.evaluations
    free = case.basis("")
    found = case.walked(free)
    row = purity_columns(case, free, found)
    guided = case.walked(free, LatentWalk(move="guidance", repeats=REPEATS))
    for move, walked in (("addition", found), ("guidance", guided)):
        row |= {f"{name}, {move}": value for name, value in quality(case, walked).items()}
    prompted = case.basis(full_caption(case.pair.truth))
    for text, basis, walked in (("prompt", prompted, case.walked(prompted)), ("no text", free, found)):
        row |= {f"{name}, {text}": value for name, value in towards(case, basis, walked).items()}
    spent = {"evaluations": case.model.evaluations - before, "seconds": time.perf_counter() - started}
    return row | spent | {"products": free.products + prompted.products, "names": [one.meaning.name for one in found]}


def summary(rows: Sequence[Row]) -> Row:
    """Means and claims of one model, by level."""
    found: Row = {}
    for level in sorted({row["level"] for row in rows}):
        mine = [row for row in rows if row["level"] == level]
        columns = [name for name, value in mine[0].items() if not isinstance(value, str | list)]
        found[f"{level:g}"] = {
            "means": {name: described([number(row[name]) for row in mine]) for name in columns},
            "claims": {name: verdict(mine, *columns) for name, (_, *columns) in CLAIMS.items()},
        }
    return found


def number(value: float | None) -> float:
    """JSON has null for nan."""
    return math.nan if value is None else float(value)


def verdict(rows: Sequence[Row], larger: str, smaller: str) -> Row:
    """The difference that a claim says is positive, paired by picture."""
    differences = np.array([number(row[larger]) - number(row[smaller]) for row in rows])
    told, known = described(differences), int(np.isfinite(differences).sum())
    word = {"fails": "does not hold"}.get(decide(told), decide(told)) if known >= FEWEST else "undecided"
    return {**told, "pairs": known, "verdict": word}


def write(content: Row) -> None:
    """The JSON with every row, and the tables."""
    folder = RESULTS / "geometry"
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "directions.json"
    beside = place.with_suffix(".tmp")
    beside.write_text(json.dumps(plain(content), indent=1) + "\n", encoding="utf-8")
    beside.replace(place)
    lines = [f"`{content['command']}`", ""]
    for name, model in content["models"].items():
        rows, levels = model["rows"], model["summary"]
        spent = sum(row["evaluations"] for row in rows), sum(row["seconds"] for row in rows)
        lines += [f"## {name}", ""]
        cost = f"{model['pictures']} pictures, {spent[0]} evaluations, {spent[1]:.0f} s"
        made = f"model {model['fingerprint']}, {content['dtype']}"
        lines += [f"{cost}; site {model['site']}; {made}; {content['rank']} directions of each basis.", ""]
        lines += table(["claim", *(f"level {level}" for level in levels)], claim_cells(levels))
        lines += table(["mean", *(f"level {level}" for level in levels)], mean_cells(levels))
    (folder / "directions.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def claim_cells(levels: Mapping[str, Row]) -> list[list[str]]:
    """A row a claim: the difference at each level, and whether the claim holds."""
    return [
        [says, *(f"{cell(row['claims'][name])} {row['claims'][name]['verdict']}" for row in levels.values())]
        for name, (says, *_) in CLAIMS.items()
    ]


def mean_cells(levels: Mapping[str, Row]) -> list[list[str]]:
    """A row a column."""
    hidden = {"level", "picture", "evaluations", "seconds"}
    names = [name for name in next(iter(levels.values()))["means"] if name not in hidden]
    return [[name, *(cell(row["means"][name]) for row in levels.values())] for name in names]


def earlier(settings: Row) -> Row:
    """What an earlier run with these settings has found out."""
    place = RESULTS / "geometry" / "directions.json"
    if not place.is_file():
        return {}
    told = json.loads(place.read_text(encoding="utf-8"))
    return told["models"] if {name: told.get(name) for name in settings} == plain(settings) else {}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=bundled_names(), help="by default all that are there")
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--levels", type=float, nargs="*", default=LEVELS)
    parser.add_argument("--rank", type=int, default=3, help="directions of a basis that are walked")
    parser.add_argument("--site", default=None, help="the model's own choice by default")
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"), help="of the network")
    arguments = parser.parse_args()
    settings = {
        "levels": arguments.levels,
        "rank": arguments.rank,
        "dtype": arguments.dtype,
        "site asked": arguments.site,
    }
    models = earlier(settings)
    content = {"command": " ".join(["python", "benchmarks/directions.py", *sys.argv[1:]]), **settings, "models": models}
    pairs = [row[i % len(CHANGES)] for i, row in enumerate(by_portrait(arguments.pictures))]
    for name in arguments.models:
        model = load(name, dtype=getattr(torch, arguments.dtype))
        reader = probability_reader(model)
        assert reader is not None, f"{name} has no attribute reader"
        known = models.get(name, {})
        rows = known.get("rows", []) if known.get("fingerprint") == model.fingerprint else []
        models[name] = {"fingerprint": model.fingerprint, "site": arguments.site or model.default_site, "rows": rows}
        for index, pair in enumerate(pairs):
            latent = encode(model, render(pair.source), caption="")
            for level in arguments.levels:
                if any((row["picture"], row["level"]) == (index, level) for row in rows):
                    continue
                case = Case(
                    model=model,
                    reader=reader,
                    pair=pair,
                    latent=latent,
                    level=level,
                    rank=arguments.rank,
                    site=arguments.site,
                )
                rows.append({"picture": index, "level": level, "prompted": pair.change, **measure(case)})
                spent = f"{rows[-1]['seconds']:.0f} s, {rows[-1]['evaluations']} evaluations"
                print(f"{name} {index + 1}/{len(pairs)} level {level}: {spent}", file=sys.stderr, flush=True)
            models[name] |= {"pictures": len({row["picture"] for row in rows}), "summary": summary(rows)}
            write(content)


def by_portrait(count: int) -> list[list[Pair]]:
    """The six changes of each portrait of the test split."""
    pairs = draw_pairs("test", count, seed=7)
    return [pairs[start : start + len(CHANGES)] for start in range(0, len(pairs), len(CHANGES))]


if __name__ == "__main__":
    main()
