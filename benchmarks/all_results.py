"""Everything that the pages tell of methods and claims, measured again by one command: ``make results``.

    python benchmarks/all_results.py [--items 480] [--only partial --only full] [--plan]

Tunes every method on the calibration split and stores the best settings with the model; edits some test items by every
method, by a few of them with other captions and at several strengths too, and all items by those that calibration left
in the race, with several seeds; some methods on the U-Net too; reproduces the claims, and writes what the pages take
from results. A step that is finished is not done again, and one that was stopped goes on: runs lie in out/results,
their tables are copied to results/benchmark. With --plan it says what all of it takes, and does nothing.
"""

import argparse
import dataclasses
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from results import RESULTS

from latentedit.models.placement import dtype_name, half_or_float32
from latentedit.models.registry import bundled_folder
from latentedit_bench.tuning.search_spaces import LOCAL, ROLES, SEARCH_SPACES, SearchSpace

RUNS = RESULTS.parent / "out" / "results"
TABLES = RESULTS / "benchmark"
TUNING = TABLES / "tuning.json"
MODEL = "portraits"

CALIBRATION = 24
"""Items of tuning, half of them with partial captions and half with full ones."""

SOME = 96
"""Items that every method edits, and that are edited with other captions and at several strengths."""

STRENGTHS = "0.5,1,1.1,1.25,1.5"

RIVALS = 3
"""So many editors that are not of our family go on to all items, as they are and with our locality: those whose rows
with it err least on the calibration items."""

NEAR = 1.5
"""A row of our family goes on where its error there is at most so many times the least."""

SHORT = ("eim", "eim, not local", "flowedit", "flowedit, local")
"""Rows that are also asked by full, paraphrased and wrong captions, and at several strengths; and the best rival's."""

UNET, ON_UNET = "portraits-unet", TABLES / "tuning-unet.json"

SCENES, ON_SCENES = "scenes", TABLES / "tuning-scenes.json"
"""The other world, with its model: every method, tuned and ranked by the same plan."""

TUNINGS = {"tune": (MODEL, TUNING), "tune-unet": (UNET, ON_UNET), "tune-scenes": (SCENES, ON_SCENES)}
"""Steps that tune: the model, and the file of what they find."""

YEAR = ("chordedit", "dvrf", "freesliders", "splitflow", "veloedit")
"""Editors that are tuned and ranked on the other kind of network too, with our locality, beside `eim` and FlowEdit with
it. What decides is the paired difference of the error above the codec to FlowEdit's."""

DTYPE = dtype_name(half_or_float32("cpu"))
"""Of the networks."""

SPEED = 178
"""Evaluations a second in bfloat16 on two cores, see results/throughput.md; in float32 on AVX2 they are 60."""

Step = tuple[str, list[str], int]
"""Name, words of the command, and evaluations at most."""


def main() -> None:
    """Do all steps, or say what they take."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--items", type=int, default=480, help="of the test split")
    options.add_argument("--only", action="append", help="a step; repeatable")
    options.add_argument("--plan", action="store_true", help="say what it takes, and do nothing")
    chosen = options.parse_args()
    found = [step for step in steps(chosen.items) if not chosen.only or step[0] in chosen.only]
    print(f"{'step':<14}{'evaluations':>14}{'minutes at most':>18}")
    for name, _, cost in found:
        print(f"{name:<14}{cost:>14,}{cost / SPEED / 60:>18.0f}")
    print("Rows that choose equal settings share their edits: the runs then take down to half of that.", flush=True)
    for name, words, _ in () if chosen.plan else found:
        if name in TUNINGS:
            _forget_another_model(*TUNINGS[name])
        print(f"\n{name}: {shlex.join(words)}", flush=True)
        subprocess.run(words, check=True, cwd=RESULTS.parent)
        if (RUNS / name).is_dir():
            keep_tables(RUNS / name, TABLES / name)


def steps(items: int) -> Iterator[Step]:
    """All of them, in their order."""
    dtype, told = ["--dtype", DTYPE], ["--items", str(items), "--dtype", DTYPE]
    tune = ["bench", "tune", "--items", str(CALIBRATION), "--store", "-o", _below(TUNING), *dtype]
    yield "tune", _latentedit(*tune), sum(_tuning_cost(one) for one in SEARCH_SPACES)
    racing, some = in_race(), ["--items", str(SOME), *dtype]
    short = [one for one in SEARCH_SPACES if one.name in {*SHORT, *_rows(rivals()[:1])}]
    yield "partial", _run("partial", racing, *told), _run_cost(racing, items)
    yield "every", _run("every", SEARCH_SPACES, *some), _run_cost(SEARCH_SPACES, SOME)
    yield "seeds", _run("seeds", racing, "--seeds", "2,3", *told), 2 * _run_cost(racing, items)
    for captions in ("full", "paraphrased", "wrong"):
        yield captions, _run(captions, short, "--captions", captions, *some), _run_cost(short, SOME)
    more = ["--strengths", STRENGTHS, "--beside", *some]
    at_all = (len(STRENGTHS.split(",")) + 2) * _run_cost(short, SOME)
    yield "strengths", _run("strengths", short, *more), at_all
    on_unet = [
        one for one in SEARCH_SPACES if one.name in {"eim", *(f"{name}, {LOCAL}" for name in ("flowedit", *YEAR))}
    ]
    items_unet = ["--items", str(CALIBRATION), "-o", _below(ON_UNET), "--model", UNET, *dtype]
    alone = sum(_tuning_cost(dataclasses.replace(one, local=False)) for one in on_unet)
    yield "tune-unet", [*_latentedit("bench", "tune"), *items_unet, *_named(on_unet)], alone
    yield "unet", _run("unet", on_unet, "--model", UNET, "--settings", _below(ON_UNET), *some), _run_cost(on_unet, SOME)
    there = [f"counterfactual-{SCENES}", "--model", SCENES, *dtype]
    tune = [*there, "--items", str(CALIBRATION), "--store", "-o", _below(ON_SCENES)]
    yield "tune-scenes", _latentedit("bench", "tune", *tune), sum(_tuning_cost(one) for one in SEARCH_SPACES)
    ranked = [*there, "--items", str(SOME), "--settings", _below(ON_SCENES)]
    yield "scenes", _run("scenes", SEARCH_SPACES, *ranked), _run_cost(SEARCH_SPACES, SOME)
    release = str(Path(__file__).with_name("release.py"))
    yield "release", [sys.executable, release, *told], 4 * 28 * items
    budgets = str(Path(__file__).with_name("budgets.py"))
    yield "budgets", [sys.executable, budgets, "--items", str(2 * SOME)], 2 * SOME * 2 * (16 + 28 + 56)
    yield "claims", _latentedit("reproduce", "--all", "-o", "results/claims"), 0
    yield "pages", ["make", "docs-text"], 0


def in_race() -> list[SearchSpace]:
    """The rows that edit all items."""
    errors = calibration_errors()
    near = NEAR * min(errors.values(), default=0.0)
    family = {name for name in ROLES.family if errors.get(name, 0.0) <= near}
    return [one for one in SEARCH_SPACES if one.name in family | _rows(rivals())]


def rivals() -> list[str]:
    """The editors that go on, the best first; before they are tuned the first ones of the list."""
    errors = calibration_errors()
    ranked = [one for one in SEARCH_SPACES if one.local and one.name not in {*ROLES.family, *ROLES.parts}]
    return [one.name.removesuffix(f", {LOCAL}") for one in sorted(ranked, key=lambda one: errors.get(one.name, 1.0))][
        :RIVALS
    ]


def calibration_errors() -> dict[str, float]:
    """The least error of each row that is tuned, before its gain."""
    known = json.loads(TUNING.read_text("utf-8"))["methods"] if TUNING.exists() else {}
    return {name: one["tried"][0]["score"] for name, one in known.items()}


def keep_tables(run: Path, place: Path) -> None:
    """Copy what a person reads of a run, its plan, and of each item the measure by which methods are ranked.

    Args:
        run: folder of a finished run.
        place: folder of the copies.
    """
    place.mkdir(parents=True, exist_ok=True)
    for path in sorted(run.iterdir()):
        if path.suffix in (".csv", ".md", ".png") and path.name not in ("rows.csv", "items.csv"):
            shutil.copyfile(path, place / path.name)
    plan = json.loads((run / "run.json").read_text("utf-8"))["plan"]
    (place / "plan.json").write_text(json.dumps(plan, indent=1) + "\n", "utf-8")
    items = pd.read_csv(run / "items.csv").pivot_table(
        index=["group", "item", "asked"], columns="method", values="above"
    )
    items.to_csv(place / "above.csv", float_format="%.4g", lineterminator="\n")


def _latentedit(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("latentedit")), *words]


def _below(path: Path) -> str:
    """As records name it, in which no folder of this machine belongs."""
    return path.relative_to(RESULTS.parent).as_posix()


def _rows(editors: Sequence[str]) -> set[str]:
    return {row for name in editors for row in (name, f"{name}, {LOCAL}")}


def _run(name: str, methods: Sequence[SearchSpace], *more: str) -> list[str]:
    named = [] if len(methods) == len(SEARCH_SPACES) else _named(methods)
    return _latentedit("bench", "run", "-o", _below(RUNS / name), *named, *more)


def _named(methods: Sequence[SearchSpace]) -> list[str]:
    return [word for one in methods for word in ("--method", one.name)]


def _run_cost(methods: Sequence[SearchSpace], items: int) -> int:
    """Parts that differ in locality alone always share their edits."""
    return items * sum(one.budget for one in methods if not (one.name in ROLES.parts and one.local))


def _tuning_cost(one: SearchSpace) -> int:
    """Twelve items for each candidate, the rest for a third of them, all for those that follow; what the row without
    locality has tried is known to the row with it."""
    first, third, following = len(one.candidates), -(-len(one.candidates) // 3), one.tries - len(one.candidates)
    twin = one.local and one.name not in ROLES.family
    known = 0 if twin else first * CALIBRATION // 2
    return one.budget * (known + third * CALIBRATION // 2 + max(0, following) * CALIBRATION)


def _forget_another_model(model: str, tuning: Path) -> None:
    """Settings of other weights are of no use; git has them."""
    fingerprint = json.loads((bundled_folder(model) / "latentedit.json").read_text("utf-8")).get("fingerprint")
    if tuning.exists() and json.loads(tuning.read_text("utf-8")).get("fingerprint") != fingerprint:
        tuning.unlink()


if __name__ == "__main__":
    main()
