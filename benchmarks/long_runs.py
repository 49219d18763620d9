"""Long runs: processes that are killed, disks that fill, clocks that jump, thousands of edits, threads.

    python benchmarks/long_runs.py --kills 1000 --save           everything, an hour of one core; Linux, as root
    python benchmarks/long_runs.py --only kills --kills 20       one part

Whatever was counted is kept in out/long-runs and counts when it is run again; delete that folder after a change. The
commands run on random miniatures in forks of this process, which has the libraries and the model already.

kills    A fork that does a command is killed (SIGKILL) at a uniformly random moment of the time that the command takes
         undisturbed, and another one goes on, until one is through. Held to: no finished part gone or done again, and
         at the end the files of the undisturbed run, byte for byte. Left out are measured seconds and bytes of memory,
         the claims of a run, and hidden files, which are counted.
disk     The same on a small tmpfs that is full at a random point, with the temporary folder on it. Held to: exit code 2
         and one line; every file that can be seen is whole; after space is made the command ends as if undisturbed.
clocks   The same kills with a time.time that jumps by up to 1,000 days at each call, and with times of files between
         1980 and 2100, those of held claims too. Monotonic clocks cannot jump.
life     Edits, sweeps, ways back and keeps in one process, after a fifth of as many to warm up. Held to, beforehand:
         resident memory grows by less than 5 MB per 1,000 edits, or by no more than twice its standard error; as many
         open files, threads and temporary files at the end as after the warm-up.
threads  Four threads with one model, one core each, make every edit of a list, each in another order. Held to: pictures
         and network evaluations are those of one thread, bit for bit.
"""

import argparse
import collections
import contextlib
import dataclasses
import datetime as dt
import functools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from matplotlib import figure
from PIL import Image
from results import RESULTS, save, table

import latentedit as le
from latentedit.api import calibrate, settings_search
from latentedit.api.manifests.items import Item
from latentedit.api.manifests.manifest import write_manifest
from latentedit.api.outputs import write_together
from latentedit.api.runs.folder import RunFolder
from latentedit.cli.main import run as command_line
from latentedit.core.files.tensors import pack
from latentedit.core.plugins import EDITORS
from latentedit.models import registry
from latentedit.models.calibrations import VARIABLE, Unfinished
from latentedit.testing.miniature import miniature_sd3
from latentedit_keep.files import write_text, written_beside
from latentedit_keep.pictures import save_image
from latentedit_portraits import fitting, pixels, train_pixels, verify

OUT = Path("out/long-runs")
FROM, TO = "a person with no glasses", "a person with glasses"
STORED = "stored.txt"
"""Beside a run: a line for each part that was stored."""

SAID = "said.txt"
_DAY_S = 86_400.0
_TIMES_S = (315_532_800, 4_102_444_800)  # 1980 and 2100
_MEASURED = re.compile(rb'("(?:[a-z_]*seconds|peak_bytes|pixels)": )[-+.e0-9a-z]+')
_TOLD_SECONDS = re.compile(rb"\d+ seconds")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command that can be gone on with.

    Args:
        name: what the results call it.
        words: in its folder, what to do; a shorter way where something is there.
        parts: what is finished in its folder, each with what changes when it is done again.
        kills: share of all kills.
        runners: at work together, of which one is killed.
    """

    name: str
    words: Callable[[Path], int]
    parts: Callable[[Path], dict[str, object]]
    kills: float
    runners: int = 1


# What happens in a fork.


def fork(work: Callable[[], int], place: Path, *, tmp: Path, said: Path) -> int:
    """Begin something in a process of its own, in a folder; it says what it says into a file."""
    child = os.fork()
    if child:
        os.setpgid(child, child)
        return child
    code = 99
    try:
        os.setpgid(0, 0)
        os.chdir(place)
        tmp.mkdir(exist_ok=True)
        tempfile.tempdir = str(tmp)
        place_of_words = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(place_of_words, number)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        code = work()
    except BaseException:  # noqa: BLE001 (a child never comes back)
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def ended(child: int, seconds: float) -> int | None:
    """The exit code of a fork; None where it had to be killed after so many seconds."""
    end = time.monotonic() + seconds
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if (left := end - time.monotonic()) <= 0:
            os.killpg(child, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            return None if code == -signal.SIGKILL else code
        time.sleep(min(left, 0.002))
    return os.waitstatus_to_exitcode(done[1])


def noted(owner: type, method: str, name: Callable[..., str]) -> None:
    """From now on a method writes a line into `STORED` of the current folder whenever it has stored something."""
    real = getattr(owner, method)

    @functools.wraps(real)
    def store(*given: Any, **named: Any) -> Any:
        done = real(*given, **named)
        line = os.open(STORED_AT[0] / STORED, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(line, f"{name(*given, **named)}\n".encode())
        os.close(line)
        return done

    setattr(owner, method, store)


STORED_AT = [Path()]
"""Where the lines of this run go."""


def typed(*words: object) -> int:
    """A command line, as the program would run it."""
    arguments = [str(word) for word in words]
    sys.argv = ["latentedit", *arguments]
    try:
        return command_line(arguments)
    except Exception:  # noqa: BLE001 (as in `main`)
        traceback.print_exc()
        return 70


# The commands.


class Bench:
    """A miniature, pictures, and the commands on them; everything smaller than usual."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.model = folder / "model"
        if not self.model.exists():
            miniature_sd3(self.model, t5=False)
            for seed in range(4):
                (folder / "photos").mkdir(exist_ok=True)
                noise(seed, (40, 56)).save(folder / "photos" / f"{seed}.png")
            items = [
                Item(id=f"{n}", picture=lambda n=n: noise(n, (64, 64)), source_caption=FROM, target_caption=TO,
                     truth=lambda n=n: noise(n + 9, (64, 64)))
                for n in range(3)
            ]  # fmt: skip
            write_manifest(items, folder / "data")
        self.photos, self.manifest, self.settings = (
            folder / "photos",
            folder / "data" / "manifest.csv",
            folder / "settings.json",
        )
        self.loaded = registry.load(self.model, device="cpu")
        best = {"steps": 4, "level": 0.8, "noises": 1}
        method = {"editor": "flowslider", "local": False, "best": best}
        told = {"model": "miniature", "fingerprint": self.loaded.fingerprint, "methods": {"one": method}}
        self.settings.write_text(json.dumps(told))
        self._make_small()

    def _make_small(self) -> None:
        load = registry.load
        registry.load = lambda model, **more: (  # pyright: ignore[reportAttributeAccessIssue]
            self.loaded if Path(model) == self.model else load(model, **more)
        )
        calibrate.Calibration = functools.partial(  # pyright: ignore[reportAttributeAccessIssue]
            calibrate.Calibration, pictures=6, steps=2, batch=1, harmed=1
        )
        settings_search.Search = functools.partial(  # pyright: ignore[reportAttributeAccessIssue]
            settings_search.Search, pictures=2, steps=2, batch=1
        )
        found = settings_search.candidates
        settings_search.candidates = lambda model: dict(list(found(model).items())[:2])
        plan = fitting.Plan(
            pictures=3,
            fits={
                "pixels": fitting.FitSettings(steps=8, batch=2, learning_rate=1e-3, warm_up=2, checkpoint_seconds=-1)
            },
        )
        train_pixels.RECIPES["cpu"] = plan
        pixels._WIDTHS = (16, 16, 16, 32)  # pyright: ignore[reportPrivateUsage]
        verify.draw_pictures = functools.partial(  # pyright: ignore[reportAttributeAccessIssue]
            verify.draw_pictures, steps=2
        )
        figure.Figure.savefig = lambda _, file, **__: file.write(b"figure")  # pyright: ignore[reportAttributeAccessIssue]
        noted(RunFolder, "add", lambda _folder, unit, *_more: unit)
        noted(Unfinished, "add", lambda kept, name, *_more: f"{kept.place.stem} {name}")
        noted(fitting._Run, "save", lambda _run, _path, step, *_more: f"step {step}")  # pyright: ignore[reportPrivateUsage]

    def edit(self, _: Path) -> int:
        words = ("--from", FROM, "--to", TO, "--method", "sdedit", "--batch", 1, "--workers", 1, "--quiet")
        return typed("edit", self.photos, *words, "--model", self.model, "--device", "cpu", "-o", "run")

    def bench(self, folder: Path) -> int:
        where = ("--model", self.model, "--workers", 1, "--quiet")
        if (folder / "run" / "run.json").exists():
            return typed("bench", "resume", "run", "--data", self.manifest, *where)
        plan = ("--settings", self.settings, "--strengths", "0.5,1", "--batch", 1, "--device", "cpu")
        return typed("bench", "run", self.manifest, *plan, *where, "-o", "run")

    def calibrate(self, folder: Path) -> int:
        os.environ[VARIABLE] = str(folder / "data")
        return typed("models", "calibrate", self.model, "--device", "cpu", "--quiet")

    def train(self, _: Path) -> int:
        return typed("models", "train", "pixels-portraits", "--out", "out", "--device", "cpu", "--quiet")

    def write(self, folder: Path) -> int:
        """Forty writes of each kind, over older files."""
        try:
            for n in range(10):
                write_one(folder, n, 1)
        except le.errors.LatentEditError as error:
            sys.stderr.write(f"latentedit: {error}\n")
            return 2
        return 0

    def jobs(self) -> list[Job]:
        return [
            Job(name="single writes", words=self.write, parts=lambda _: {}, kills=0.78),
            Job(name="folder run of edit", words=self.edit, parts=units, kills=0.12),
            Job(name="bench run, bench resume", words=self.bench, parts=units, kills=0.05),
            Job(name="bench, two at once", words=self.bench, parts=units, kills=0.01, runners=2),
            Job(name="models calibrate", words=self.calibrate, parts=batches, kills=0.01),
            Job(name="models train", words=self.train, parts=steps, kills=0.03),
        ]


def noise(seed: int, size: tuple[int, int]) -> Image.Image:
    """A picture of nothing."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8))


def write_one(folder: Path, number: int, version: int) -> None:
    """A picture with record and payload, a file of tensors, a text, and a picture with its JSON together."""
    picture, text = noise(10 * number + version, (48, 48)), f"{version} " * 2000
    save_image(picture, folder / f"{number}.png", record=text, payload=text.encode())
    with written_beside(folder / f"{number}.safetensors") as file:
        file.write(pack({"a": torch.full((5000,), float(version))}, {"b": text}))
    write_text(folder / f"{number}.txt", text)
    write_together(
        [
            (folder / f"{number}.both.png", lambda place: save_image(picture, place)),
            (folder / f"{number}.both.json", lambda place: write_text(place, text)),
        ]
    )


def units(folder: Path) -> dict[str, object]:
    """Finished parts of a run, by file and moment."""
    return {place.stem: identity(place) for place in (folder / "run" / "rows").glob("[!.]*")}


def batches(folder: Path) -> dict[str, object]:
    """Batches of a calibration that is not finished, by what they gave."""
    found: dict[str, object] = {}
    for place in (folder / "data" / "calibrations").glob("[!.]*.partial.json"):
        stored = json.loads(place.read_bytes())["batches"]
        found |= {f"{place.stem} {name}": json.dumps(batch) for name, batch in stored.items()}
    return found


def steps(folder: Path) -> dict[str, object]:
    """Steps of a training that are done."""
    for place in (folder / "out").glob("*.checkpoint.safetensors"):
        with place.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return {f"step {step + 1}": step for step in range(int(header["__metadata__"]["step"]))}
    return {}


def identity(place: Path) -> object:
    status = place.stat()
    return status.st_ino, status.st_mtime_ns


def calibrated(folder: Path) -> bool:
    """A finished calibration is made anew by the same command: nothing is left to go on from."""
    return any(".partial" not in place.name for place in (folder / "data" / "calibrations").glob("[!.]*.json"))


# What came of it.


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a job that can be seen, without what is measured."""
    found = dict[str, bytes]()
    for place in sorted(folder.rglob("*")):
        name = place.relative_to(folder).as_posix()
        inside = not any(part.startswith(".") for part in place.relative_to(folder).parts)
        if place.is_file() and inside and name not in (STORED, SAID) and not name.startswith(("run/claims/", "tmp/")):
            found[name] = comparable(name, place.read_bytes())
    return found


def comparable(name: str, content: bytes) -> bytes:
    """A file's bytes without seconds and memory, which differ by rights."""
    if name.endswith(".checkpoint.safetensors"):
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])  # the library writes its metadata in another order each time
        del header["__metadata__"]["seconds"]
        return json.dumps(header, sort_keys=True).encode() + content[start:]
    if name.endswith((".json", ".jsonl")):
        return _MEASURED.sub(rb"\1", content)
    if name.endswith("run.json"):
        return content
    if name.endswith("README.md"):
        return _TOLD_SECONDS.sub(b"", content)
    return content


def hidden(folder: Path) -> int:
    """Hidden files that a killed process left; nobody removes them."""
    return sum(place.is_file() and place.name.startswith(".") for place in folder.rglob("*"))


@dataclasses.dataclass(slots=True)
class Trial:
    """One command, from its beginning to its end."""

    kills: int = 0
    finished: int = 0
    lost: int = 0
    again: int = 0
    different: list[str] = dataclasses.field(default_factory=list)
    torn: list[str] = dataclasses.field(default_factory=list)
    hidden: int = 0
    temporary: int = 0
    claims: int = 0
    said: str = ""
    size: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """What to compare with."""

    seconds: float
    files: Mapping[str, bytes]
    bytes: int


class Runs:
    """Forks of the jobs, in a folder each."""

    def __init__(self, bench: Bench, scratch: Path) -> None:
        self._bench, self._scratch, self._whole = bench, scratch, dict[str, Undisturbed]()

    def undisturbed(self, job: Job) -> Undisturbed:
        """Once for each job."""
        if job.name not in self._whole:
            self._import(job)
            with self._folder() as folder:
                self._before(job, folder)
                began = time.monotonic()
                self._check(ended(self._begin(job, folder), 600), folder)
                seconds, size = time.monotonic() - began, sum(one.stat().st_size for one in folder.rglob("*"))
                print(f"{job.name}: {seconds:.2f} s undisturbed", flush=True)
                self._whole[job.name] = Undisturbed(seconds=seconds, files=contents(folder), bytes=size)
        return self._whole[job.name]

    def _import(self, job: Job) -> None:
        """Do it once in this process, so that forks have imported what it imports."""
        here = Path.cwd()
        with self._folder() as folder:
            os.chdir(folder)
            STORED_AT[0] = folder
            try:
                if job.words(folder) != 0:
                    raise SystemExit(f"{job.name} fails")
            finally:
                os.chdir(here)

    def killed(self, job: Job, seed: int, *, most: int, jumping: bool = False) -> Trial:
        """Killed and gone on with, until it is through."""
        whole, generator, trial = self.undisturbed(job), random.Random(f"{job.name}/{seed}/{jumping}"), Trial()
        with self._folder() as folder:
            old = self._before(job, folder)
            while True:
                if jumping:
                    set_times(folder, generator)
                before = job.parts(folder)
                children = [self._begin(job, folder, jump=seed if jumping else None) for _ in range(job.runners)]
                moment = generator.uniform(0, whole.seconds) if trial.kills < most else 600.0
                if jumping:
                    half = min(moment, whole.seconds) / 2
                    time.sleep(half)
                    set_times(folder / "run" / "claims", generator)  # while they are held
                    moment -= half
                code = ended(children[0], moment)
                for other in children[1:]:
                    self._check(ended(other, 600), folder)
                after = job.parts(folder)
                over = job.words == self._bench.calibrate and calibrated(folder)
                if not over:
                    trial.lost += len(before.keys() - after.keys())
                    trial.again += sum(before[name] != after[name] for name in before.keys() & after.keys())
                trial.torn += torn(folder, old, whole.files)
                if code is not None:
                    self._check(code, folder)
                    break
                trial.kills += 1
                if over:
                    break
            self._judge(trial, folder, whole)
        return trial

    def full(self, job: Job, seed: int) -> Trial:
        """On a disk that is full at a random point; then there is space."""
        whole, generator, trial = self.undisturbed(job), random.Random(f"{job.name}/{seed}/disk"), Trial()
        with self._folder() as outside, tmpfs(outside / "disk", 2**26) as folder:
            old = self._before(job, folder)
            used = psutil.disk_usage(str(folder)).used
            needed = max(map(len, old.values())) if old else whole.bytes  # one more than are replaced
            pages = int((used + generator.uniform(0, 1.1) * needed) // 4096 + 1)
            remount(folder, 4096 * pages)
            before = job.parts(folder)
            code = ended(self._begin(job, folder, said=outside / SAID), 600)
            said = (outside / SAID).read_text("utf-8", "replace")
            trial.size, trial.said = 4096 * pages, said.strip()
            lines = [line for line in said.splitlines() if line.strip()]
            if code != 0 and not (code == 2 and len(lines) == 1 and said.startswith("latentedit: ")):
                trial.different.append(f"exit code {code}: {said[-600:]}")
            trial.lost = len(before.keys() - job.parts(folder).keys())
            trial.torn = torn(folder, old, whole.files)
            trial.kills = int(code != 0)
            remount(folder, 2**26)
            before = job.parts(folder)
            self._check(ended(self._begin(job, folder, said=outside / SAID), 600), outside)
            after = {} if job.words == self._bench.calibrate else job.parts(folder)
            trial.again = sum(before[name] != after[name] for name in before.keys() & after.keys())
            self._judge(trial, folder, whole)
        return trial

    def _judge(self, trial: Trial, folder: Path, whole: Undisturbed) -> None:
        files = contents(folder)
        trial.different += [
            name for name in sorted(files.keys() | whole.files) if files.get(name) != whole.files.get(name)
        ]
        stored = (folder.parent if folder.name == "disk" else folder) / STORED
        lines = stored.read_text().splitlines() if stored.exists() else []
        trial.finished = len(set(lines))
        trial.again += sum(count - 1 for count in collections.Counter(lines).values())
        trial.hidden = hidden(folder)
        trial.temporary = sum(1 for _ in (folder / "tmp").iterdir())
        trial.claims = sum(1 for _ in (folder / "run" / "claims").glob("*"))

    @contextlib.contextmanager
    def _folder(self) -> Generator[Path]:
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def _before(self, job: Job, folder: Path) -> dict[str, bytes]:
        """What single writes replace."""
        if job.words != self._bench.write:
            return {}
        for n in range(10):
            write_one(folder, n, 0)
        return contents(folder)

    def _begin(self, job: Job, folder: Path, *, said: Path | None = None, jump: int | None = None) -> int:
        def work() -> int:
            STORED_AT[0] = folder if said is None else said.parent
            if jump is not None:
                time.time = jumping(random.Random(jump))
            return job.words(folder)

        return fork(work, folder, tmp=folder / "tmp", said=folder / SAID if said is None else said)

    def _check(self, code: int | None, folder: Path) -> None:
        if code != 0:
            raise SystemExit(f"exit code {code}: {(folder / SAID).read_text('utf-8', 'replace')[-3000:]}")


def torn(folder: Path, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[str]:
    """Files under their final names that are neither what stood there nor what was to come."""
    found: list[str] = []
    for name, content in contents(folder).items():
        if name.endswith((".partial.json", ".checkpoint.safetensors")) or content in (old.get(name), new.get(name)):
            continue  # a calibration and a training that go on are read by whoever goes on
        if not (name.startswith("out/model/") or name.endswith("latentedit.json")):
            found.append(name)
    return found


def jumping(generator: random.Random) -> Callable[[], float]:
    """A clock that stands somewhere else whenever it is looked at."""
    real = time.time
    return lambda: real() + generator.uniform(-1000, 1000) * _DAY_S


def set_times(folder: Path, generator: random.Random) -> None:
    """Times of files as a clock that jumps would have left them."""
    for place in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            moment = generator.uniform(*_TIMES_S)
            os.utime(place, (moment, moment))


@contextlib.contextmanager
def tmpfs(place: Path, size: int) -> Generator[Path]:
    """A disk of its own."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def remount(place: Path, size: int) -> None:
    """Another size."""
    subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)


# Edits in one process.


def life(bench: Bench, count: int, warm: int) -> dict[str, Any]:
    """Edits of several sizes by several editors, sweeps, ways back and keeps; what the process holds meanwhile."""
    folder = Path(tempfile.mkdtemp(dir=OUT))
    tempfile.tempdir = str(folder / "tmp")
    (folder / "tmp").mkdir()
    model, process, generator = bench.loaded, psutil.Process(), random.Random(0)
    rows: list[tuple[int, float, int, int, int]] = []
    done, began = collections.Counter[str](), time.monotonic()
    for number in range(warm + count + 1):
        if number % 20 == 0:
            held = process.memory_info().rss / 1e6, process.num_fds(), threading.active_count()
            rows.append((number, *held, sum(1 for _ in (folder / "tmp").rglob("*"))))
            if number % 200 == 0:
                print(number, *rows[-1], f"{time.monotonic() - began:.0f} s", flush=True)
        what = generator.choice(("edit", "edit", "edit", "edit", "sweep", "undo", "keep"))
        size = generator.choice(((40, 56), (64, 64), (96, 72), (33, 47)))
        picture, method = noise(number, size), generator.choice(("sdedit", "eim", "chordedit", "uni-edit", "turboedit"))
        done[what] += 1
        if what == "sweep":
            latent = le.encode(model, picture, caption=FROM)
            le.sweep(latent, le.identify(latent, to=TO), strengths=(-1.0, 0.0, 1.0))
            continue
        result = le.edit(model, picture, caption=FROM, to=TO, method="eim" if what == "undo" else method, seed=number)
        if what == "edit":
            result.save(folder / "edited.jpg" if number % 2 else folder / "edited.png")
        elif what == "undo":
            result.save(folder / "undo.png")
            le.undo(folder / "undo.png")
        else:
            le.keep(picture, result.image)
    shutil.rmtree(folder)
    kept = np.array([row for row in rows if row[0] >= warm], dtype=float)
    (slope, _), covariance = np.polyfit(kept[:, 0] / 1000, kept[:, 1], 1, cov=True)
    return {
        "edits": count,
        "warm_up": warm,
        "kinds": dict(done),
        "rss_mb_per_1000": float(slope),
        "rss_mb_per_1000_error": float(covariance[0, 0] ** 0.5),
        "rss_mb_after_warm_up": float(kept[0, 1]),
        "rss_mb_at_end": float(kept[-1, 1]),
        "open_files": [int(kept[0, 2]), int(kept[-1, 2]), int(kept[:, 2].max())],
        "threads": [int(kept[0, 3]), int(kept[-1, 3])],
        "temporary_files": int(kept[-1, 4]),
        "seconds": time.monotonic() - began,
        "samples": [[int(row[0]), row[1]] for row in kept[:: max(1, len(kept) // 25)].tolist()],
    }


def four_threads(bench: Bench, rounds: int) -> dict[str, Any]:
    """Every editor, in four threads at once and alone."""
    names = sorted(EDITORS.names())
    jobs = [(name, seed) for seed in range(rounds) for name in names]

    def made(name: str, seed: int) -> tuple[bytes, float, float]:
        one = le.edit(bench.loaded, noise(seed, (40, 56)), caption=FROM, to=TO, method=name, seed=seed)
        return np.asarray(one.image).tobytes(), one.cost.evaluations, one.cost.verdict_evaluations

    alone = {job: made(*job) for job in jobs}
    different: list[str] = []

    def work(number: int) -> None:
        torch.set_num_threads(1)
        mine = jobs[:]
        random.Random(number).shuffle(mine)
        for job in mine:
            try:
                found = made(*job)
            except BaseException as error:  # noqa: BLE001 (told below)
                different.append(f"{job}: {type(error).__name__}: {error}")
                continue
            if found[0] != alone[job][0]:
                different.append(f"{job}: another picture")
            if found[1:] != alone[job][1:]:
                different.append(f"{job}: {found[1:]} evaluations, not {alone[job][1:]}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"editors": len(names), "edits": 4 * len(jobs), "different": different}


# Counting.

BEGAN_S = time.monotonic()
PARTS = ("kills", "disk", "clocks", "life", "threads")


class Kept:
    """What was counted, a JSON line each, in a file that is gone on with."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.lines: list[dict[str, Any]] = (
            [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []
        )

    def of(self, part: str, name: str = "") -> list[dict[str, Any]]:
        return [line for line in self.lines if (line["part"], line["name"]) == (part, name)]

    def add(self, part: str, name: str, found: Mapping[str, Any]) -> None:
        self.lines.append({"part": part, "name": name, **found})
        with self._place.open("a") as file:
            file.write(json.dumps(self.lines[-1]) + "\n")


def main() -> None:
    """Kill, fill, jump, live, share; tell."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", action="append", choices=PARTS, help="a part; repeatable")
    options.add_argument("--kills", type=int, default=1000, help="of all commands together")
    options.add_argument("--full", type=int, default=20, help="disks for each command")
    options.add_argument("--jumps", type=int, default=60, help="kills under clocks that jump, of all commands")
    options.add_argument("--edits", type=int, default=2000, help="in one process")
    options.add_argument("--rounds", type=int, default=2, help="pictures for each editor and thread")
    options.add_argument("--note", default="", help="a line for the results: what changed while it was counted")
    options.add_argument("--save", action="store_true", help="write results/long-runs.json and .md")
    chosen = options.parse_args()
    parts = chosen.only or PARTS
    OUT.mkdir(parents=True, exist_ok=True)
    kept, bench = Kept(OUT / "counted.jsonl"), Bench(OUT.resolve())
    runs = Runs(bench, OUT.resolve())
    for part, kills, killed in (
        ("kills", chosen.kills, runs.killed),
        ("clocks", chosen.jumps, functools.partial(runs.killed, jumping=True)),
    ):
        for job in bench.jobs() if part in parts else ():
            wanted = max(1, round(job.kills * kills))
            while (had := sum(line["kills"] for line in kept.of(part, job.name))) < wanted:
                trial = killed(job, len(kept.of(part, job.name)), most=wanted - had)
                kept.add(part, job.name, dataclasses.asdict(trial))
                print(f"{time.monotonic() - BEGAN_S:.0f} s", part, job.name, had + trial.kills, trial, flush=True)
    for job in bench.jobs() if "disk" in parts else ():
        while job.runners == 1 and (had := len(kept.of("disk", job.name))) < chosen.full:
            trial = runs.full(job, had)
            kept.add("disk", job.name, dataclasses.asdict(trial))
            print("disk", job.name, had + 1, trial, flush=True)
    if "life" in parts and not kept.of("life"):
        kept.add("life", "", life(bench, chosen.edits, chosen.edits // 5))
    if "threads" in parts and not kept.of("threads"):
        kept.add("threads", "", four_threads(bench, chosen.rounds))
    tell(kept, bench, note=chosen.note, stored=chosen.save)


def tell(kept: Kept, bench: Bench, *, note: str, stored: bool) -> None:
    """Tables."""
    content: dict[str, Any] = {"date": dt.date.today().isoformat(), "note": note}  # noqa: DTZ011
    lines: list[str] = []
    titles = {
        "kills": "Killed at random moments, gone on with until done.",
        "clocks": "The same with clocks and times of files that jump.",
        "disk": "On a disk that fills; then there is space again.",
    }
    head = ["what", "runs", "kills", "parts", "lost", "again", "other bytes", "half written", "hidden left",
            "temporary left", "claims left"]  # fmt: skip
    for part, title in titles.items():
        found = {name: one for name in [job.name for job in bench.jobs()] if (one := summed(kept.of(part, name)))}
        if found:
            found["all"] = {key: sum(one[key] for one in found.values()) for key in next(iter(found.values()))}
            content[part] = found
            names = ["what", "runs", "stopped by it", *head[3:]] if part == "disk" else head
            lines += [title, "", *table(names, [[name, *map(str, one.values())] for name, one in found.items()])]
    if lived := kept.of("life"):
        one = content["life"] = lived[-1]
        lines += [*life_lines(one), ""]
    if shared := kept.of("threads"):
        one = content["threads"] = {**shared[-1], "differing": len(shared[-1]["different"])}
        edits = f"Four threads, one model, {one['editors']} editors: of {one['edits']} edits {len(one['different'])}"
        lines += [f"{edits} differ in picture or evaluations from those of one thread.", ""]
    lines += [
        "Parts are units of a run, batches of a calibration, steps of a training. Hidden files are what a killed",
        "process was writing beside its place; temporary ones what it had in the folder for them. They stay.",
        "The folder of a trained model is written by diffusers, file by file, when training is over: a kill there",
        "leaves it half written until the command is run again. It does not count among the half-written files here.",
        "A kill ends a process and not the machine: what a disk has not written when the power fails was not tried.",
        *filter(None, ("", note)),
        "",
    ]
    print("\n".join(lines))
    if stored:
        save(RESULTS / "long-runs", content, [*lines, f"{dt.date.today():%d %B %Y}."])  # noqa: DTZ011


def life_lines(one: Mapping[str, Any]) -> list[str]:
    """What one process held."""
    kinds = ", ".join(f"{count} {name}" for name, count in one["kinds"].items())
    slope = f"{one['rss_mb_per_1000']:.2f} ± {one['rss_mb_per_1000_error']:.2f}"
    memory = f"{one['rss_mb_after_warm_up']:.0f} MB, at the end {one['rss_mb_at_end']:.0f} MB"
    files, threads = one["open_files"], one["threads"]
    return [
        f"{one['edits']} edits in one process after {one['warm_up']} to warm up ({kinds}):",
        "",
        f"* resident memory {memory}: {slope} MB per 1,000 edits;",
        f"* open files {files[0]}, at the end {files[1]}; threads {threads[0]}, {threads[1]};",
        f"* temporary files left {one['temporary_files']}.",
    ]


def summed(trials: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Of all runs of a command."""
    if not trials:
        return {}
    names = ("kills", "finished", "lost", "again", "different", "torn", "hidden", "temporary", "claims")
    count = {
        name: sum(len(one[name]) if isinstance(one[name], list) else one[name] for one in trials) for name in names
    }
    return {"runs": len(trials), **count}


if __name__ == "__main__":
    main()
