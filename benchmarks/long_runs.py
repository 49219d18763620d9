"""Crash tests: commands are killed at random moments and run again until they finish.

    python benchmarks/long_runs.py --kills 1000 > out/long-runs.json     an hour of one core; Linux

A fork of this process, which has loaded the libraries and a random miniature, does a command and is killed (SIGKILL) at
a random moment of its undisturbed time; another one resumes. Invariants: no finished unit is lost or repeated, no file
is half written under its final name, and the final files equal those of the undisturbed run, byte for byte, except for
measured times, memory and the claims of a run.
"""

import argparse
import contextlib
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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib import figure
from PIL import Image

from latentedit.cli.main import run as command_line
from latentedit.core.files import pack_tensors
from latentedit.editing.outputs import write_together
from latentedit.models import registry
from latentedit.testing.miniature import miniature_sd3
from latentedit_bench.data.items import Item
from latentedit_bench.data.loading import write_manifest
from latentedit_keep.base.files import atomic_file, write_text
from latentedit_keep.base.saving import save_image

OUT = Path("out/long-runs").resolve()
FROM, TO = "a person with no glasses", "a person with glasses"
LOG, LONGEST_S = "log.txt", 600
MEASURED = re.compile(rb'("(?:[a-z_]*seconds|peak_bytes|pixels)": )[-+.e0-9a-z]+')
COUNTED = ("runs", "kills", "lost", "again", "different", "torn", "hidden", "temporary")
Work = Callable[[Path], int]  # runs a command in a folder, and gives its exit code


def prepared(folder: Path) -> dict[str, tuple[Work, float]]:
    """Each command by name, with its share of all kills; what they need is made where it is missing."""
    torch.set_num_threads(1)
    model, photos, data, settings = (folder / name for name in ("model", "photos", "data", "settings.json"))
    if not model.exists():
        miniature_sd3(model, t5=False)
        photos.mkdir()
        for seed in range(4):
            noise(seed, (40, 56)).save(photos / f"{seed}.png")
        images = [functools.partial(noise, seed, (64, 64)) for seed in range(6)]
        captions = {"source_caption": FROM, "target_caption": TO}
        items = [Item(id=f"{n}", image=images[n], truth=images[n + 3], **captions) for n in range(3)]
        write_manifest(items, data)
    load, loaded = registry.load, registry.load(model, device="cpu")
    method = {"editor": "flowslider", "local": False, "best": {"steps": 4, "level": 0.8, "noises": 1}}
    tuned = {"model": "miniature", "fingerprint": loaded.fingerprint, "methods": {"one": method}}
    settings.write_text(json.dumps(tuned))
    registry.load = lambda name, **more: loaded if Path(name) == model else load(name, **more)
    figure.Figure.savefig = lambda _, file, **__: file.write(b"figure")
    common = ("--model", model, "--workers", 1, "--quiet")

    def edit(_: Path) -> int:
        words = ("--source-prompt", FROM, "--prompt", TO, "--method", "sdedit", "--batch", 1, "--device", "cpu")
        return typed("edit", photos, *words, *common, "-o", "run")

    def bench(_: Path) -> int:
        plan = ("--settings", settings, "--strengths", "0.5,1", "--batch", 1, "--device", "cpu")
        return typed("bench", "run", data / "manifest.csv", *plan, *common, "-o", "run")

    return {
        "single writes": (write, 0.8),
        "folder run of edit": (edit, 0.14),
        "bench run": (bench, 0.06),
    }


def typed(*words: object) -> int:
    """A command line, as the program would run it."""
    sys.argv = ["latentedit", *map(str, words)]
    return command_line(sys.argv[1:])


def noise(seed: int, size: tuple[int, int]) -> Image.Image:
    """An image of nothing."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8))


def write(folder: Path, version: int = 1) -> int:
    """Ten times an image with its record, a file of tensors, a text, and an image together with its JSON."""
    for number in range(10):
        image, text = noise(10 * number + version, (48, 48)), f"{version} " * 2000
        save_image(image, folder / f"{number}.png", record=text, payload=text.encode())
        with atomic_file(folder / f"{number}.safetensors") as file:
            file.write(pack_tensors({"a": torch.full((5000,), float(version))}, {"b": text}))
        write_text(folder / f"{number}.txt", text)
        both = [functools.partial(save_image, image), functools.partial(write_text, text=text)]
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
    skipped = re.compile(rf"{LOG}|run/claims/.*|tmp/.*|.*/\..*")
    found = {name: place.read_bytes() for name, place in names.items() if not skipped.fullmatch(name)}
    measured = (".json", ".jsonl")
    return {name: MEASURED.sub(rb"\1", text) if name.endswith(measured) else text for name, text in found.items()}


def fork(work: Work, folder: Path) -> int:
    """Begin a command in a process of its own."""
    if child := os.fork():
        return child
    code = 99
    try:
        log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        tempfile.tempdir = str(folder / "tmp")
        os.chdir(folder)
        code = work(folder)
    except BaseException:  # noqa: BLE001 (a child never comes back)
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int, seconds: float, folder: Path) -> bool:
    """Whether a fork finished without being killed; it is killed after some seconds."""
    end = time.monotonic() + seconds
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if (left := end - time.monotonic()) <= 0:
            os.kill(child, signal.SIGKILL)
            done = os.waitpid(child, 0)
            break
        time.sleep(min(left, 0.002))
    code = os.waitstatus_to_exitcode(done[1])
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"exit code {code}: {(folder / LOG).read_text('utf-8', 'replace')[-3000:]}")
    return code == 0


@contextlib.contextmanager
def started(work: Work) -> Iterator[tuple[Path, Mapping[str, bytes]]]:
    """A folder for a command, and what stands in it before: single writes replace older files."""
    folder = Path(tempfile.mkdtemp(dir=OUT))
    (folder / "tmp").mkdir()
    if work is write:
        write(folder, 0)
    yield folder, contents(folder)
    shutil.rmtree(folder)


def killed(work: Work, seconds: float, whole: Mapping[str, bytes], most: int, moments: random.Random) -> Counter[str]:
    """A command that is killed and run again until it finishes; counts the violations."""
    count, through = Counter(dict.fromkeys(COUNTED, 0) | {"runs": 1}), False
    with started(work) as (folder, old):
        while not through:
            before = units(folder)
            moment = moments.uniform(0, seconds) if count["kills"] < most else LONGEST_S
            through = ended(fork(work, folder), moment, folder)
            after, files = units(folder), contents(folder)
            count["kills"] += not through
            count["lost"] += len(before.keys() - after.keys())
            count["again"] += sum(before[name] != after[name] for name in before.keys() & after.keys())
            count["torn"] += sum(text not in (old.get(name), whole.get(name)) for name, text in files.items())
        count["different"] = sum(files.get(name) != whole.get(name) for name in files.keys() | whole)
        count["hidden"] = sum(place.is_file() for place in folder.rglob(".*"))
        count["temporary"] = sum(1 for _ in (folder / "tmp").iterdir())
    return count


def main() -> None:
    """Kill, and print what was counted as one JSON object."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=1000, help="of all commands together")
    kills, command, found = options.parse_args().kills, shlex.join(["python", *sys.argv]), dict[str, Counter[str]]()
    OUT.mkdir(parents=True, exist_ok=True)
    for name, (work, share) in prepared(OUT).items():
        with started(work) as (folder, _), contextlib.chdir(folder):
            work(folder)  # so that forks have imported what it imports
        with started(work) as (folder, _):
            began = time.monotonic()
            ended(fork(work, folder), LONGEST_S, folder)
            seconds, whole = time.monotonic() - began, contents(folder)
        print(f"{name}: {seconds:.2f} s undisturbed", file=sys.stderr, flush=True)
        wanted, count = max(1, round(share * kills)), Counter[str]()
        while (left := wanted - count["kills"]) > 0:
            count.update(killed(work, seconds, whole, left, random.Random(f"{name}/{count['runs']}")))
            print(name, dict(count), file=sys.stderr, flush=True)
        found[name] = count
    found["all"] = Counter({key: sum(one[key] for one in found.values()) for key in COUNTED})
    print(json.dumps({"command": command, "kills": found}, indent=1))


if __name__ == "__main__":
    main()
