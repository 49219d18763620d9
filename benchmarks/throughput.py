"""How much of the network's best speed `latentedit bench run` keeps, and whether its memory grows with the pictures.

    python benchmarks/throughput.py                        the share, for float32 and bfloat16, each run three times
    python benchmarks/throughput.py --pictures 100 1000    peak resident memory at both sizes, each in a fresh process

Best speed: pictures a second of one forward, at the best batch size, on as many threads as the run has workers, each of
which uses one. The share is evaluations / (best speed x seconds), evaluations being those that the model counted. In
"whole" the seconds are those of the run, loading the model in other processes included; "units" leaves out the start
and the idle end, as in a run of hours: it takes the mean over the workers of the seconds in which they measured.

Run it on a machine that does nothing else.
"""

import argparse
import dataclasses
import functools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from results import rounded, save, table

from latentedit.api.manifests.items import Dataset
from latentedit.api.runs.executors import Executor
from latentedit.api.runs.folder import RunFolder
from latentedit.core.memory import keep_freed_memory
from latentedit.editors.baselines.sdedit import SDEdit
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.prepared import prepare
from latentedit_bench.ranking.methods import Method
from latentedit_bench.ranking.plan import Plan
from latentedit_bench.ranking.run import run
from latentedit_bench.tuning.tuning import stored_methods

METHODS = ("eim", "flowedit", "inversion", "dds")
STRENGTHS = (0.5, 1.0, 1.5)
BATCHES = (8, 16, 32, 48, 64, 96, 128)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
EVEN_BATCH = 25
"""Divides 100 and 1000, so that the batches of both are of one size."""

BAR_SHARE, BAR_GROWTH = 0.85, 0.05
CHEAP = Method(name="sdedit", editor=SDEdit(steps=4, guidance=1.0))


@torch.no_grad()
def best_speed(model: Backbone, data: Dataset, threads: int, repeats: int = 3) -> tuple[float, int]:
    """Pictures a second of a forward, and at which batch size; the fastest of some calls after one to get warm."""
    latent, found = prepare(model, data.head(1).items).latent, dict[int, float]()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    for batch in BATCHES:
        z, s, text = latent.z.repeat(batch, 1, 1, 1), torch.full((batch,), 0.6), latent.condition.expand(batch)
        times: list[float] = []
        for _ in range(repeats + 1):
            started = time.perf_counter()
            model.velocity(z, s, text)
            times.append(time.perf_counter() - started)
        found[batch] = batch / min(times[1:])
    torch.set_num_threads(before)
    best = max(found, key=found.__getitem__)
    return found[best], best


def bench(plan: Plan, dtype: torch.dtype, workers: int) -> tuple[int, float, float]:
    """Evaluations of a run, its seconds, and those in which its workers measured."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run(
            plan,
            Path(folder) / "run",
            command="benchmarks/throughput.py",
            load=functools.partial(load, "portraits", device="cpu", dtype=dtype),
            executor=Executor(workers=workers),
        )
        seconds = time.perf_counter() - started
        records = RunFolder.read(Path(folder) / "run").records().values()
    evaluations = sum(int(record["evaluations"]) for record in records)
    return evaluations, seconds, sum(float(record["seconds"]) for record in records) / workers


def shares(dtype: str, items: int, workers: int, repeats: int) -> list[dict[str, Any]]:
    """One row a run: the speeds, and the shares."""
    model, data = load("portraits", device="cpu", dtype=DTYPES[dtype]), counterfactual("portraits", "test").head(items)
    plan = Plan(model=model, dataset=data, methods=tuple(stored_methods(model, METHODS)), strengths=STRENGTHS)
    found: list[dict[str, Any]] = []
    for _ in range(repeats):
        best, batch = best_speed(model, data, workers)
        evaluations, seconds, busy = bench(plan, DTYPES[dtype], workers)
        row = {
            "dtype": dtype,
            "best_speed": best,
            "best_batch": batch,
            "evaluations": evaluations,
            "run_seconds": seconds,
            "unit_seconds": busy,
            "whole": evaluations / (best * seconds),
            "units": evaluations / (best * busy),
        }
        print(" ".join(f"{name} {value}" for name, value in rounded(row).items()), file=sys.stderr, flush=True)
        found.append(row)
    return found


def print_peak(pictures: int) -> None:
    """A cheap run of so many pictures in this process, and its peak resident memory in MiB."""
    keep_freed_memory()
    some = counterfactual("portraits", "test").items
    items = tuple(
        dataclasses.replace(some[index % len(some)], id=str(index), group=str(index)) for index in range(pictures)
    )
    data = Dataset(name="repeated", version="1", items=items)
    model = load("portraits", device="cpu")
    plan = Plan(model=model, dataset=data, methods=(CHEAP,), strengths=(1.0,), batch=EVEN_BATCH)
    bench(plan, model.network_dtype, 1)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(peak.split()[1]) / 1024)


def peak_mib(pictures: int) -> float:
    """That of a fresh process."""
    program = [sys.executable, __file__, "--alone", str(pictures)]
    return float(subprocess.run(program, check=True, capture_output=True, text=True).stdout.split()[-1])


def share_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The shares as tables."""
    cells = [
        [
            row["dtype"],
            f"{row['best_speed']:.1f} at {row['best_batch']}",
            str(row["evaluations"]),
            f"{row['run_seconds']:.1f}",
            f"{row['evaluations'] / row['run_seconds']:.1f}",
            f"{row['whole']:.3f}",
            f"{row['units']:.3f}",
        ]
        for row in rows
    ]
    lines = table(["dtype", "best pictures/s", "evaluations", "s", "evaluations/s", "share, whole", "units"], cells)
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        some = {kind: [row[kind] for row in rows if row["dtype"] == dtype] for kind in ("whole", "units")}
        told = [f"{k} best {max(values):.3f}, median {statistics.median(values):.3f}" for k, values in some.items()]
        lines.append(f"{dtype}: {'; '.join(told)} (bar {BAR_SHARE}).")
    return lines


def main() -> None:
    """Measure, print, and store where it is asked for."""
    parser = argparse.ArgumentParser(description="How much of the network's best speed a benchmark keeps.")
    parser.add_argument("--dtype", choices=DTYPES, nargs="+", default=list(DTYPES))
    parser.add_argument("--items", type=int, default=160)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pictures", type=int, nargs="+", help="measure peak memory at these sizes instead")
    parser.add_argument("--output", type=Path, help="without an ending: .json and .md are written")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        print_peak(asked.alone)
        return
    content: dict[str, Any]
    if asked.pictures:
        peaks = {count: peak_mib(count) for count in asked.pictures}
        growth = max(peaks.values()) / min(peaks.values()) - 1
        content = {"peak_mib": peaks, "growth": growth, "bar": BAR_GROWTH, "holds": growth < BAR_GROWTH}
        lines = table(["pictures", "peak MiB"], [[str(count), f"{peak:.0f}"] for count, peak in peaks.items()])
        lines.append(f"Difference {100 * growth:.1f} % (bar: below {100 * BAR_GROWTH:.0f} %).")
    else:
        keep_freed_memory()
        rows = [row for dtype in asked.dtype for row in shares(dtype, asked.items, asked.workers, asked.repeats)]
        content = {"workers": asked.workers, "items": asked.items, "methods": METHODS, "bar": BAR_SHARE, "runs": rows}
        lines = share_lines(rows)
    print("\n".join(lines))
    if asked.output is not None:
        save(asked.output, content, lines)


if __name__ == "__main__":
    main()
