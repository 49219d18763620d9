"""Survival: whether a benchmark that is killed, shared, spread or cut otherwise gives the same table, byte by byte.

The rendered set by eim, sdedit and flowedit at two strengths in batches of four, in bfloat16, by the bundled model:

    undisturbed     one process, from the beginning to the end: the reference
    killed          SIGKILL to the process group at random moments while it is at work, then `bench resume`
    two runners     the same command twice at once, on one folder
    two workers     --workers 2, one of which is killed at work
    cluster         a local Ray cluster of three workers, one of which is killed at work
    batches of 6    instead of 4, and likewise of 12, all at once

Finished units are watched throughout: lost is one that is gone, repeated one that is written again.

    python benchmarks/survival.py       writes results/survival.{json,md}
"""

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import psutil
from edit_errors import RESULTS, table

from latentedit.api.runs.folder import ROWS, TABLE, RunFolder

LATENTEDIT = Path(sys.executable).with_name("latentedit")
RAY = Path(sys.executable).with_name("ray")
METHODS = ("eim", "sdedit", "flowedit")
LOOK_S = 0.05

NODE = "127.0.0.1"


@dataclasses.dataclass(kw_only=True)
class Trial:
    """One way to come to a table.

    Args:
        what: is done.
        folder: of the run.
        kills: that hit somebody at work.
        lost: finished units that went away.
        repeated: finished units that were written again.
        seconds: that it took.
        seen: finished units, and when each was written.
    """

    what: str
    folder: Path
    kills: int = 0
    lost: int = 0
    repeated: int = 0
    seconds: float = 0.0
    seen: dict[str, int] = dataclasses.field(default_factory=dict[str, int])

    def look(self) -> None:
        """Compare the finished units with those of the last time."""
        there: dict[str, int] = {}
        for place in (self.folder / ROWS).glob("*.parquet"):
            with contextlib.suppress(FileNotFoundError):
                there[place.stem] = place.stat().st_mtime_ns
        self.lost += len(self.seen.keys() - there.keys())
        self.repeated += sum(there.get(unit, time) != time for unit, time in self.seen.items())
        self.seen = there

    def watch(self, runners: Sequence[subprocess.Popen[bytes]], *, until: Callable[[], bool] = lambda: False) -> None:
        """Look until all runners have ended, or something happens."""
        try:
            while any(runner.poll() is None for runner in runners) and not until():
                self.look()
                time.sleep(LOOK_S)
        except KeyboardInterrupt:
            for runner in runners:
                os.killpg(runner.pid, signal.SIGKILL)
            raise
        self.look()

    def at_work(self) -> bool:
        """Somebody holds a unit."""
        return (self.folder / ROWS).is_dir() and bool(RunFolder(path=self.folder, manifest={}).claimed())


def start(*arguments: object) -> subprocess.Popen[bytes]:
    """A command in a process group of its own."""
    return subprocess.Popen(
        [str(LATENTEDIT), "bench", *map(str, arguments), "--quiet"],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def finish(trial: Trial, *runners: subprocess.Popen[bytes]) -> None:
    """Wait for runners that must end well."""
    trial.watch(runners)
    codes = [runner.wait() for runner in runners]
    if any(codes):
        raise SystemExit(f"{trial.what}: a runner ended with {codes}")


def killed(trial: Trial, begin: Sequence[object], moments: Sequence[float]) -> None:
    """Begin, then kill and resume, each time so many seconds after the work began."""
    command = begin
    for moment in moments:
        runner = start(*command)
        trial.watch([runner], until=trial.at_work)
        end = time.monotonic() + moment
        trial.watch([runner], until=lambda end=end: time.monotonic() > end)
        if runner.poll() is None:
            trial.kills += trial.at_work()
            os.killpg(runner.pid, signal.SIGKILL)
        runner.wait()
        trial.look()
        print(f"killed after {moment:.1f} s of work; {len(trial.seen)} units are finished", file=sys.stderr)
        command = ("resume", trial.folder, "--workers", 1)
    finish(trial, start(*command))


def kill_one(trial: Trial, runner: subprocess.Popen[bytes], workers: Callable[[], list[psutil.Process]]) -> None:
    """Once a unit is finished, kill a worker that is at another; the rest must finish."""
    trial.watch([runner], until=lambda: bool(trial.seen) and bool(workers()))
    for worker in workers()[:1]:
        worker.kill()
        trial.kills += 1
    finish(trial, runner)


def spawned(parent: int) -> list[psutil.Process]:
    """Worker processes of a runner."""
    return [child for child in children(parent) if "spawn_main" in " ".join(child.cmdline())]


def measuring(parent: int) -> list[psutil.Process]:
    """Ray's workers that are at a unit."""
    return [child for child in children(parent) if "_Worker.measure" in " ".join(child.cmdline())]


def children(parent: int) -> list[psutil.Process]:
    """Processes below one that are alive."""
    found: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(parent).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.cmdline():
                    found.append(child)
    return found


@contextlib.contextmanager
def ray_cluster(cores: int) -> Generator[tuple[str, int]]:
    """A cluster in a folder of its own; its address, and the process above all of its processes."""
    folder = tempfile.mkdtemp(prefix="ray-")
    with socket.create_server((NODE, 0)) as free:
        port = free.getsockname()[1]
    sizes = [f"--num-cpus={cores}", "--include-dashboard=false", f"--temp-dir={folder}"]
    head = subprocess.Popen(
        [str(RAY), "start", "--head", f"--port={port}", f"--node-ip-address={NODE}", *sizes, "--block"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    try:
        while subprocess.run(
            [str(RAY), "health-check", f"--address={NODE}:{port}"], capture_output=True, check=False
        ).returncode:
            time.sleep(0.5)
        yield f"{NODE}:{port}", head.pid
    finally:
        below = children(head.pid)
        head.terminate()
        for process in psutil.wait_procs(below, timeout=20)[1]:
            process.kill()
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)


def trials(home: Path, items: int, kills: int, seed: int) -> list[Trial]:
    """All of them, one after the other; the first is the reference."""
    methods = [part for name in METHODS for part in ("--method", name)]
    plan = ["--items", items, *methods, "--strengths", "1,2", "--dtype", "bfloat16"]
    done: list[Trial] = []

    @contextlib.contextmanager
    def trial(what: str, batch: int = 4) -> Generator[tuple[Trial, list[object]]]:
        made, started = Trial(what=what, folder=home / what.replace(" ", "-")), time.perf_counter()
        print(what, file=sys.stderr)
        yield made, ["run", "-o", made.folder, *plan, "--batch", batch]
        made.seconds = time.perf_counter() - started
        done.append(made)

    with trial("undisturbed") as (one, run):
        finish(one, start(*run, "--workers", 1))
    work = sum(record["seconds"] for record in RunFolder.read(one.folder).records().values())
    between = work / (kills + 1) if kills else 0.0
    with trial("killed") as (one, run):
        moments = between * np.random.default_rng(seed).uniform(0.2, 1.2, kills)
        killed(one, [*run, "--workers", 1], moments.tolist())
    with trial("two runners") as (one, run):
        finish(one, start(*run, "--workers", 1), start(*run, "--workers", 1))
    with trial("two workers") as (one, run):
        runner = start(*run, "--workers", 2)
        kill_one(one, runner, lambda: spawned(runner.pid))
    with ray_cluster(3) as (address, head), trial("cluster") as (one, run):
        kill_one(one, start(*run, "--ray", address, "--workers", 3), lambda: measuring(head))
    for batch in (6, 12):
        with trial(f"batches of {batch}", batch) as (one, run):
            finish(one, start(*run, "--workers", 1))
    return done


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=12)
    parser.add_argument("--kills", type=int, default=10, help="of the one that is killed and resumed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of survival.json and survival.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        done = trials(Path(home), arguments.items, arguments.kills, arguments.seed)
        reference = (done[0].folder / TABLE).read_bytes()
        manifest = RunFolder.read(done[0].folder).manifest
        found = [
            {
                "what": one.what,
                "kills": one.kills,
                "lost": one.lost,
                "repeated": one.repeated,
                "identical": (one.folder / TABLE).read_bytes() == reference,
                "seconds": round(one.seconds, 1),
            }
            for one in done
        ]
    command = " ".join(["python", "benchmarks/survival.py", *sys.argv[1:]])
    content = {"command": command, "units": len(manifest["units"]), "plan": manifest["plan"], "trials": found}
    names = {"lost": "finished units lost", "repeated": "finished units repeated"}
    rows = [[("yes" if v else "no") if isinstance(v, bool) else str(v) for v in row.values()] for row in found]
    head = f"{content['units']} units; model {manifest['plan']['model']}, {manifest['plan']['network_dtype']}."
    lines = [f"`{command}`", "", head, "", *table([names.get(name, name) for name in found[0]], rows)]
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "survival.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (arguments.output / "survival.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
