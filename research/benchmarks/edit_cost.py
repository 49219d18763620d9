"""Evaluations and CPU seconds of default edits, and the words of their verdicts, against an earlier version.

    git worktree add --detach OLD 8cffe88c   # before a second pair of noises was for doubtful verdicts only
    python research/benchmarks/edit_cost.py --before OLD --draw 9731

Written before the run; the rule of the second pair was rehearsed on draw 5077. Drawn portraits of the test split, of a
draw that nobody had used, with full captions; one thread; one process for each arm, which take turns item by item.

- Words: 40 items, five states, two seeds. The states are the image decoded and encoded again, half cross-faded with
  the right answer in pixels, the right answer, three times its change in the latent, and it with noise of .35. At most
  2 % of the 400 words may differ. Control: how many words of the earlier version differ between its two seeds.
- Evaluations: 48 items, edited as users do, by the image and the target caption, seed 0; then the same latent
  once more. Medians: at most 32 for the first edit of an image, and 26 for a further one.
- CPU seconds: of the first edits; the ratio of their sums is at most .75 of the earlier version's, and at most .65 of
  FlowAlign's by the earlier version, as it is with all that a user gets. Intervals (95 %) by resampling items.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from latentedit.core import write_text

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "research" / "results" / "speed.json"
STATES = ("untouched", "half", "right", "three times", "noise")
JUDGED, EDITED, DRAWS = 40, 48, 2000

CHILD = """
import json, sys, time, warnings
import numpy as np, torch
import latentedit as le
from latentedit.editors.judge import Judge
from latentedit.numerics import draw as noise
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.prepared import prepare

warnings.simplefilter("ignore")
torch.set_num_threads(1)
torch.set_grad_enabled(False)
model = le.load("portraits")
items = [one for one in counterfactual("portraits", "test", draw=int(sys.argv[1])).items if one.about["requested"]]
judge = Judge.of(model)

def states(item):
    batch = prepare(model, [item])
    x, before, after = batch.latent.z, np.asarray(item.image(), float), np.asarray(item.truth(), float)
    as_pixels = lambda image: torch.from_numpy(np.asarray(image)).float().permute(2, 0, 1)[None] / 127.5 - 1
    encoded = lambda image: model.encode(as_pixels(image))
    again = (model.decode(x) + 1).mul(127.5).round().clamp(0, 255)[0].permute(1, 2, 0)
    right = encoded(after)
    far = right + .35 * noise(right.shape[1:], seed=7, purpose="damage")
    return batch, [encoded(again), encoded(((before + after) / 2).round()), right, x + 3 * (right - x), far]

def words(item):
    batch, found = states(item)
    judged = lambda z, seed: judge.judge(batch.latent, batch.target, z, strength=1.0, seed=seed)[0].word
    return [[judged(z, seed) for z in found] for seed in (0, 1)]

def edits(item, method):
    image, start = item.image(), time.process_time()
    with model.count() as first:
        result = le.edit(model, image, item.target_caption, method=method, progress=False)
    seconds = time.process_time() - start
    session = le.Session(le.encode(model, image))
    session.edit(item.target_caption, method=method)
    with model.count() as second:
        session.edit(item.target_caption, method=method)
    return {"seconds": seconds, "first": first.evaluations, "further": second.evaluations, "word": result.verdict.word}

edits(items[-1], None)
for line in sys.stdin:
    what, index, method = json.loads(line)
    found = words(items[index]) if what == "words" else edits(items[index], method)
    print(json.dumps(found), flush=True)
"""


class Arm:
    """A version of the code in a process of its own."""

    def __init__(self, checkout: Path, draw: int) -> None:
        checkout = checkout.resolve()
        paths = [checkout, checkout / "src", checkout / "keep" / "src", *sorted(checkout.glob("[mr]*/*/src"))]
        settings = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", CHILD, str(draw)]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=os.environ | settings, cwd=checkout, **pipes)
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
        self.commit = found.stdout.strip()[:8]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()

    def __call__(self, *request: Any) -> Any:
        """The answer of the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def main() -> None:
    """Measure and store."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--before", type=Path, required=True, help="a checkout of the earlier version")
    options.add_argument("--draw", type=int, required=True)
    options.add_argument("--output", type=Path, default=OUTPUT)
    chosen = options.parse_args()
    with Arm(ROOT, chosen.draw) as now, Arm(chosen.before, chosen.draw) as before:
        words = [[arm("words", index, None) for arm in (now, before)] for index in range(JUDGED)]
        rows = [turn(index, now, before) for index in range(EDITED)]
        found = {
            "command": f"python research/benchmarks/edit_cost.py --before OLD --draw {chosen.draw}",
            "commits": {"now": now.commit, "before": before.commit},
            "words": compared(words),
            "evaluations": {name: evaluations([row[name] for row in rows]) for name in rows[0]},
            "cpu seconds": {name: round(sum(row[name]["seconds"] for row in rows), 2) for name in rows[0]},
            "ratio to": {name: ratio(rows, name) for name in ("before", "flowalign")},
            "other words of edits": sum(row["now"]["word"] != row["before"]["word"] for row in rows),
        }
    stored = json.loads(chosen.output.read_text()) if chosen.output.exists() else {}
    write_text(chosen.output, json.dumps(stored | {"verdict": found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def turn(index: int, now: Arm, before: Arm) -> dict[str, Any]:
    """An item, edited by all arms, each time in another order."""
    arms = {"now": (now, None), "before": (before, None), "flowalign": (before, "flowalign")}
    order = [*arms][index % 3 :] + [*arms][: index % 3]
    found = {name: arms[name][0]("edit", index, arms[name][1]) for name in order}
    print(index, {name: round(row["seconds"], 2) for name, row in found.items()}, flush=True)
    return {name: found[name] for name in arms}


def compared(words: Sequence[Any]) -> dict[str, Any]:
    """The words of both versions, ``[items, versions, seeds, states]``."""
    table = np.array(words)
    differs, control = table[:, 0] != table[:, 1], table[:, 1, 0] != table[:, 1, 1]
    return {
        "words": int(differs.size),
        "differ": int(differs.sum()),
        "share": round(float(differs.mean()), 4),
        "by state": dict(zip(STATES, differs.sum((0, 1)).tolist(), strict=True)),
        "changes": sorted(f"{old} -> {new}" for new, old in table.transpose(1, 0, 2, 3)[:, differs].T.tolist()),
        "control: differ between seeds before": f"{int(control.sum())} of {control.size}",
    }


def evaluations(rows: Sequence[Any]) -> dict[str, Any]:
    """Median and mean of the first and of a further edit."""
    spent = {name: [row[name] for row in rows] for name in ("first", "further")}
    return {
        name: {"median": float(np.median(one)), "mean": round(float(np.mean(one)), 2)} for name, one in spent.items()
    }


def ratio(rows: Sequence[Any], to: str) -> dict[str, float]:
    """The ratio of the sums of CPU seconds to another arm, and its interval."""
    ours, theirs = (np.array([row[name]["seconds"] for row in rows]) for name in ("now", to))
    chosen = np.random.default_rng(0).integers(len(rows), size=(DRAWS, len(rows)))
    low, high = np.quantile(ours[chosen].sum(1) / theirs[chosen].sum(1), [0.025, 0.975])
    return {
        "mean": round(float(ours.sum() / theirs.sum()), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
    }


if __name__ == "__main__":
    main()
