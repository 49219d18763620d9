"""Repeats what made the numbers of the pages: ``make results``.

    python benchmarks/all_results.py [--only best --only every] [--plan]

The stored results say how: the files ``results/benchmark/tuning*.json`` which methods were tuned on which model, and
``results/benchmark/RUN/plan.json`` what each run compared. So a run that a page is to show is made once by hand, and
its plan and tables are copied there. A finished step is not done again, and one that was stopped goes on: runs are in
out/results. With --plan it prints what each step costs at most, and does nothing.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from latentedit.models.registry import bundled_folder
from latentedit_bench.tuning.search_spaces import BUDGET, OURS, SEARCH_SPACES

ROOT = Path(__file__).resolve().parents[1]
RUNS, STORED = Path("out/results"), Path("results/benchmark")

SPEED = 178
"""Evaluations a second in bfloat16 on two cores, see results/throughput.json; in float32 on AVX2 they are 60."""

Step = tuple[list[str], int]  # a command, and its network evaluations at most


def main() -> None:
    """Do all steps, or say what they cost."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", action="append", help="a step; repeatable")
    options.add_argument("--plan", action="store_true", help="say what it costs, and do nothing")
    chosen = options.parse_args()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for name, (command, evaluations) in list(steps()):
        if chosen.only and name not in chosen.only:
            continue
        minutes = evaluations / SPEED / 60
        print(f"{name}: {evaluations:,} evaluations, {minutes:.0f} minutes at most: {shlex.join(command)}", flush=True)
        if not chosen.plan:
            forget_other_weights(ROOT / STORED / f"{name}.json")
            subprocess.run(command, check=True, cwd=ROOT, env=environment)
            store_tables(ROOT / RUNS / name, ROOT / STORED / name)


def steps() -> Iterator[tuple[str, Step]]:
    """Every step by name, in order."""
    tunings = {path: read(path) for path in sorted((ROOT / STORED).glob("tuning*.json"))}
    settings = {found["model"]: (STORED / path.name).as_posix() for path, found in tunings.items()}
    for path, found in tunings.items():
        yield path.stem, tuning(found)
    for path in sorted((ROOT / STORED).glob("*/plan.json")):
        yield path.parent.name, comparison(path.parent.name, read(path), settings)
    yield "claims", (["latentedit", "reproduce", "--all", "-o", "results/claims"], 0)
    yield "pages", (["make", "docs-text"], 0)


def tuning(found: Mapping[str, Any]) -> Step:
    """The search for the settings of a model's methods, stored with the model unless its pages take them from here."""
    first = next(iter(found["methods"].values()))
    command = shlex.split(first["command"].partition(" --method ")[0])
    command += ["--store"] if found["model"] != "portraits-unet" else []
    tries = sum(one.tries * one.budget for one in SEARCH_SPACES if one.name in found["methods"])
    return [*command, *methods(found["methods"])], first["data"]["items"] * tries


def comparison(name: str, plan: Mapping[str, Any], settings: Mapping[str, str]) -> Step:
    """The run of a plan."""
    data, _, captions = plan["data"]["name"].split("/")
    words = ["bench", "run", data, "--model", plan["model"], "--settings", settings[plan["model"]]]
    words += ["--items", str(plan["data"]["items"]), "--captions", captions, "--dtype", plan["network_dtype"]]
    words += ["--batch", str(plan["batch"]), "-o", (RUNS / name).as_posix()]
    for option in ("strengths", "seeds"):
        words += [f"--{option}", ",".join(f"{value:g}" for value in plan[option])]
    names = [one["name"] for one in plan["methods"]]
    edits = plan["data"]["items"] * len(plan["seeds"]) * len(plan["strengths"])
    budgets = {one.name: one.budget for one in SEARCH_SPACES}
    return ["latentedit", *words, *methods(names)], edits * sum(budgets.get(one, BUDGET) for one in names)


def methods(names: Any) -> list[str]:
    """The options that choose them; rows that the benchmark no longer has are left out."""
    known = {OURS, *(one.name for one in SEARCH_SPACES)}
    return [word for name in names if name in known for word in ("--method", name)]


def read(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def forget_other_weights(tuned: Path) -> None:
    """Settings that were found on other weights than the model's are of no use; git has them."""
    if tuned.exists():
        found = read(tuned)
        if found["fingerprint"] != read(bundled_folder(found["model"]) / "latentedit.json").get("fingerprint"):
            tuned.unlink()


def store_tables(run: Path, place: Path) -> None:
    """Replace the stored plan, tables and plot of a run by those of today."""
    for stored in place.iterdir() if run.is_dir() else ():
        if stored.name == "plan.json":
            stored.write_text(json.dumps(read(run / "run.json")["plan"], indent=1) + "\n", encoding="utf-8")
        elif (run / stored.name).exists():
            shutil.copyfile(run / stored.name, stored)
    for shown in (ROOT / "docs/pictures" / STORED / place.name).glob("curves.*") if run.is_dir() else ():
        Image.open(run / "curves.png").convert("RGB").save(shown)


if __name__ == "__main__":
    main()
