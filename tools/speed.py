"""CPU seconds that users wait for, each command a process of its own with one thread, in rounds of all arms in turn.

    git worktree add --detach OLD 61e234c7      # before wide averages went by rows and columns
    PYTHONPATH=. python tools/speed.py sweep --before OLD --rounds 2
    git worktree add --detach LAST febb604d     # before the imports and look-ups of `edit` were reduced
    PYTHONPATH=. python tools/speed.py edit --before LAST --rounds 5
    git worktree add --detach EACH 8cffe88c     # before the calls of agents shared a process
    PYTHONPATH=. python tools/speed.py agents --before EACH --rounds 3

User and system seconds of the process and its children; other programs on the machine inflate all arms of a round
alike, so ratios are taken within rounds. Fixed in advance:

- sweep: six strengths on a FLUX with random weights at 1024 px (the miniature of the tests). The ratio of "now" to
  "before" is to be at most .35, and the share of lines that stay, `_likeness`, differs by at most 1e-4 from that by
  whole windows, at 1024 px.
- edit: `latentedit edit` on the bundled portraits; stock diffusers loads the same folder and makes one image with as
  many evaluations as the edit needs (20: ten steps, each with and without the text). The ratio of "now" to "stock" is
  to be at most .6. "imports" only imports the pipeline class that both need, with garbage collected as `latentedit`
  does.
- agents: two calls of `edit_image` to one server, with a portrait, the bundled model and two seeds; CPU seconds of the
  server and all its processes during each call. "python" is the second of the same two edits by `latentedit.edit` in
  one process with the model in memory, its image written to a file as well. The ratio of the second call to the first
  is to be at most .2, and to "python" at most 1.3.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentedit.identification import locality
from latentedit.testing.miniature import saved
from latentedit_keep.base.files import write_text
from latentedit_portraits import weights
from tests.miniatures.flow import flux

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "research" / "results" / "speed.json"

SWEEP = """
import sys
import numpy as np
import latentedit as le
results = le.sweep(le.load(sys.argv[1]), np.load(sys.argv[2])["image"], source_prompt="a face", change="=> glasses",
                   strengths=(0, 0.2, 0.4, 0.6, 0.8, 1), force=True)
np.save(sys.argv[3], np.stack([np.asarray(result.image) for result in results]))
"""
STOCK = """
import sys
from diffusers import StableDiffusion3Pipeline
pipeline = StableDiffusion3Pipeline.from_pretrained(sys.argv[1], text_encoder_3=None, tokenizer_3=None)
image = pipeline("a person with glasses", num_inference_steps=10, guidance_scale=2.0, height=128, width=128).images[0]
image.save(sys.argv[2])
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
    line = ["-m", "latentedit_keep.main", "mcp", "--root", sys.argv[1], "--seconds", "600"]
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
    options.add_argument("what", choices=("sweep", "edit", "agents"))
    options.add_argument("--before", type=Path, required=True, help="a checkout of the earlier version")
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    if chosen.what == "agents":
        measure_agents(chosen.before, chosen.rounds)
        return
    stored: dict[str, Any] = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    rows: list[dict[str, float]] = stored.get(chosen.what, {}).get("rounds", [])
    rows += [{} for _ in range(chosen.rounds - len(rows))]
    base = "before" if chosen.what == "sweep" else "stock"
    difference = largest_difference() if chosen.what == "sweep" else 0.0
    with tempfile.TemporaryDirectory() as scratch:
        arms = (sweep_arms if chosen.what == "sweep" else edit_arms)(Path(scratch), chosen.before)
        missing = [(row, name) for i, row in enumerate(rows) for name in list(arms)[:: -1 if i % 2 else 1]]
        for row, name in missing:
            if name in row:
                continue
            row[name] = cpu_seconds(*arms[name])
            print(name, row[name], flush=True)
            spent = {arm: [one[arm] for one in rows if arm in one] for arm in arms}
            ratios = {arm: [one[arm] / one[base] for one in rows if {arm, base} <= one.keys()] for arm in arms}
            command = f"python tools/speed.py {chosen.what} --before OLD --rounds {chosen.rounds}"
            stored = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}  # the other may have written
            stored[chosen.what] = {
                "command": command,
                "rounds": rows,
                "cpu seconds": {arm: float(np.median(values)) for arm, values in spent.items() if values},
                f"ratio to {base}": {arm: float(np.median(values)) for arm, values in ratios.items() if values},
            }
            if chosen.what == "sweep":
                stored["sweep"]["largest difference"] = difference
            write_text(OUTPUT, json.dumps(stored, indent=1) + "\n")


def sweep_arms(folder: Path, before: Path) -> dict[str, tuple[list[str], Path]]:
    """Command and checkout of each arm: a sweep of an image with soft shapes."""
    saved(flux(), folder / "flux")
    down, across = np.mgrid[:1024, :1024] / 1024
    waves = np.stack([np.sin(9 * across + one) * np.cos(7 * down - one) for one in range(3)], axis=-1)
    np.savez(folder / "image.npz", image=(127.5 + 120 * waves).astype(np.uint8))

    arguments = ["-c", SWEEP, str(folder / "flux"), str(folder / "image.npz"), str(folder / "images.npy")]
    return {"now": (arguments, ROOT), "before": (arguments, before)}


def largest_difference() -> float:
    """Between the likeness of lines by rows and columns, and that by whole windows, of two images of 1024 px."""
    first = torch.rand(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(0)) * 2 - 1
    second = 0.5 * first + 0.5 * first.roll(3, dims=-1)
    ours, narrow = locality._likeness(first, second), locality._WIDE
    locality._WIDE = 2**30
    whole = locality._likeness(first, second)
    locality._WIDE = narrow
    return float((ours - whole).abs().max())


def edit_arms(folder: Path, before: Path) -> dict[str, tuple[list[str], Path]]:
    """Command and checkout of each arm: one edit from the shell, one image by diffusers, imports alone."""
    model, image = Path(weights.__path__[0]) / "portraits", ROOT / "docs" / "images" / "me.png"
    edit = ["-m", "latentedit.cli.main", "edit", str(image), "--change", "=> glasses", "-o", str(folder / "edited.png")]
    return {
        "stock": (["-c", STOCK, str(model), str(folder / "stock.png")], ROOT),
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
        "command": f"python tools/speed.py agents --before OLD --rounds {rounds}",
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
    """What a Python process prints that runs on the code of a checkout with one thread."""
    checkout = checkout.resolve()
    paths = [checkout, checkout / "src", checkout / "keep" / "src", *sorted(checkout.glob("[mr]*/*/src"))]
    settings = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
    line = [sys.executable, *arguments]
    return subprocess.run(line, check=True, env=os.environ | settings, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
