"""CPU seconds that users wait for, each command a process of its own with one thread, in rounds of all arms in turn.

    git worktree add --detach OLD 61e234c7      # before wide averages went by rows and columns
    python -m tools.speed sweep --before OLD --rounds 2
    git worktree add --detach EACH 8cffe88c     # before calls of agents shared a process, and edits computed once
    python -m tools.speed edit --before EACH --rounds 5
    python -m tools.speed warm --before EACH --rounds 3
    python -m tools.speed agents --before EACH --rounds 3

User and system seconds of the process and its children; other programs on the machine inflate all arms of a round
alike, so ratios are taken within rounds. Fixed in advance:

- sweep: six strengths on a FLUX with random weights at 1024 px (the miniature of the tests). The ratio of "now" to
  "before" is to be at most .35, and the share of lines that stay, `_likeness`, differs by at most 1e-4 from that by
  whole windows, at 1024 px.
- edit: `latentedit edit` on the bundled portraits. "stock" is diffusers' image-to-image pipeline on the same folder and
  image, with as many evaluations as "now" spends on edit, guard and verdict together, each step one with and one
  without the text. The ratio of "now" to "stock" is to be at most .55. "imports" only imports the pipeline class that
  both need, with garbage collected as `latentedit` does: what no program that uses diffusers can save.
- warm: edits in a process that made one before, each of a file of 128 or 1024 px, by EIM and FlowEdit. The model is a
  Gaussian at each text, in closed form, and takes images of that size; its network sleeps for 10 ms an evaluation. The
  CPU seconds of everything outside of the model's functions (network, texts, codec) are compared with that time: the
  ratio of both to the network's alone is to be at most 1.15.
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
import torch

from latentedit.core.files import write_text
from latentedit.identification import locality
from latentedit.testing.miniature import saved
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

WARM = """
import json, sys, time
import numpy as np
import torch
from PIL import Image
from torch.nn import functional
import latentedit as le
from latentedit.models import Capabilities

NETWORK_S, EDITS, SPREAD = 0.01, 6, 0.3
spent = {"outside": 0.0, "evaluations": 0}

def uncounted(function):
    def timed(*arguments):
        start = time.process_time()
        made = function(*arguments)
        spent["outside"] -= time.process_time() - start
        return made
    return timed

def gaussian(path, side):
    pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None] / 127.5 - 1
    own = functional.avg_pool2d(pixels, 8)
    place, quarter = torch.zeros_like(own), side // 32
    place[..., quarter : 2 * quarter, quarter : 2 * quarter] = 0.8

    def embed(texts):
        shown = torch.tensor([[[float("glasses" in text)]] for text in texts])
        return le.Condition(tokens=shown, pooled=torch.zeros(len(texts), 0))

    def velocity(z, s, condition):
        time.sleep(NETWORK_S * len(z))
        spent["evaluations"] += len(z)
        s, mean = s[:, None, None, None], own + condition.tokens[:, :, :, None] * place
        variance = ((1 - s) * SPREAD) ** 2 + s**2
        return (s - (1 - s) * SPREAD**2) * (z - (1 - s) * mean) / variance - mean

    return le.CallableBackbone(
        uncounted(velocity), embed=uncounted(embed), latent_shape=lambda height, width: (3, height // 8, width // 8),
        encode=uncounted(lambda pixels: functional.avg_pool2d(pixels, 8)),
        decode=uncounted(lambda z: functional.interpolate(z, scale_factor=8.0, mode="bilinear")),
        fingerprint="0" * 16, capabilities=Capabilities(sizes=(side, side, side), guidance=2.0),
    )

ratios = {}
for side in (128, 1024):
    path = sys.argv[2] + f"/{side}.png"
    Image.open(sys.argv[1]).convert("RGB").resize((side, side)).save(path)
    model = gaussian(path, side)
    for method in ("eim", "flowedit"):
        edits = []
        for _ in range(EDITS):
            spent.update(outside=0.0, evaluations=0)
            start = time.process_time()
            le.edit(model, path, source_prompt="a face", change="=> glasses", method=method, progress=False)
            spent["outside"] += time.process_time() - start
            edits.append(1 + spent["outside"] / (NETWORK_S * spent["evaluations"]))
        ratios[f"{method}, {side} px"] = float(np.median(edits[1:]))
print(json.dumps(ratios))
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
    options.add_argument("what", choices=("sweep", "edit", "warm", "agents"))
    options.add_argument("--before", type=Path, required=True, help="a checkout of the earlier version")
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    if chosen.what == "agents":
        measure_agents(chosen.before, chosen.rounds)
        return
    if chosen.what == "warm":
        measure_warm(chosen.before, chosen.rounds)
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
            command = f"python -m tools.speed {chosen.what} --before OLD --rounds {chosen.rounds}"
            stored = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}  # the other may have written
            stored[chosen.what] = {
                "command": command,
                "commits": {"now": commit(ROOT), "before": commit(chosen.before)},
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


def measure_warm(before: Path, rounds: int) -> None:
    """Edits by a network of 10 ms, of each version in all rounds."""
    rows = list[dict[str, dict[str, float]]]()
    arms = {"now": ROOT, "before": before}
    for number in range(rounds):
        row = dict[str, dict[str, float]]()
        for name in list(arms)[:: -1 if number % 2 else 1]:
            with tempfile.TemporaryDirectory() as folder:
                line = ["-c", WARM, str(ROOT / "docs" / "images" / "me.png"), folder]
                row[name] = json.loads(python(line, arms[name]).splitlines()[-1])
            print(name, row[name], flush=True)
        rows.append(row)
    medians = {arm: {of: float(np.median([row[arm][of] for row in rows])) for of in rows[0][arm]} for arm in arms}
    stored: dict[str, Any] = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    stored["warm"] = {
        "command": f"python -m tools.speed warm --before OLD --rounds {rounds}",
        "commits": {name: commit(checkout) for name, checkout in arms.items()},
        "rounds": rows,
        "ratio to the network": medians,
    }
    write_text(OUTPUT, json.dumps(stored, indent=1) + "\n")


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
