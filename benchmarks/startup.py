"""What an edit from the shell takes beside its networks, against a plain import of the classes that they need.

    python benchmarks/startup.py                 -> results/startup.json, startup.md

A run is a process of its own; runs of both kinds alternate, and medians are compared. Time inside networks (U-Net,
codec, text encoders, readers) is taken out of the edit's. Processor seconds are compared, for other work on the machine
lengthens waiting only; wall time is given beside. The packages' shares are those of ``python -X importtime``.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from results import RESULTS, save, table

from latentedit_portraits.attributes import draw_split
from latentedit_portraits.render import render

PLAIN = """
import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel
from transformers import CLIPTextModelWithProjection, CLIPTokenizer
"""
"""What anybody imports who runs this model's networks, the ordinary way."""

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


def timed(program: str, *arguments: str) -> tuple[float, float, str]:
    """Processor and wall seconds of a process, and what it said on stderr."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall, done.stderr.decode()


def import_shares(program: str, *arguments: str) -> dict[str, float]:
    """Seconds that a process spends importing each package, beside what that imports from others; largest first."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    spent: Counter[str] = Counter()
    for line in done.stderr.decode().splitlines():
        own, bar, rest = line.removeprefix("import time:").partition("|")
        if bar and own.strip().isdigit():
            spent[rest.rpartition("|")[2].strip().partition(".")[0]] += int(own)
    return {name: round(micro / 1e6, 3) for name, micro in spent.most_common(12)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="of each kind")
    runs = parser.parse_args().runs
    plain, edits = list[tuple[float, float]](), list[tuple[float, float, float]]()
    with tempfile.TemporaryDirectory() as folder:
        picture = str(Path(folder) / "a.png")
        render(draw_split("test", 1, 5)[0].replace(accessory="none")).save(picture)
        asked = ("edit", picture, "--change", "=> glasses", "--model", "portraits", "--device", "cpu", "-o")
        for number in range(runs + 1):
            cpu, wall, _ = timed(PLAIN)
            plain.append((cpu, wall))
            cpu, wall, said = timed(EDIT, *asked, str(Path(folder) / f"{number}.png"))
            networks = float(said.rpartition("networks ")[2].split()[0])
            edits.append((cpu - networks, wall, networks))
            print(f"{number}: plain {plain[-1][0]:.2f} s, edit {edits[-1][0]:.2f} s + networks {networks:.2f} s")
        shares = {
            "plain": import_shares(PLAIN),
            "edit": import_shares(EDIT, *asked, str(Path(folder) / "shares.png")),
        }
    plain, edits = plain[1:], edits[1:]  # the first ones read the files into memory
    ratio = statistics.median(one[0] / other[0] for one, other in zip(edits, plain, strict=True))
    content = {
        "runs": runs,
        "plain_cpu_seconds": statistics.median(one[0] for one in plain),
        "plain_seconds": statistics.median(one[1] for one in plain),
        "edit_cpu_seconds_without_networks": statistics.median(one[0] for one in edits),
        "edit_seconds": statistics.median(one[1] for one in edits),
        "network_seconds": statistics.median(one[2] for one in edits),
        "ratio": ratio,
        "import_seconds": shares,
    }
    said = (
        f"An edit from the shell takes {ratio:.2f} times a plain import of torch and of the four classes that it runs, "
        f"its networks ({content['network_seconds']:.2f} s) aside. Medians of {runs} runs: "
        f"{content['edit_cpu_seconds_without_networks']:.2f} against {content['plain_cpu_seconds']:.2f} processor "
        f"seconds; by the clock {content['edit_seconds']:.2f} against {content['plain_seconds']:.2f} s, networks "
        "included."
    )
    names = list(dict.fromkeys([*shares["edit"], *shares["plain"]]))
    rows = [[name, *(f"{shares[kind].get(name, 0):.2f}" for kind in ("edit", "plain"))] for name in names]
    slower = "Seconds importing each package itself, under `-X importtime`, which is slower:"
    save(RESULTS / "startup", content, [said, "", slower, "", *table(["package", "edit", "plain import"], rows)])
    print(said)


if __name__ == "__main__":
    main()
