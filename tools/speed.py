"""CPU seconds that users wait for, each command a process of its own with one thread, in rounds of all arms in turn.

    git worktree add --detach EACH 8cffe88c     # before calls of agents shared a process, and edits computed once
    python -m tools.speed edit --before EACH --rounds 5
    python -m tools.speed agents --before EACH --rounds 3

User and system seconds of the process and its children; other programs on the machine inflate all arms of a round
alike, so ratios are taken within rounds. Fixed in advance:

- edit: `latentedit edit` on the bundled portraits. "stock" is diffusers' image-to-image pipeline on the same folder and
  image, with as many evaluations as "now" spends on edit, guard and verdict together, each step one with and one
  without the text. The ratio of "now" to "stock" is to be at most .55. "imports" only imports the pipeline class that
  both need, with garbage collected as `latentedit` does: what no program that uses diffusers can save.
- agents: two calls of `edit_image` to one server, with a portrait, the bundled model and two seeds; CPU seconds of the
  server and all its processes during each call. "python" is the second of the same two edits by `latentedit.edit` in
  one process with the model in memory, its image written to a file as well. The ratio of the second call to the first
  is to be at most .2, and to "python" at most 1.3.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from latentedit.core.files import write_text
from latentedit_portraits import weights

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "research" / "results" / "speed.json"

STOCK = """
import sys
from diffusers import StableDiffusion3Img2ImgPipeline
from PIL import Image
folder, source, output, steps = sys.argv[1:]
absent = dict.fromkeys(["text_encoder_3", "tokenizer_3", "image_encoder", "feature_extractor"])
pipeline = StableDiffusion3Img2ImgPipeline.from_pretrained(folder, **absent)
image = Image.open(source).convert("RGB").resize((128, 128))
walk = {"strength": 0.5, "num_inference_steps": 2 * int(steps), "guidance_scale": 2.0}
pipeline("a person with glasses", image=image, height=128, width=128, **walk).images[0].save(output)
"""
IMPORTS = """
import gc, os
gc.set_threshold(100_000)
from diffusers import StableDiffusion3Pipeline
os._exit(0)
"""
AGENT = """
import asyncio, json, os, sys
import psutil
from mcp import Client, StdioServerParameters, stdio_client

def spent():
    return sum(sum(one.cpu_times()[:4]) for one in psutil.Process().children(recursive=True))

async def called():
    line = ["-m", "latentedit.cli.main", "mcp", "--root", sys.argv[1], "--seconds", "600"]
    seconds, server = [], StdioServerParameters(command=sys.executable, args=line, env={**os.environ})
    async with Client(stdio_client(server)) as client:
        await client.list_tools()
        for seed in (0, 1):
            before = spent()
            answer = await client.call_tool("edit_image", {"image": "me.png", "change": "=> glasses", "seed": seed})
            assert not answer.is_error, answer
            seconds.append(spent() - before)
    return seconds

print(json.dumps(asyncio.run(called())))
"""
PYTHON = """
import json, os, sys
import latentedit as le
model, seconds = le.load("portraits"), []
for seed in (0, 1):
    before = os.times()
    result = le.edit(model, sys.argv[1] + "/me.png", change="=> glasses", seed=seed, progress=False)
    result.save(sys.argv[1] + f"/python-{seed}.png")
    after = os.times()
    seconds.append(after.user + after.system - before.user - before.system)
print(json.dumps(seconds))
"""


def main() -> None:
    """Measure the rounds that the file of results lacks."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=("edit", "agents"))
    options.add_argument("--before", type=Path, required=True, help="a checkout of the earlier version")
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    if chosen.what == "agents":
        measure_agents(chosen.before, chosen.rounds)
        return
    measure_edits(chosen.before, chosen.rounds)


def measure_edits(before: Path, rounds: int) -> None:
    """One edit by each arm in every round that the file of results lacks."""
    stored: dict[str, Any] = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    rows: list[dict[str, float]] = stored.get("edit", {}).get("rounds", [])
    rows += [{} for _ in range(rounds - len(rows))]
    with tempfile.TemporaryDirectory() as scratch:
        arms = edit_arms(Path(scratch), before)
        missing = [(row, name) for i, row in enumerate(rows) for name in list(arms)[:: -1 if i % 2 else 1]]
        for row, name in missing:
            if name in row:
                continue
            row[name] = cpu_seconds(*arms[name])
            print(name, row[name], flush=True)
            spent = {arm: [one[arm] for one in rows if arm in one] for arm in arms}
            ratios = {arm: [one[arm] / one["stock"] for one in rows if {arm, "stock"} <= one.keys()] for arm in arms}
            stored = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}  # the other may have written
            stored["edit"] = {
                "command": f"python -m tools.speed edit --before OLD --rounds {rounds}",
                "commits": {"now": commit(ROOT), "before": commit(before)},
                "rounds": rows,
                "cpu seconds": {arm: float(np.median(values)) for arm, values in spent.items() if values},
                "ratio to stock": {arm: float(np.median(values)) for arm, values in ratios.items() if values},
            }
            write_text(OUTPUT, json.dumps(stored, indent=1) + "\n")


def edit_arms(folder: Path, before: Path) -> dict[str, tuple[list[str], Path]]:
    """Command and checkout of each arm: one edit from the shell, one by diffusers with as many steps, imports alone."""
    model, image = Path(weights.__path__[0]) / "portraits", ROOT / "docs" / "images" / "me.png"
    output = folder / "edited.png"
    edit = ["-m", "latentedit.cli.main", "edit", str(image), "--add", "glasses", "-o", str(output)]
    python(edit, ROOT)
    cost = json.loads(output.with_suffix(".json").read_text())["results"][0]["cost"]
    steps = math.ceil(sum(cost[f"{part}evaluations"] for part in ("", "verdict_", "guard_")) / 2)
    return {
        "stock": (["-c", STOCK, str(model), str(image), str(folder / "stock.png"), str(steps)], ROOT),
        "before": (edit, before),
        "now": (edit, ROOT),
        "imports": (["-c", IMPORTS], ROOT),
    }


def measure_agents(before: Path, rounds: int) -> None:
    """Two calls in one server of each version, and two edits in one process, in all rounds."""
    rows = list[dict[str, float]]()
    arms = {"now": (AGENT, ROOT), "before": (AGENT, before), "python": (PYTHON, ROOT)}
    for number in range(rounds):
        row = dict[str, float]()
        for name in list(arms)[:: -1 if number % 2 else 1]:
            with tempfile.TemporaryDirectory() as root:
                shutil.copy(ROOT / "docs" / "images" / "me.png", root)
                script, checkout = arms[name]
                first, second = json.loads(python(["-c", script, root], checkout).splitlines()[-1])
            row |= {f"{name} first": first, f"{name} second": second}
            print(name, first, second, flush=True)
        rows.append(row)
    ratios = {
        f"{one} second to {other}": float(np.median([row[f"{one} second"] / row[other] for row in rows]))
        for one, other in (("now", "now first"), ("before", "before first"), ("now", "python second"))
    }
    stored: dict[str, Any] = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    stored["agents"] = {
        "command": f"python -m tools.speed agents --before OLD --rounds {rounds}",
        "commits": {"now": commit(ROOT), "before": commit(before)},
        "rounds": rows,
        "cpu seconds": {name: float(np.median([row[name] for row in rows])) for name in rows[0]},
        "ratios": ratios,
    }
    write_text(OUTPUT, json.dumps(stored, indent=1) + "\n")


def commit(checkout: Path) -> str:
    """The commit of a checkout, short."""
    line = ["git", "-C", str(checkout), "rev-parse", "--short=8", "HEAD"]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()


def cpu_seconds(arguments: list[str], checkout: Path) -> float:
    """User and system seconds of a Python process on the code of a checkout."""
    start = os.times()
    python(arguments, checkout)
    end = os.times()
    return end.children_user + end.children_system - start.children_user - start.children_system


def python(arguments: list[str], checkout: Path) -> str:
    """The output of a Python process with one thread on the code of a checkout."""
    checkout = checkout.resolve()
    paths = [checkout, checkout / "src", *sorted(checkout.glob("[mr]*/*/src"))]
    settings = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
    line = [sys.executable, *arguments]
    return subprocess.run(line, check=True, env=os.environ | settings, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
