"""How much of our code one command runs, by room: modules imported and run, functions entered, Python frames.

    python -m tools.trace edit docs/images/me.png --add glasses -o out/edited.png
    python -m tools.trace keep docs/images/me.png out/edited.png -o out/kept.png

The command runs in a process of its own, from its first import on. A room is a folder of a package. Functions count
once, comprehensions as frames only. "watching" is the share of frames that watch a live pipeline for changes.
`python -m tools.golden trace` compares the totals, with two digits, as every change of the code moves the others.
"""

import collections
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [str(ROOT / place) + os.sep for place in ("src", "keep/src", "models/portraits/src")]

# Modules of latentedit.models that look at a pipeline, whose owner may change it between calls.
WATCHING = ("network", "pipelines", "purity", "weights")

IS_FUNCTION = 0x01  # CO_OPTIMIZED: neither a module nor the body of a class


def traced(arguments: list[str], folder: Path) -> dict[str, Any]:
    """The trace of one command that runs in a folder: totals, and functions and frames by room."""
    line = [sys.executable, "-m", "tools.trace", "--here", *arguments]
    settings = {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(line, cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stderr.splitlines()[-1])


def _here(arguments: list[str]) -> None:
    """Run a command in this process and print its trace to standard error."""
    frames = collections.Counter[CodeType]()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            frames[frame.f_code] += 1

    threading.setprofile(count)
    sys.setprofile(count)
    try:
        from latentedit.cli.main import run  # noqa: PLC0415 (its imports are traced)

        sys.argv = ["latentedit", *arguments]
        code = run(arguments)
    finally:
        sys.setprofile(None)
    if code:
        sys.exit(code)
    print(json.dumps(_summary(frames)), file=sys.stderr)


def _summary(frames: collections.Counter[CodeType]) -> dict[str, Any]:
    functions, entered, watching = collections.Counter[str](), collections.Counter[str](), 0
    run = set[str]()
    for code, count in frames.items():
        source = next((one for one in SOURCES if code.co_filename.startswith(one)), None)
        if source is None or not code.co_flags & IS_FUNCTION:
            continue
        module = Path(code.co_filename.removeprefix(source))
        room = ".".join(module.parts[:2]).removesuffix(".py")
        functions[room] += count
        is_named = not code.co_name.startswith("<") or code.co_name == "<lambda>"
        entered[room] += is_named
        run.add(str(module))
        watching += count * (room == "latentedit.models" and module.stem in WATCHING)
    total = functions.total()
    imported = [module for module in sys.modules if module.split(".")[0] in ("latentedit", "latentedit_keep")]
    return {
        "modules imported": len(imported),
        "modules run": len(run),
        "functions": entered.total(),
        "frames": total,
        "watching": round(watching / total, 3),
        "rooms": {room: [entered[room], functions[room]] for room, _ in functions.most_common()},
    }


def main() -> None:
    """Print the trace of a command."""
    if sys.argv[1:2] == ["--here"]:
        _here(sys.argv[2:])
        return
    found = traced(sys.argv[1:], Path.cwd())
    for room, (functions, frames) in found.pop("rooms").items():
        print(f"{room:30} {functions:5} functions {frames:7} frames")
    for name, value in found.items():
        print(f"{name:30} {value:,}")


if __name__ == "__main__":
    main()
