"""Everything that the pages report of methods and claims, measured again by one command: ``make results``.

    python benchmarks/all_results.py [--only best --only full] [--plan]

Tunes every method on the calibration split and stores the best settings with the model; compares the best rows on both
worlds over five seeds; edits the same items by every row with one seed, by a few with other captions and at several
strengths, and some on the U-Net; reproduces the claims, and fills in the pages. A step that is finished is not done
again, and one that was stopped goes on: runs are in out/results, their tables are copied to results/benchmark. With
--plan it prints the cost of each step, and does nothing.
"""

import argparse
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
from latentedit_bench.tuning.search_spaces import BUDGET, LOCAL, OURS, ROLES, SEARCH_SPACES, SearchSpace

RUNS = RESULTS.parent / "out" / "results"
TABLES = RESULTS / "benchmark"
TUNING = {
    name: TABLES / f"tuning{end}.json" for name, end in (("portraits", ""), ("unet", "-unet"), ("scenes", "-scenes"))
}

CALIBRATION = 24
"""Items of tuning, half of them with partial captions and half with full ones."""

ITEMS = 96
"""Items of the test split."""

SEEDS = "31,32,33,34,35"
"""Of the comparisons; no setting was chosen with them."""

BEST = {
    "portraits": (OURS, "eim tuned", "flowedit, local", "dvrf, local", "flowedit"),
    "scenes": (OURS, "eim tuned", "flowedit, local", "flowslider, local", "ledits, local"),
}
"""Rows that are compared over `SEEDS`: ours as shipped and as tuned, FlowEdit, the best others of one seed."""

SHORT = ("eim tuned", "eim tuned, not local", "flowedit", "flowedit, local")
"""Rows that are also edited with full, paraphrased and wrong captions, and at several strengths."""

YEAR = ("chordedit", "dvrf", "freesliders", "splitflow", "veloedit")
"""Editors that are tuned and run on the U-Net too, with our locality, beside `eim tuned` and FlowEdit."""

DTYPE = dtype_name(half_or_float32("cpu"))
"""Of the networks."""

SPEED = 178
"""Evaluations a second in bfloat16 on two cores, see results/throughput.md; in float32 on AVX2 they are 60."""

Step = tuple[str, list[str], int]
"""Name, words of the command, and evaluations at most."""


def main() -> None:
    """Do all steps, or say what they take."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", action="append", help="a step; repeatable")
    options.add_argument("--plan", action="store_true", help="say what it takes, and do nothing")
    chosen = options.parse_args()
    found = [step for step in steps() if not chosen.only or step[0] in chosen.only]
    print(f"{'step':<14}{'evaluations':>14}{'minutes at most':>18}")
    for name, _, cost in found:
        print(f"{name:<14}{cost:>14,}{cost / SPEED / 60:>18.0f}", flush=True)
    for name, words, _ in () if chosen.plan else found:
        print(f"\n{name}: {shlex.join(words)}", flush=True)
        subprocess.run(words, check=True, cwd=RESULTS.parent)
        if (RUNS / name).is_dir():
            keep_tables(RUNS / name, TABLES / name)


def steps() -> Iterator[Step]:
    """All of them, in their order."""
    on_unet = [
        one for one in SEARCH_SPACES if one.name in {"eim tuned", *(f"{n}, {LOCAL}" for n in ("flowedit", *YEAR))}
    ]
    short = [one for one in SEARCH_SPACES if one.name in SHORT]
    yield _tune("tune", "portraits", SEARCH_SPACES)
    yield _tune("tune-scenes", "scenes", SEARCH_SPACES)
    yield _tune("tune-unet", "unet", on_unet)
    for name, world in (("best", "portraits"), ("best-scenes", "scenes")):
        yield name, _run(name, world, BEST[world], "--seeds", SEEDS), 5 * 5 * BUDGET * ITEMS
    for name, world in (("every", "portraits"), ("scenes", "scenes")):
        yield name, _run(name, world, (), "--seeds", "1"), _run_cost(SEARCH_SPACES)
    yield "unet", _run("unet", "unet", _names(on_unet), "--seeds", "1"), _run_cost(on_unet)
    for captions in ("full", "paraphrased", "wrong"):
        words = _run(captions, "portraits", SHORT, "--captions", captions, "--seeds", "1")
        yield captions, words, _run_cost(short)
    words = _run("strengths", "portraits", SHORT, "--strengths", "0.5,1,1.5", "--seeds", "1")
    yield "strengths", words, 3 * _run_cost(short)
    yield "claims", _latentedit("reproduce", "--all", "-o", "results/claims"), 0
    yield "pages", ["make", "docs-text"], 0


def keep_tables(run: Path, place: Path) -> None:
    """Copy the tables and the plan of a run, and of each item the measure by which methods are ranked.

    Args:
        run: folder of a finished run.
        place: folder of the copies.
    """
    place.mkdir(parents=True, exist_ok=True)
    for name in ("summary.csv", "comparisons.csv", "parts.csv", "attributes.csv", "curves.csv", "curves.png"):
        if (run / name).exists():
            shutil.copyfile(run / name, place / name)
    plan = json.loads((run / "run.json").read_text("utf-8"))["plan"]
    (place / "plan.json").write_text(json.dumps(plan, indent=1) + "\n", "utf-8")
    items = pd.read_csv(run / "items.csv").pivot_table(
        index=["group", "item", "asked"], columns="method", values="above"
    )
    items.to_csv(place / "above.csv", float_format="%.4g", lineterminator="\n")


def _tune(step: str, world: str, rows: Sequence[SearchSpace]) -> Step:
    """Settings of other weights are of no use; git has them."""
    model, tuning = _on(world)[-1], TUNING[world]
    fingerprint = json.loads((bundled_folder(model) / "latentedit.json").read_text("utf-8")).get("fingerprint")
    if tuning.exists() and json.loads(tuning.read_text("utf-8")).get("fingerprint") != fingerprint:
        tuning.unlink()
    words = ["tune", *_on(world), "--items", str(CALIBRATION), "-o", _below(tuning), "--dtype", DTYPE]
    words += ["--store"] if world != "unet" else []
    return step, _latentedit("bench", *words, *_methods(_names(rows), rows)), sum(_tuning_cost(one) for one in rows)


def _run(name: str, world: str, methods: Sequence[str], *more: str) -> list[str]:
    words = ["run", *_on(world), "--items", str(ITEMS), "--settings", _below(TUNING[world]), "--dtype", DTYPE]
    return _latentedit("bench", *words, "-o", _below(RUNS / name), *_methods(methods), *more)


def _on(world: str) -> list[str]:
    """The data and the model."""
    data = "counterfactual-scenes" if world == "scenes" else "counterfactual-portraits"
    return [data, "--model", "portraits-unet" if world == "unet" else world]


def _methods(names: Sequence[str], rows: Sequence[SearchSpace] = ()) -> list[str]:
    return [] if len(rows) == len(SEARCH_SPACES) else [word for name in names for word in ("--method", name)]


def _names(rows: Sequence[SearchSpace]) -> list[str]:
    return [one.name for one in rows]


def _latentedit(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("latentedit")), *words]


def _below(path: Path) -> str:
    """As records name it, in which no folder of this machine belongs."""
    return path.relative_to(RESULTS.parent).as_posix()


def _run_cost(methods: Sequence[SearchSpace]) -> int:
    """Parts that differ in locality alone always share their edits."""
    return ITEMS * sum(one.budget for one in methods if not (one.name in ROLES.parts and one.local))


def _tuning_cost(one: SearchSpace) -> int:
    """Twelve items for each candidate, the rest for a third of them, all for those that follow; what the row without
    locality has tried is known to the row with it."""
    first, third, following = len(one.candidates), -(-len(one.candidates) // 3), one.tries - len(one.candidates)
    twin = one.local and one.name not in ROLES.family
    known = 0 if twin else first * CALIBRATION // 2
    return one.budget * (known + third * CALIBRATION // 2 + max(0, following) * CALIBRATION)


if __name__ == "__main__":
    main()
