"""Fuzzing for some minutes: ``python -m tests.fuzz.campaign MINUTES [--seed N]`` writes ``results/fuzz.md``.

Each kind of input gets its share of the time, in rounds of a process of its own, which may die. What fails is made
smaller by hypothesis and lands in ``tests/fuzz/corpus``, where it is a test from then on.
"""

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import os
import platform
import re
import time
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz import commands, files, folders, pictures
from tests.fuzz.judge import LIMIT_S, MEMORY_BYTES, FaultError, Target, judged

TARGETS = {one.name: one for one in (*pictures.TARGETS, *files.TARGETS, *folders.TARGETS, *commands.TARGETS)}

CORPUS = Path(__file__).parent / "corpus"
RESULTS = Path(__file__).parents[2] / "results"

_ROUND = (20, 1000)
"""Least and most inputs of one process; the first of a kind has the least."""

_ROUND_S = 15
"""What a process is to take, at the pace so far."""

_HARD_S = 4 * LIMIT_S
"""After which a process that says nothing is killed: an input that cannot even be interrupted."""


_ABOUT = (
    f"A fault is a crash, more than {LIMIT_S} s, more than {MEMORY_BYTES / 1e9:g} GB beyond what was there, half a "
    "file, or raw control characters in what is printed. Times are of a machine that had other work. Taken are the "
    "inputs that were not refused."
)


@dataclasses.dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the inputs of one kind."""

    seed: int = 0
    inputs: int = 0
    taken: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    faults: list[str] = dataclasses.field(default_factory=list[str])

    @property
    def next_round(self) -> int:
        """How many inputs the next process gets."""
        least, most = _ROUND
        return min(max(least, round(_ROUND_S * self.inputs / self.seconds)), most) if self.seconds else least


def main() -> None:
    """Fuzz, and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", choices=sorted(TARGETS), action="append")
    chosen = parser.parse_args()
    names = chosen.only or list(TARGETS)
    tallies = {name: Tally(seed=chosen.seed) for name in names}
    began, turn = time.monotonic(), 0
    while time.monotonic() - began < 60 * chosen.minutes:
        name = min(names, key=lambda one: tallies[one].seconds)  # whoever had the least time so far
        _one_round(TARGETS[name], chosen.seed + turn, tallies[name])
        turn += 1
        done = (time.monotonic() - began) / 60
        print(f"{done:5.1f} min  {sum(one.inputs for one in tallies.values()):>7} inputs  {name}", flush=True)
    _write(tallies)


def _one_round(target: Target, number: int, tally: Tally) -> None:
    """A process of its own, and what it says."""
    ours, theirs = multiprocessing.Pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            _explore(target, number, tally.next_round, theirs)
        finally:
            os._exit(0)
    theirs.close()
    last: Any = None
    while True:
        try:
            said = ours.recv() if ours.poll(_HARD_S) else ("hangs", None)
        except EOFError:
            said = ("died", None)
        match said:
            case "input", value:
                last = value
                continue
            case "done", inputs, taken, slowest, fault:
                tally.inputs, tally.taken = tally.inputs + inputs, tally.taken + taken
                tally.slowest_s = max(tally.slowest_s, slowest)
                if fault is not None:
                    _keep(target, last, fault, tally)
            case what, _:
                _keep(target, last, f"the process {what}", tally)
        break
    os.kill(child, 9)
    os.waitpid(child, 0)
    tally.seconds += time.monotonic() - began


def _explore(target: Target, number: int, inputs: int, pipe: Any) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    counts, slowest = [0, 0], 0.0

    @seed(number)
    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(value=target.inputs)
    def explore(value: Any) -> None:
        nonlocal slowest
        pipe.send(("input", value))
        counts[0] += 1
        began = time.monotonic()
        counts[1] += judged(target, value)
        slowest = max(slowest, time.monotonic() - began)

    fault = None
    try:
        explore()
    except FaultError as found:  # the smallest input was sent last
        fault = str(found)
    except Exception as error:  # noqa: BLE001 (of hypothesis: an input that does not fail again)
        fault = f"{type(error).__name__}: {error}"
    pipe.send(("done", *counts, slowest, fault))


def file_stem(name: str) -> str:
    """The kind of an input, as a file's name begins with it."""
    return re.sub(r"\W+", "-", name)


def _keep(target: Target, value: Any, fault: str, tally: Tally) -> None:
    text = repr(value)
    name = f"{file_stem(target.name)}.{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]}.txt"
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / name).write_text(text + "\n", "utf-8")
    short = " ".join(ascii(fault).split())[:160]
    if short not in tally.faults:
        tally.faults.append(short)
    print(f"FAULT in {name}: {short}", flush=True)


def _write(now: dict[str, Tally]) -> None:
    """The table; kinds that had no input now keep what their last run found."""
    place = RESULTS / "fuzz.json"
    before = json.loads(place.read_text())["kinds"] if place.exists() else {}
    tallies = {
        name: now[name] if name in now and now[name].inputs else Tally(**before.get(name, {})) for name in TARGETS
    }
    total = sum(one.inputs for one in tallies.values())
    faults = sum(len(one.faults) for one in tallies.values())
    lines = [
        "# Fuzzing",
        "",
        f"`make fuzz MINUTES=... SEED=...`: {total:,} inputs, {faults} distinct faults. Wanted are 100,000.",
        "",
        _ABOUT,
        "",
        "| kind of input | seed | inputs | taken | slowest, s | faults |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {name} | {one.seed} | {one.inputs} | {one.taken} | {one.slowest_s:.1f} | {len(one.faults)} |"
            for name, one in tallies.items()
        ),
        "",
        *(f"* {name}: `{fault}`" for name, one in tallies.items() for fault in one.faults),
    ]
    (RESULTS / "fuzz.md").write_text("\n".join(lines).rstrip() + "\n")
    told = {"python": platform.python_version(), "inputs": total}
    kinds = {name: dataclasses.asdict(one) for name, one in tallies.items()}
    place.write_text(json.dumps(told | {"kinds": kinds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
