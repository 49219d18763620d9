"""How much of the network's best speed `latentedit bench run` keeps.

    python benchmarks/throughput.py --workers 2 > results/throughput.json

Best speed: pictures a second of one forward, at the best batch size, on as many threads as the run has workers, each of
which uses one. The share is evaluations / (best speed x seconds), evaluations being those that the model counted. In
"whole" the seconds are those of the run, loading the model in other processes included; "units" leaves out the start
and the idle end, as in a run of hours: it takes the mean over the workers of the seconds in which they measured.

Run it on a machine that does nothing else.
"""

import argparse
import functools
import json
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from latentedit.batch.executors import Executor
from latentedit.batch.folder import RunFolder
from latentedit.core.process import keep_freed_memory
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.items import Dataset
from latentedit_bench.data.prepared import prepare
from latentedit_bench.ranking.plan import Plan
from latentedit_bench.ranking.run import run
from latentedit_bench.tuning.tuning import stored_methods

METHODS = ("eim", "flowedit", "inversion", "dds")
STRENGTHS = (0.5, 1.0, 1.5)
BATCHES = (8, 16, 32, 48, 64, 96, 128)


@torch.no_grad()
def best_speed(model: Backbone, data: Dataset, threads: int) -> tuple[float, int]:
    """Pictures a second of a forward, and at which batch size; the fastest of some calls after one to get warm."""
    latent, found = prepare(model, data.head(1).items).latent, list[tuple[float, int]]()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    for batch in BATCHES:
        z, s, text = latent.z.repeat(batch, 1, 1, 1), torch.full((batch,), 0.6), latent.condition.expand(batch)
        times: list[float] = []
        for _ in range(4):
            started = time.perf_counter()
            model.velocity(z, s, text)
            times.append(time.perf_counter() - started)
        found.append((batch / min(times[1:]), batch))
    torch.set_num_threads(before)
    return max(found)


def bench(plan: Plan, workers: int) -> tuple[int, float, float]:
    """Evaluations of a run, its seconds, and those in which its workers measured."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run(
            plan,
            Path(folder) / "run",
            command="benchmarks/throughput.py",
            load=functools.partial(load, "portraits", device="cpu", dtype=plan.model.network_dtype),
            executor=Executor(workers=workers),
        )
        seconds = time.perf_counter() - started
        records = RunFolder.read(Path(folder) / "run").records().values()
    evaluations = sum(record.evaluations for record in records)
    return evaluations, seconds, sum(record.seconds for record in records) / workers


def share(dtype: str, items: int, workers: int) -> dict[str, Any]:
    """The speeds of one run, and the shares."""
    model = load("portraits", device="cpu", dtype=getattr(torch, dtype))
    data = counterfactual("portraits", "test").head(items)
    plan = Plan(model=model, dataset=data, methods=tuple(stored_methods(model, METHODS)), strengths=STRENGTHS)
    best, batch = best_speed(model, data, workers)
    evaluations, seconds, busy = bench(plan, workers)
    found = {"best_speed": best, "run_seconds": seconds, "unit_seconds": busy}
    found |= {"whole": evaluations / (best * seconds), "units": evaluations / (best * busy)}
    rounded = {name: float(f"{value:.5g}") for name, value in found.items()}
    return {"dtype": dtype, "best_batch": batch, "evaluations": evaluations, **rounded}


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--items", type=int, default=160)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    keep_freed_memory()
    runs = [share(dtype, chosen.items, chosen.workers) for dtype in chosen.dtype for _ in range(chosen.repeats)]
    found = {"command": shlex.join(["python", *sys.argv]), "workers": chosen.workers, "items": chosen.items}
    print(json.dumps({**found, "methods": METHODS, "bar": 0.85, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
