"""Everything that the pages tell of methods and claims, measured again by one command: ``make results``.

    python benchmarks/all_results.py [--items 480] [--seeds 1,2,3] [--only partial --only full] [--plan]

Tunes every method on the calibration split and stores the best settings with the model, runs the ranking with each kind
of captions, and several strengths on some items, reproduces the claims, and writes what the pages take from results. A
step that is finished is not done again, and one that was stopped goes on: runs lie in out/results, their tables are
copied to results/benchmark. With --plan it says what all of it takes, and does nothing.
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
import torch
from results import RESULTS

from latentedit.models.registry import bundled_folder
from latentedit_bench.tuning.search_spaces import ROLES, SEARCH_SPACES, SearchSpace

RUNS = RESULTS.parent / "out" / "results"
TABLES = RESULTS / "benchmark"
TUNING = TABLES / "tuning.json"
MODEL = "portraits"

CALIBRATION = 24
"""Items of tuning, half of them with partial captions and half with full ones."""

SOME = 96
"""Items that are edited at several strengths."""

STRENGTHS = "0.5,1,1.1,1.25,1.5"

RIVALS = ("flowedit", "flowalign", "turboedit")
SHORT = [*sorted(ROLES.family), *RIVALS, *(f"{name}, local" for name in RIVALS)]
"""Methods that are also asked by full, paraphrased and wrong captions, and at several strengths."""

DTYPE = "float32" if torch.backends.cpu.get_cpu_capability() in ("AVX2", "DEFAULT") else "bfloat16"
"""Of the networks: a processor without AVX-512 takes thirty times as long in half precision."""

SPEED = 178
"""Evaluations a second in bfloat16 on two cores, see results/throughput.md; in float32 on AVX2 they are 60."""

Step = tuple[str, list[str], int]
"""Name, words of the command, and evaluations at most."""


def main() -> None:
    """Do all steps, or say what they take."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--items", type=int, default=480, help="of the test split")
    options.add_argument("--seeds", default="1,2,3", help="of the noise, of the run with partial captions")
    options.add_argument("--only", action="append", help="a step; repeatable")
    options.add_argument("--plan", action="store_true", help="say what it takes, and do nothing")
    chosen = options.parse_args()
    found = [step for step in steps(chosen.items, chosen.seeds) if not chosen.only or step[0] in chosen.only]
    print(f"{'step':<14}{'evaluations':>14}{'minutes at most':>18}")
    for name, _, cost in found:
        print(f"{name:<14}{cost:>14,}{cost / SPEED / 60:>18.0f}")
    print("Rows that choose equal settings share their edits: the runs then take down to half of that.", flush=True)
    for name, words, _ in () if chosen.plan else found:
        if name == "tune":
            _forget_another_model()
        print(f"\n{name}: {shlex.join(words)}", flush=True)
        subprocess.run(words, check=True, cwd=RESULTS.parent)
        if (RUNS / name).is_dir():
            keep_tables(RUNS / name, TABLES / name)


def steps(items: int, seeds: str) -> Iterator[Step]:
    """All of them, in their order."""
    count, short = len(seeds.split(",")), [one for one in SEARCH_SPACES if one.name in SHORT]
    dtype = ["--dtype", DTYPE]
    tune = ["bench", "tune", "--items", str(CALIBRATION), "--store", "-o", str(TUNING), *dtype]
    yield "tune", _latentedit(*tune), sum(_tuning_cost(one) for one in SEARCH_SPACES)
    for captions, methods, noises in (
        ("partial", SEARCH_SPACES, seeds),
        ("full", short, "1"),
        ("paraphrased", short, "1"),
        ("wrong", short, "1"),
    ):
        cost = _run_cost(methods, items) * (count if noises == seeds else 1)
        yield captions, _run(captions, captions, methods, "--items", str(items), "--seeds", noises, *dtype), cost
    more = ["--items", str(SOME), "--strengths", STRENGTHS, "--beside", *dtype]
    at_all = (len(STRENGTHS.split(",")) + 2) * _run_cost(short, SOME)
    yield "strengths", _run("strengths", "partial", short, *more), at_all
    release = [str(Path(__file__).with_name("release.py")), "--items", str(items), *dtype]
    yield "release", [sys.executable, *release], 4 * 28 * items
    yield "claims", _latentedit("reproduce", "-o", "results/claims"), 0
    yield "pages", ["make", "docs-text"], 0


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
    items = pd.read_csv(run / "items.csv").pivot_table(index=["group", "item"], columns="method", values="above")
    items.to_csv(place / "above.csv", float_format="%.4g", lineterminator="\n")


def _latentedit(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("latentedit")), *words]


def _run(name: str, captions: str, methods: Sequence[SearchSpace], *more: str) -> list[str]:
    named = [] if len(methods) == len(SEARCH_SPACES) else [word for one in methods for word in ("--method", one.name)]
    return _latentedit("bench", "run", "--captions", captions, "-o", str(RUNS / name), *named, *more)


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


def _forget_another_model() -> None:
    """Settings of other weights are of no use; git has them."""
    fingerprint = json.loads((bundled_folder(MODEL) / "latentedit.json").read_text("utf-8")).get("fingerprint")
    if TUNING.exists() and json.loads(TUNING.read_text("utf-8")).get("fingerprint") != fingerprint:
        TUNING.unlink()


if __name__ == "__main__":
    main()
