"""What an edit from the shell takes in addition to its networks, against a plain import of the classes that they need.

    python benchmarks/startup.py > out/startup.json

Every run is a process; both kinds alternate, and medians of processor seconds are compared, without those in networks.
"""

import argparse
import json
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from latentedit_portraits.attributes import draw_split
from latentedit_portraits.render import render

PLAIN = """
import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel
from transformers import CLIPTextModelWithProjection, CLIPTokenizer
"""

EDIT = """
import sys, time
import torch
inside, spent = 0, 0.0
call = torch.nn.Module.__call__
def timed(self, *arguments, **named):
    global inside, spent
    inside += 1
    started = time.process_time()
    try:
        return call(self, *arguments, **named)
    finally:
        inside -= 1
        if not inside:
            spent += time.process_time() - started
torch.nn.Module.__call__ = timed
from latentedit.cli.main import main
try:
    main()
finally:
    print(f"networks {spent}", file=sys.stderr)
"""
"""The command, with the time inside its outermost networks on stderr."""


def timed(program: str, *arguments: str) -> tuple[float, str]:
    """Processor seconds of a process, and what it wrote to stderr."""
    before, words = resource.getrusage(resource.RUSAGE_CHILDREN), [sys.executable, "-c", program, *arguments]
    done = subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stderr


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="of each kind")
    runs, rows = parser.parse_args().runs, list[dict[str, float]]()
    with tempfile.TemporaryDirectory() as folder:
        image = str(Path(folder) / "a.png")
        render(draw_split("test", 1, 5)[0].replace(accessory="none")).save(image)
        edit = ("edit", image, "--change", "=> glasses", "--model", "portraits", "--device", "cpu")
        for number in range(runs + 1):
            plain, (seconds, output) = timed(PLAIN)[0], timed(EDIT, *edit, "-o", f"{folder}/{number}.png")
            networks = float(output.rpartition("networks ")[2].split()[0])
            own = seconds - networks
            rows.append({"plain": plain, "edit_without_networks": own, "networks": networks, "ratio": own / plain})
            print(rows[-1], file=sys.stderr)
    measured = rows[1:]  # the first run reads the files into memory
    medians = {name: float(f"{statistics.median(row[name] for row in measured):.5g}") for name in rows[0]}
    print(json.dumps({"command": shlex.join(["python", *sys.argv]), "runs": runs, "cpu_seconds": medians}, indent=1))


if __name__ == "__main__":
    main()
