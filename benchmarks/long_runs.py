"""Crash tests: commands are killed at random moments and gone on with, until they are through.

    python benchmarks/long_runs.py --kills 1000 > out/long-runs.json     an hour of one core; Linux

A fork of this process, which has loaded the libraries and a random miniature, does a command and is killed (SIGKILL) at
a uniformly random moment of the time that the command takes undisturbed; another one goes on. Invariants: no finished
unit is lost or repeated, no file under its final name is half written, and at the end the files are those of the
undisturbed run, byte for byte. Left out are measured seconds and bytes of memory, the claims of a run, and hidden and
temporary files, which are counted. A kill ends a process and not the machine: power failures are not tried.
"""

import argparse
import collections
import contextlib
import dataclasses
import functools
import json
import os
import random
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import figure
from PIL import Image

from latentedit.api.manifests.items import Item
from latentedit.api.manifests.manifest import write_manifest
from latentedit.api.outputs import write_together
from latentedit.api.runs.folder import RunFolder
from latentedit.cli.main import run as command_line
from latentedit.core.files.tensors import pack
from latentedit.models import registry
from latentedit.testing.miniature import miniature_sd3
from latentedit_keep.files import write_text, written_beside
from latentedit_keep.pictures import save_image

OUT = Path("out/long-runs").resolve()
FROM, TO = "a person with no glasses", "a person with glasses"
STORED, LOG = "stored.txt", "log.txt"
"""In the folder of a command: a line for each unit that was stored, and what the command printed."""

LONGEST_S = 600
MEASURED = re.compile(rb'("(?:[a-z_]*seconds|peak_bytes|pixels)": )[-+.e0-9a-z]+')
COUNTED = ("runs", "kills", "finished", "lost", "again", "different", "torn", "hidden", "temporary")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A command that can be gone on with.

    Args:
        name: in the results.
        work: runs the command in a folder, and gives its exit code.
        share: of all kills.
        runners: at work together, of which one is killed.
    """

    name: str
    work: Callable[[Path], int]
    share: float
    runners: int = 1


def prepared(folder: Path) -> list[Job]:
    """The jobs, on a miniature and a few small pictures, which are made where they are missing."""
    torch.set_num_threads(1)
    model, photos, data, settings = (folder / name for name in ("model", "photos", "data", "settings.json"))
    if not model.exists():
        miniature_sd3(model, t5=False)
        photos.mkdir()
        for seed in range(4):
            noise(seed, (40, 56)).save(photos / f"{seed}.png")
        pictures = [functools.partial(noise, seed, (64, 64)) for seed in range(6)]
        captions = {"source_caption": FROM, "target_caption": TO}
        items = [Item(id=f"{n}", picture=pictures[n], truth=pictures[n + 3], **captions) for n in range(3)]
        write_manifest(items, data)
    load, loaded, add = registry.load, registry.load(model, device="cpu"), RunFolder.add
    method = {"editor": "flowslider", "local": False, "best": {"steps": 4, "level": 0.8, "noises": 1}}
    tuned = {"model": "miniature", "fingerprint": loaded.fingerprint, "methods": {"one": method}}
    settings.write_text(json.dumps(tuned))

    def storing(run: RunFolder, unit: str, *more: Any, **named: Any) -> None:
        add(run, unit, *more, **named)
        with Path(STORED).open("a") as file:
            file.write(f"{unit}\n")

    for owner, name, value in (
        (registry, "load", lambda name, **more: loaded if Path(name) == model else load(name, **more)),
        (figure.Figure, "savefig", lambda _, file, **__: file.write(b"figure")),
        (RunFolder, "add", storing),
    ):
        setattr(owner, name, value)
    common = ("--model", model, "--workers", 1, "--quiet")

    def edit(_: Path) -> int:
        words = ("--from", FROM, "--to", TO, "--method", "sdedit", "--batch", 1, "--device", "cpu")
        return typed("edit", photos, *words, *common, "-o", "run")

    def bench(here: Path) -> int:
        if (here / "run" / "run.json").exists():
            return typed("bench", "resume", "run", "--data", data / "manifest.csv", *common)
        plan = ("--settings", settings, "--strengths", "0.5,1", "--batch", 1, "--device", "cpu")
        return typed("bench", "run", data / "manifest.csv", *plan, *common, "-o", "run")

    return [
        Job(name="single writes", work=write, share=0.8),
        Job(name="folder run of edit", work=edit, share=0.13),
        Job(name="bench run, bench resume", work=bench, share=0.05),
        Job(name="bench, two at once", work=bench, share=0.02, runners=2),
    ]


def typed(*words: object) -> int:
    """A command line, as the program would run it."""
    sys.argv = ["latentedit", *map(str, words)]
    return command_line(sys.argv[1:])


def noise(seed: int, size: tuple[int, int]) -> Image.Image:
    """A picture of nothing."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8))


def write(folder: Path, version: int = 1) -> int:
    """Ten times a picture with its record, a file of tensors, a text, and a picture together with its JSON."""
    for number in range(10):
        picture, text = noise(10 * number + version, (48, 48)), f"{version} " * 2000
        save_image(picture, folder / f"{number}.png", record=text, payload=text.encode())
        with written_beside(folder / f"{number}.safetensors") as file:
            file.write(pack({"a": torch.full((5000,), float(version))}, {"b": text}))
        write_text(folder / f"{number}.txt", text)
        both = [functools.partial(save_image, picture), functools.partial(write_text, text=text)]
        names = (folder / f"{number}.both.png", folder / f"{number}.both.json")
        write_together(list(zip(names, both, strict=True)))
    return 0


def units(folder: Path) -> dict[str, tuple[int, int]]:
    """Finished units of a run, by file and moment."""
    found = {place.stem: place.stat() for place in (folder / "run" / "rows").glob("[!.]*")}
    return {name: (status.st_ino, status.st_mtime_ns) for name, status in found.items()}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a job that can be seen, without what is measured."""
    names = {place.relative_to(folder).as_posix(): place for place in sorted(folder.rglob("[!.]*")) if place.is_file()}
    skipped = re.compile(rf"{STORED}|{LOG}|run/claims/.*|tmp/.*|.*/\..*")
    found = {name: place.read_bytes() for name, place in names.items() if not skipped.fullmatch(name)}
    measured = (".json", ".jsonl")
    return {name: MEASURED.sub(rb"\1", text) if name.endswith(measured) else text for name, text in found.items()}


def fork(job: Job, folder: Path) -> int:
    """Begin a job in a process of its own."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.setpgid(0, 0)
        tempfile.tempdir = str(folder / "tmp")
        log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = inside(job, folder)
    except BaseException:  # noqa: BLE001 (a child never comes back)
        traceback.print_exc()
    finally:
        os._exit(code)


def inside(job: Job, folder: Path) -> int:
    """Do a job in its folder."""
    with contextlib.chdir(folder):
        return job.work(folder)


def ended(child: int, seconds: float, folder: Path) -> bool:
    """Whether a fork ended well by itself; it is killed after so many seconds."""
    end = time.monotonic() + seconds
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if (left := end - time.monotonic()) <= 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
            done = os.waitpid(child, 0)
            break
        time.sleep(min(left, 0.002))
    code = os.waitstatus_to_exitcode(done[1])
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"exit code {code}: {(folder / LOG).read_text('utf-8', 'replace')[-3000:]}")
    return code == 0


@contextlib.contextmanager
def started(job: Job) -> Iterator[tuple[Path, Mapping[str, bytes]]]:
    """A folder for a job, and what stands in it before: single writes replace older files."""
    folder = Path(tempfile.mkdtemp(dir=OUT))
    (folder / "tmp").mkdir()
    if job.work is write:
        write(folder, 0)
    yield folder, contents(folder)
    shutil.rmtree(folder)


def killed(job: Job, seconds: float, whole: Mapping[str, bytes], most: int, moments: random.Random) -> dict[str, int]:
    """A job that is killed and gone on with until it is through; counts what happened."""
    count, through = collections.Counter(dict.fromkeys(COUNTED, 0) | {"runs": 1}), False
    with started(job) as (folder, old):
        while not through:
            before = units(folder)
            children = [fork(job, folder) for _ in range(job.runners)]
            through = ended(children[0], moments.uniform(0, seconds) if count["kills"] < most else LONGEST_S, folder)
            for other in children[1:]:
                ended(other, LONGEST_S, folder)
            after = units(folder)
            count["kills"] += not through
            count["lost"] += len(before.keys() - after.keys())
            count["again"] += sum(before[name] != after[name] for name in before.keys() & after.keys())
            files = contents(folder)
            count["torn"] += sum(text not in (old.get(name), whole.get(name)) for name, text in files.items())
        count["different"] = sum(files.get(name) != whole.get(name) for name in files.keys() | whole)
        lines = (folder / STORED).read_text().splitlines() if (folder / STORED).exists() else []
        count["finished"] = len(set(lines))
        count["again"] += len(lines) - len(set(lines))
        count["hidden"] = sum(place.is_file() for place in folder.rglob(".*"))
        count["temporary"] = sum(1 for _ in (folder / "tmp").iterdir())
    return count


def main() -> None:
    """Kill, and print what was counted as one JSON object."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=1000, help="of all commands together")
    kills, command = options.parse_args().kills, shlex.join(["python", *sys.argv])
    OUT.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, int]] = {}
    for job in prepared(OUT):
        with started(job) as (folder, _):
            inside(job, folder)  # so that forks have imported what it imports
        with started(job) as (folder, _):
            began = time.monotonic()
            ended(fork(job, folder), LONGEST_S, folder)
            seconds, whole = time.monotonic() - began, contents(folder)
        print(f"{job.name}: {seconds:.2f} s undisturbed", file=sys.stderr, flush=True)
        wanted, count = max(1, round(job.share * kills)), collections.Counter[str]()
        while (left := wanted - count["kills"]) > 0:
            count.update(killed(job, seconds, whole, left, random.Random(f"{job.name}/{count['runs']}")))
            print(job.name, dict(count), file=sys.stderr, flush=True)
        found[job.name] = dict(count)
    found["all"] = {name: sum(one[name] for one in found.values()) for name in COUNTED}
    print(json.dumps({"command": command, "kills": found}, indent=1))


if __name__ == "__main__":
    main()
