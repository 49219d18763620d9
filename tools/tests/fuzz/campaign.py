"""A fuzzing campaign: ``python -m tools.tests.fuzz.campaign MINUTES [--seed N]`` writes ``research/results/fuzz.md``.

All kinds of input get the same time, in rounds of a separate process each, which may crash. Hypothesis shrinks an input
that fails; it is stored in ``tools/tests/fuzz/corpus`` and tested from then on.
"""

import argparse
import dataclasses
import hashlib
import multiprocessing
import os
import re
import time
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tools.tests.fuzz import commands, files
from tools.tests.fuzz.judge import LIMIT_S, MEMORY_BYTES, FaultError, Target, judged

TARGETS = {one.name: one for one in (*files.TARGETS, *commands.TARGETS)}
CORPUS = Path(__file__).parent / "corpus"
RESULTS = Path(__file__).parents[3] / "research/results"
ROUND = (20, 1000)  # fewest and most inputs of one process; the first of a kind has the fewest
ROUND_S = 15  # intended time of one process, estimated from those before
HARD_S = 4 * LIMIT_S  # a process without an answer for this time is killed
ABOUT = (
    f"A fault is a crash, more than {LIMIT_S} s, more than {MEMORY_BYTES / 1e9:g} GB of additional memory, a partial "
    "file, or raw control characters in the output. Accepted are the inputs that were not rejected."
)


@dataclasses.dataclass(slots=True)
class Tally:
    """Counts of one kind of input."""

    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    faults: set[str] = dataclasses.field(default_factory=set[str])


def main() -> None:
    """Fuzz, and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", choices=sorted(TARGETS), action="append")
    chosen = parser.parse_args()
    tallies = {name: Tally() for name in chosen.only or TARGETS}
    start, turn = time.monotonic(), 0
    while time.monotonic() - start < 60 * chosen.minutes:
        name = min(tallies, key=lambda one: tallies[one].seconds)
        _one_round(TARGETS[name], chosen.seed + turn, tallies[name])
        turn += 1
        minutes = (time.monotonic() - start) / 60
        print(f"{minutes:5.1f} min  {sum(one.inputs for one in tallies.values()):>7} inputs  {name}", flush=True)
    if not chosen.only:
        (RESULTS / "fuzz.md").write_text(_table(tallies, chosen.seed))


def _one_round(target: Target, number: int, tally: Tally) -> None:
    """Run one process, and count what it reports."""
    count = min(max(ROUND[0], round(ROUND_S * tally.inputs / (tally.seconds or 1))), ROUND[1])
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_explore, args=(target, number, count, theirs))
    start, last, fault = time.monotonic(), None, ""
    child.start()
    theirs.close()
    try:
        while ours.poll(HARD_S):
            message = ours.recv()
            if "input" not in message:
                fault = message["fault"]
                tally.inputs, tally.accepted = tally.inputs + message["inputs"], tally.accepted + message["accepted"]
                break
            last = message["input"]
        else:
            fault = "the process hangs"
    except EOFError:
        fault = "the process died"
    child.kill()
    child.join()
    tally.seconds += time.monotonic() - start
    if fault:
        text, short = repr(last), " ".join(ascii(fault).split())[:160]
        name = f"{file_stem(target.name)}.{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]}.txt"
        (CORPUS / name).write_text(text + "\n", "utf-8")
        tally.faults.add(short)
        print(f"FAULT in {name}: {short}", flush=True)


def _explore(target: Target, number: int, count: int, pipe: Any) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    done: dict[str, Any] = {"inputs": 0, "accepted": 0, "fault": ""}

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(value=target.inputs)
    def explore(value: Any) -> None:
        pipe.send({"input": value})
        done["inputs"] += 1
        done["accepted"] += judged(target, value)

    try:
        explore()
    except FaultError as found:  # the smallest input was sent last
        done["fault"] = str(found)
    except Exception as error:  # noqa: BLE001 (from hypothesis, if an input does not fail again)
        done["fault"] = f"{type(error).__name__}: {error}"
    pipe.send(done)


def file_stem(name: str) -> str:
    """The name of a kind of input as the beginning of a file name."""
    return re.sub(r"\W+", "-", name)


def _table(tallies: dict[str, Tally], number: int) -> str:
    faults = [f"* {name}: `{fault}`" for name, one in tallies.items() for fault in sorted(one.faults)]
    total = sum(one.inputs for one in tallies.values())
    rows = [f"| {name} | {one.inputs} | {one.accepted} | {len(one.faults)} |" for name, one in tallies.items()]
    head = f"# Fuzzing\n\n`make fuzz SEED={number}`: {total:,} inputs, {len(faults)} distinct faults.\n\n{ABOUT}\n"
    columns = "| kind of input | inputs | accepted | faults |\n| --- | ---: | ---: | ---: |"
    return "\n".join([head, columns, *rows, "", *faults]).rstrip() + "\n"


if __name__ == "__main__":
    main()
