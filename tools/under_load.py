"""Folders and agents under load; nothing may be lost or wrong.

    python -m tools.under_load --output research/results/load.json        about ten minutes of CPU; Linux
    python -m tools.under_load --only agents --output out/load.json --share 0.2

Images have 256 px, and each edited one a disc in a place of its own, so that a result states which files it is of.
Each part is a process of its own, which has to keep these properties; the command exits with 1 if one does not hold:

- pairs: `check` on 500 pairs in two processes. Edited files are replaced during the run, of pairs with a report and
  without one, a tenth of them every few milliseconds until they have one, the program is killed (SIGKILL) and resumed,
  and files are replaced again. Every report is of the bytes that it names. Resumed undisturbed, only reports of
  replaced files are made anew, and all files equal, byte for byte, those of a run in a new folder (the control). Then
  `keep` on the 500 pairs, killed and run again in the same way: every result is a whole image of one version of the
  pair, in the end of the one on the disk.
- agents: 50 parallel calls to one MCP server: a fifth each checks, keeps, is canceled, has a path that is too long, and
  checks in a folder that becomes a link out of the root and a folder again all the time. Answers are right or, in that
  folder, one line of error; nothing outside is read; a canceled call writes nothing, or has written its file by the
  second after it was canceled, when its answer crossed the cancellation.

No process takes more than 500 MB. CPU seconds are those of
the part with all processes that ended before it; those of workers whose program was killed are missing. A part that the
output has from the same commit is not repeated, unless all parts are there.
"""

import argparse
import concurrent.futures
import contextlib
import functools
import hashlib
import io
import itertools
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

from latentedit.core.files import write_text
from tests.keep.pairs import cast, scene, with_object

SIDE, RADIUS, MARGIN = 256, 18, 12
PROGRAM = [sys.executable, "-m", "latentedit.cli.main"]
LARGE = {"original": "large.png", "edited": "large-edited.png"}  # a pair that takes longer than the next
CROSSING_S = 1
MAXIMUM_REFUSAL_LETTERS = 1200
SLICE = 0.04  # share of all pairs that are replaced at a time
FOLDERS = {"original": "originals", "edited": "edited"}
Pixels = NDArray[np.uint8]
Counts = Counter[str]


class Pairs:
    """Pairs of two folders, whose edited images can be replaced by others."""

    def __init__(self, folder: Path, count: int) -> None:
        self.names = [f"{number:03d}" for number in range(count)]
        self.originals, self.edited = folder / "originals", folder / "edited"
        self.version = dict.fromkeys(self.names, 0)
        self._versions: dict[tuple[str, str], int] = {}  # keys are pair and checksum
        for place in (self.originals, self.edited):
            place.mkdir(parents=True)
        for name in self.names:
            Image.fromarray(self.original(name)).save(self.originals / f"{name}.png")
            self.replace(name, 0)

    def original(self, name: str) -> Pixels:
        return scene(SIDE, seed=int(name))

    def center(self, name: str, version: int) -> tuple[int, int] | None:
        """Center of the disc; every fifth image is unchanged at first."""
        number = int(name) + 61 * version
        return None if version == 0 and int(name) % 5 == 0 else (40 + 7 * (number % 25), 40 + 11 * (number // 5 % 16))

    def image(self, name: str, version: int) -> Pixels:
        center, pixels = self.center(name, version), self.original(name)
        changed = pixels if center is None else with_object(pixels, center, RADIUS)
        return cast(changed) if int(name) % 5 == 1 else changed

    def replace(self, name: str, version: int) -> None:
        """Replace a file in one step, as programs save."""
        content = self._content(name, version)
        (self.edited / f".{name}").write_bytes(content)
        (self.edited / f".{name}").replace(self.edited / f"{name}.png")
        self.version[name] = version

    @functools.cache  # noqa: B019 (as long as the part)
    def _content(self, name: str, version: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(self.image(name, version)).save(file, "PNG")
        self._versions[name, hashlib.sha256(file.getvalue()).hexdigest()] = version
        return file.getvalue()

    def replace_some(self, names: Sequence[str], moments: random.Random) -> int:
        chosen = moments.sample(list(names), min(len(names), round(SLICE * len(self.names))))
        for name in chosen:
            self.replace(name, self.version[name] + 1)
        return len(chosen)

    @contextlib.contextmanager
    def pressed(self, seen: Callable[[], list[str]], count: Counts) -> Generator[None]:
        """Meanwhile, every tenth edited file is replaced every few milliseconds until it has a report."""
        ended = threading.Event()

        def press() -> None:
            waiting = list[str]()
            for turn in itertools.count():
                if turn % 30 == 0:
                    waiting = sorted({*self.names[::10]} - {*seen()})
                if ended.wait(0.003):
                    return
                for name in waiting[:2]:
                    self.replace(name, self.version[name] ^ 1)
                    count["replaced while they are compared"] += 1

        thread = threading.Thread(target=press)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def reported(self, place: Path) -> int | None:
        """The version that a report is of, or None if it contradicts that version."""
        stored = json.loads(place.read_text("utf-8"))
        version = self._versions.get((place.stem, json.loads(stored["key"])[2]))
        return version if version is not None and self.matches(stored["report"], place.stem, version) else None

    def matches(self, report: Any, name: str, version: int) -> bool:
        """Whether a report finds what this version changes."""
        center = self.center(name, version)
        if center is None:
            return report["found"] == "identical"
        boxes = [region["box"] for region in report["regions"]]
        around = [one + side for side in (-RADIUS, RADIUS) for one in center]
        return len(boxes) == 1 and bool(np.abs(np.subtract(boxes[0], around)).max() <= MARGIN)

    def is_kept(self, place: Path, name: str, version: int) -> bool:
        """Whether a file is the original with the disc of this version alone."""
        result, original, center = np.asarray(Image.open(place)), self.original(name), self.center(name, version)
        if center is None or int(name) % 5 != 1:
            return np.array_equal(result, self.image(name, version))
        right, down = center
        reach, near = RADIUS + MARGIN, np.zeros((SIDE, SIDE), bool)
        near[max(0, down - reach) : down + reach, max(0, right - reach) : right + reach] = True
        disc = (result != original)[down - RADIUS // 2 : down + RADIUS // 2, right - RADIUS // 2 : right + RADIUS // 2]
        return np.array_equal(result[~near], original[~near]) and bool(disc.any(axis=2).all())


def run_disturbed(
    words: Sequence[object], seen: Callable[[], list[str]], steps: Sequence[tuple[int, Callable[[list[str]], object]]]
) -> int:
    """Exit code of a command, during which something is done when this many results are seen; its workers end too."""
    with subprocess.Popen([*PROGRAM, *map(str, words), "--quiet"], stderr=subprocess.PIPE) as program:
        workers = list[psutil.Process]()
        for least, do in steps:
            while len(found := seen()) < least:
                if program.poll() is not None:
                    raise SystemExit(
                        f"the run ended before {least} results: {program.stderr and program.stderr.read()}"
                    )
                time.sleep(0.02)
            workers = psutil.Process(program.pid).children()
            if do(found) is signal.SIGKILL:
                program.kill()
        program.communicate()
        _, alive = psutil.wait_procs(workers, timeout=10)
        if alive:
            raise SystemExit(f"{len(alive)} workers outlive the program")
        return program.returncode


def check_pairs(folder: Path, pairs: Pairs, moments: random.Random) -> Counts:
    """The first half of the part "pairs"."""
    output, count, total = folder / "report", Counts(), len(pairs.names)
    command = ("check", pairs.originals, pairs.edited, "--workers", 2, "-o")

    def seen() -> list[str]:
        return [place.stem for place in (output / "reports").glob("[!.]*.json")]

    def swap(found: list[str]) -> None:
        for names in (found, sorted({*pairs.names} - {*found})):
            count["replaced"] += pairs.replace_some(names, moments)

    first = [(total // 5, swap), (2 * total // 5, lambda _: signal.SIGKILL)]
    with pairs.pressed(seen, count):
        count["killed"] += run_disturbed([*command, output], seen, first) == -signal.SIGKILL
    count["wrong reports"] += sum(pairs.reported(output / "reports" / f"{name}.json") is None for name in seen())
    with pairs.pressed(seen, count):
        count["other exit codes"] += run_disturbed([*command, output], seen, [(7 * total // 10, swap)]) != 0
    versions, before = dict[str, int | None](), dict[str, int]()
    for name in seen():
        place = output / "reports" / f"{name}.json"
        versions[name], before[name] = pairs.reported(place), place.stat().st_ino
    count["wrong reports"] += list(versions.values()).count(None)
    old = {name for name, version in versions.items() if version != pairs.version[name]}
    count["files replaced after their report"] = len(old)
    count["other exit codes"] += run_disturbed([*command, output], seen, []) != 0
    made = {name for name in before if (output / "reports" / f"{name}.json").stat().st_ino != before[name]}
    count["reports made again without need"] = len(made - old)
    count["reports of replaced files"] = len(old - made)
    count["lost reports"] = len({*pairs.names} - {*seen()})
    count["wrong reports"] += sum(pairs.reported(output / "reports" / f"{name}.json") is None for name in seen())
    control = folder / "control"
    count["other exit codes"] += run_disturbed([*command, control], seen, []) != 0
    files = [contents(place) for place in (output, control)]
    count["files unlike the control's"] = sum(
        files[0].get(name) != files[1].get(name) for name in files[0].keys() | files[1]
    )
    return count


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that can be seen."""
    found = (place for place in folder.rglob("*") if place.is_file() and not place.name.startswith("."))
    return {str(place.relative_to(folder)): place.read_bytes() for place in found}


def keep_pairs(folder: Path, pairs: Pairs, moments: random.Random) -> Counts:
    """The second half of the part "pairs"."""
    output, count, total = folder / "kept", Counts(), len(pairs.names)
    command, earlier = ("keep", pairs.originals, pairs.edited, "-o", output), dict(pairs.version)

    def seen() -> list[str]:
        return [place.stem for place in output.glob("[!.]*.png")]

    def swap(_: list[str]) -> None:
        count["replaced"] += pairs.replace_some(pairs.names, moments)

    def wrong() -> int:
        """Results that are of no version since the first run began."""
        return sum(
            not any(pairs.is_kept(output / f"{name}.png", name, one) for one in range(earlier[name], last + 1))
            for name, last in pairs.version.items()
            if (output / f"{name}.png").exists()
        )

    first = [(total // 5, swap), (2 * total // 5, lambda _: signal.SIGKILL)]
    count["killed"] += run_disturbed(command, seen, first) == -signal.SIGKILL
    count["wrong results"] += wrong()
    count["other exit codes"] += run_disturbed(command, seen, [(total // 2, swap)]) != 0
    count["lost results"] = len({*pairs.names} - {*seen()})
    count["wrong results"] += wrong()
    earlier |= pairs.version
    count["other exit codes"] += run_disturbed(command, seen, []) != 0
    count["wrong results"] += wrong()
    count["kept"] = len(seen())
    return count


def do_pairs(folder: Path, share: float) -> Counts:
    pairs, moments = Pairs(folder, round(500 * share)), random.Random(86)
    return (
        check_pairs(folder, pairs, moments) + keep_pairs(folder, pairs, moments) + Counts({"pairs": len(pairs.names)})
    )


@contextlib.asynccontextmanager
async def client_of(root: Path) -> AsyncGenerator[Any]:
    """A client of an MCP server of its own, a process."""
    import mcp
    from mcp.client.stdio import StdioServerParameters, stdio_client

    line = [*PROGRAM[1:], "mcp", "--root", str(root)]
    server = stdio_client(StdioServerParameters(command=PROGRAM[0], args=line, env=dict(os.environ)))
    async with mcp.Client(server) as client:
        yield client


def refusal(answer: Any) -> str:
    """The text of an error, or nothing."""
    return answer.content[0].text if answer.is_error else ""


def files(name: str, at: str) -> dict[str, str]:
    """The pair of a call."""
    return {kind: at.format(kind=folder, name=name) for kind, folder in FOLDERS.items()}


def flip(folder: Path, outside: Path, ended: threading.Event, count: Counts) -> None:
    """Turn a folder into a link and back until the end."""
    aside, moments = folder.with_name("aside"), random.Random(86)
    while not ended.wait(moments.uniform(0.02, 0.8)):
        folder.rename(aside)
        folder.symlink_to(outside)
        ended.wait(moments.uniform(0.02, 0.2))
        folder.unlink()
        aside.rename(folder)
        count["times the folder was a link"] += 1


def do_agents(folder: Path, share: float) -> Counts:
    root, outside, count = folder / "root", folder / "outside", Counts()
    pairs, away, each = Pairs(root, 10), Pairs(outside, 10), max(2, round(10 * share))
    for name in away.names:  # other images of the same names
        away.replace(name, 3)
    (root / "sub").mkdir()
    large = scene(8 * SIDE)
    Image.fromarray(large).save(root / LARGE["original"])
    Image.fromarray(with_object(large, (500, 900), 90)).save(root / LARGE["edited"])
    for name, kind in itertools.product(pairs.names, FOLDERS.values()):
        shutil.copy(root / kind / f"{name}.png", root / "sub" / f"{kind}-{name}.png")
        shutil.copy(outside / kind / f"{name}.png", outside / f"{kind}-{name}.png")
    secret, moments, ended = contents(outside), random.Random(86), threading.Event()
    long = [20_000 * "x/", "sub/" + 300 * "z" + ".png", 500 * "x y/", 40_000 * "\u00e9", 2000 * "v/"]

    def answered(answer: Any, at: str) -> bool:
        """Whether there is no error; counts the others."""
        line, where = refusal(answer), " in the changing folder" * at.startswith("sub/")
        count["refusals of several lines"] += "\n" in line
        count[f"refused{where}" if where else "refused without a reason"] += bool(line)
        count[f"answers{where}"] += not line
        return not line

    async def check(client: Any, name: str, at: str = "{kind}/{name}.png") -> None:
        answer = await client.call_tool("check_edit", files(name, at))
        if answered(answer, at):
            count["wrong answers"] += not pairs.matches(answer.structured_content, name, 0)

    async def keep(client: Any, name: str, output: str) -> None:
        where = "{kind}/{name}.png"
        if answered(await client.call_tool("keep_edit", files(name, where) | {"output": output}), where):
            written.append((output, name))

    async def cancel(client: Any, number: int, seconds: float) -> None:
        output = f"canceled-{number}.png"
        with anyio.move_on_after(seconds) as scope:
            if answered(await client.call_tool("keep_edit", {**LARGE, "output": output}), ""):
                finished.append(root / output)
        if scope.cancelled_caught:
            count["canceled"] += 1
            canceled[output] = time.time()

    async def refuse(client: Any, path: str) -> None:
        line = refusal(await client.call_tool("history", {"path": path}))
        count["long paths refused"] += bool(line)
        count["long refusals"] += len(line) > MAXIMUM_REFUSAL_LETTERS
        count["refusals of several lines"] += "\n" in line
        count["long paths accepted"] += not line

    async def everything() -> None:
        async with client_of(root) as client, anyio.create_task_group() as group:
            for number in range(each):
                name = pairs.names[number % 10]
                # Calls run in turn: the first is canceled while it runs, and others also while they wait.
                group.start_soon(cancel, client, number, 0.7 if number == 0 else moments.uniform(0.2, 40 * share))
                group.start_soon(check, client, name)
                group.start_soon(keep, client, name, f"kept-{number}.png")
                group.start_soon(refuse, client, long[number % len(long)])
                group.start_soon(check, client, name, "sub/{kind}-{name}.png")

    written, finished, canceled = list[tuple[str, str]](), list[Path](), dict[str, float]()
    flipping = threading.Thread(target=flip, args=(root / "sub", outside, ended, count))
    flipping.start()
    try:
        anyio.run(everything)
    finally:
        ended.set()
        flipping.join()
    there = [(root / output, name) for output, name in written]
    count["lost outputs"] = sum(not place.exists() for place in (*finished, *(place for place, _ in there)))
    count["wrong outputs"] = sum(not pairs.is_kept(place, name, 0) for place, name in there if place.exists())
    expected = {*finished, *(place for place, _ in there)}
    # The answer of a call that has just ended crosses its cancellation: the file is there, and stays.
    late = [place.stat().st_ctime - canceled.get(place.name, 0) for place in {*root.rglob("*canceled*")} - expected]
    count["outputs of canceled calls"] = sum(seconds > CROSSING_S for seconds in late)
    count["ended as they were canceled"] = len(late) - count["outputs of canceled calls"]
    count["outputs without an answer"] = len({*root.rglob("*kept*")} - expected)
    count["files changed outside the root"] = int(contents(outside) != secret)
    return count + Counts({"calls": 5 * each})

    return count


Part = Callable[[Path, float], Counts]
PARTS: dict[str, Part] = {
    "pairs": do_pairs, "agents": do_agents,
}  # fmt: skip
# Maximum memory of a process.
MOST_MB = 500
REACHED = {
    "pairs": ("killed", "replaced", "replaced while they are compared", "files replaced after their report"),
    "agents": (
        "answers",
        "answers in the changing folder",
        "canceled",
        "long paths refused",
        "times the folder was a link",
    ),
}
"""What each part must have met, or it states nothing."""
FAULTS = {
    "pairs": (
        "wrong reports", "lost reports", "reports of replaced files", "reports made again without need",
        "files unlike the control's", "wrong results", "lost results", "other exit codes",
    ),
    "agents": (
        "wrong answers", "wrong outputs", "lost outputs", "outputs of canceled calls", "outputs without an answer",
        "files changed outside the root", "long paths accepted", "long refusals", "refusals of several lines",
        "refused without a reason",
    ),
}  # fmt: skip
"""What no part may count."""


def measured(part: str, share: float) -> dict[str, Any]:
    """The counts of a part, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        count = PARTS[part](Path(folder), share)
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    faults = {name: count[name] for name in FAULTS[part]}
    largest = round(max(one.ru_maxrss for one in spent) * 1024 / 1e6)
    faults[f"processes of more than {MOST_MB} MB"] = int(largest > MOST_MB)
    faults["never reached"] = sum(not count[name] for name in REACHED[part])
    return {
        "share": share,
        "cpu seconds": round(sum(one.ru_utime + one.ru_stime for one in spent)),
        "largest process, MB": largest,
        "counts": {name: count[name] for name in sorted({*count, *REACHED[part]} - {*faults})},
        "faults": faults,
        "all faults": sum(faults.values()),
    }


def main() -> None:
    """Run the parts that the output lacks, and write it after each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", nargs="+", choices=PARTS, default=[*PARTS], help="names of parts")
    options.add_argument("--output", type=Path, required=True)
    options.add_argument("--share", type=float, default=1.0, help="of the pairs and calls")
    given = options.parse_args()
    parts = given.only
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    same, found = {"commit": commit, "share": given.share}, dict[str, Any]()
    if given.output.exists():
        found = json.loads(given.output.read_text("utf-8"))["parts"]
    there = {part for part in parts if part in found and same.items() <= found[part].items()}
    for part in (one for one in parts if one not in there or there == {*parts}):
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            found[part] = same | process.submit(measured, part, given.share).result()
        print(part, json.dumps(found[part], indent=1), flush=True)
        given.output.parent.mkdir(exist_ok=True)
        command = "python -m tools.under_load --output research/results/load.json"
        write_text(given.output, json.dumps({"command": command, "parts": found}, indent=1) + "\n")
    if faulty := [part for part in parts if found[part]["all faults"]]:
        raise SystemExit(f"these parts have faults: {', '.join(faulty)}")


if __name__ == "__main__":
    main()
