"""The ranking on flat portraits beside that on lit scenes: writes ``results/worlds.json`` and .md.

    python benchmarks/worlds.py

Reads what `all_results.py` keeps of the runs "every" and "scenes", and runs nothing. Plan, written before there were
numbers on scenes: methods are ranked by their error above the codec's on each world. A pair of methods changes places
where its paired difference, with its interval, lies on one side of 0 on the one world and on the other side on the
other; all others keep their order or are undecided. Kendall's tau says how alike the rankings are; control: that of
two draws of the items of one world. Control of the side effects: the right answer through the codec, which would have
all of them. Beside the ranking stand the contrasts, on scenes also by what is asked for: the error without a part less
the error with it, above 0 where the part helps. They were to be differences to the row `eim`; when its guidance was
seen to have been chosen badly, they became what stands here: the parts of FlowEdit's path, switched at equal settings
of which none was tuned on scenes, and tuned rows beside the search that they were tuned from.
"""

import argparse
import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from results import RESULTS, save, table
from scipy.stats import kendalltau

from latentedit_bench.metrics.statistics import (
    Estimate,
    decide,
    drawn_weights,
    group_members,
    over_groups,
    pair_differences,
)
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.parts import effect_by_item
from latentedit_bench.tuning.search_spaces import ROLES

WORLDS = {"portraits": "every", "scenes": "scenes"}
"""World to the run on it."""

ASKED = {
    "objects": ("left_", "middle_", "right_"),
    "floor and wall": ("floor_", "wall_"),
    "light": ("lamp_", "time"),
    "camera": ("camera",),
}
"""What is asked for of a scene, by how its attributes begin; light and camera change every pixel."""

DRAWS = 200
"""Of the items, by which the control of the rank correlation is taken."""

BASE = "path + keep + local + release"
"""The search from which the rows of the Hessian and of the joint arm were tuned on, as it was."""

TUNED = {"Hessian, tuned": "eim gamma", "Newton, tuned": "eim newton", "joint arm, tuned": "eim joint"}
"""Part to the row that has it; its other settings were tuned too, so what it gives is at most the difference."""


def main() -> None:
    """Compare, and write."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    above = {world: _above(run) for world, run in WORLDS.items()}
    both = [name for name in above["portraits"] if name in above["scenes"] and _is_ranked(name)]
    parts, above = above, {world: found[both] for world, found in above.items()}
    told = {world: pd.read_csv(RESULTS / "benchmark" / run / "summary.csv") for world, run in WORLDS.items()}
    ranks = {world: found.mean().rank(method="min").astype(int) for world, found in above.items()}
    ranking = {
        name: {
            world: dataclasses.asdict(over_groups(above[world][name])) | {"rank": int(ranks[world][name])}
            for world in WORLDS
        }
        | {"effect": _of(told["scenes"], name, "effect"), "side effects": _of(told["scenes"], name, "side_effect")}
        for name in sorted(both, key=lambda name: ranks["scenes"][name])
    }
    content: dict[str, Any] = {
        "items": {world: len(found) for world, found in above.items()},
        "rank correlation": rank_correlation(above["portraits"], above["scenes"]),
        "pairs": pairs(above["portraits"], above["scenes"]),
        "codec side effects": _of(told["scenes"], CODEC, "side_effect"),
        "contrasts": {
            part: {where: dataclasses.asdict(found) for where, found in by_part.items()}
            for part, by_part in contrasts(parts).items()
        },
        "ranking": ranking,
    }
    save(RESULTS / "worlds", content, list(_lines(content)))


def rank_correlation(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, float]:
    """Kendall's tau of the mean errors on two worlds, and of those of two draws of the items of each."""
    worlds = dict(zip(WORLDS, (first, second), strict=True))
    again = {
        world: [_tau(a, b) for a, b in itertools.pairwise(_draws(errors)[:DRAWS])] for world, errors in worlds.items()
    }
    return {"between": _tau(first.mean(), second.mean())} | {
        name: float(np.mean(found)) for name, found in again.items()
    }


def _tau(first: Any, second: Any) -> float:
    return float(kendalltau(first, second).statistic)


def pairs(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    """How many pairs of methods are in one order on both worlds, and which are in the other on the second."""
    found = [pair_differences(one) for one in (first, second)]
    counts = dict.fromkeys(("same", "reversed", "undecided"), 0)
    reversed_ones: list[dict[str, Any]] = []
    for names in itertools.combinations(first.columns, 2):
        verdicts = {decide(one[names]) for one in found}
        kind = "undecided" if "undecided at this size" in verdicts else "same" if len(verdicts) == 1 else "reversed"
        counts[kind] += 1
        if kind == "reversed":
            better, worse = names if decide(found[0][names]) == "holds" else names[::-1]
            sign = 1 if (better, worse) == names else -1
            told = {world: sign * one[names].mean for world, one in zip(WORLDS, found, strict=True)}
            reversed_ones.append({"better on portraits": better, "better on scenes": worse, **told})
    return {**counts, "which": sorted(reversed_ones, key=lambda one: one["scenes"])}


def contrasts(above: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, Estimate]]:
    """Of each part the error without it less the error with it, by world and on scenes by what is asked."""
    names = sorted(set().union(*ROLES.parts.values()))
    found: dict[str, dict[str, Estimate]] = {}
    for world, errors in above.items():
        less = {name: -effect_by_item(errors, ROLES.parts, (name,)) for name in names}
        less |= {part: errors[BASE] - errors[row] for part, row in TUNED.items()}
        for part, difference in less.items():
            whole = found.setdefault(part, {})
            whole[world] = over_groups(difference)
            for what, where in _asked(errors) if world == "scenes" else ():
                whole[f"scenes: {what}"] = over_groups(difference[where])
    return found


def _asked(errors: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    """What is asked for, and of which items; those that ask for several sorts are left out."""
    names = [str(asked).split(",") for asked in errors.index.get_level_values("asked")]
    for what, starts in ASKED.items():
        yield what, np.array([all(name.startswith(starts) for name in some) for some in names])


def _above(run: str) -> pd.DataFrame:
    errors = pd.read_csv(RESULTS / "benchmark" / run / "above.csv")
    return errors.set_index([name for name in ("group", "item", "asked") if name in errors])


def _is_ranked(name: str) -> bool:
    return name != CODEC and name not in ROLES.parts and name not in ROLES.apart


def _draws(errors: pd.DataFrame) -> np.ndarray:
    weights = drawn_weights(group_members(errors), np.random.default_rng(0))
    return weights @ errors.to_numpy(float) / weights.sum(1, keepdims=True)


def _of(summary: pd.DataFrame, method: str, measure: str) -> dict[str, float]:
    found = summary[(summary["method"] == method) & (summary["measure"] == measure)].iloc[0]
    return {name: float(found[name]) for name in ("mean", "low", "high")} | {"pictures": int(found["pictures"])}


def _lines(content: Mapping[str, Any]) -> Iterator[str]:
    def text(found: Mapping[str, float]) -> str:
        return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"

    tau, counts = content["rank correlation"], content["pairs"]
    yield (
        f"Kendall's tau of the two rankings: {tau['between']:.2f}; of two draws of the items of one world: "
        + ", ".join(f"{tau[world]:.2f} ({world})" for world in WORLDS)
        + ". Pairs of methods: "
        + ", ".join(f"{counts[kind]} {kind}" for kind in ("same", "reversed", "undecided"))
        + "."
    )
    yield f"Side effects of the codec alone: {text(content['codec side effects'])}."
    yield ""
    head = [
        "method",
        "rank on scenes",
        "on portraits",
        "above the codec, scenes",
        "portraits",
        "effect",
        "side effects",
    ]
    yield from table(
        head,
        [
            [name, *(str(one[world]["rank"]) for world in reversed(WORLDS))]
            + [text(one[what]) for what in ("scenes", "portraits", "effect", "side effects")]
            for name, one in content["ranking"].items()
        ],
    )
    where = [*WORLDS, *(f"scenes: {what}" for what in ASKED)]
    yield from table(
        ["error without less with", *where],
        [[part, *(text(found[one]) for one in where)] for part, found in content["contrasts"].items()],
    )


if __name__ == "__main__":
    main()
