"""How much of our code one command runs, by room: modules imported and run, functions entered, Python frames.

    python -m tools.trace edit docs/images/me.png --add glasses -o out/edited.png
    python -m tools.trace keep docs/images/me.png out/edited.png -o out/kept.png
    python -m tools.trace road                       # warm edits of one image: how deep, how long, for what

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
SOURCES = [str(ROOT / place) + os.sep for place in ("src", "models/portraits/src")]

# Modules of latentedit.models that look at a pipeline, whose owner may change it between calls.
WATCHING = ("network", "pipelines", "purity", "weights")

# Modules that read captions: those of the library, and the grammar of the bundled model.
WORDS = ("change", "fitting", "completion", "captions", "rewriting", "domains")

# The editors whose way from the call to the network is traced.
ROADS = ("eim", "flowedit")

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
        from latentedit.cli.program import run  # noqa: PLC0415 (its imports are traced)

        sys.argv = ["latentedit", *arguments]
        code = run(arguments)
    finally:
        sys.setprofile(None)
    if code:
        sys.exit(code)
    print(json.dumps(_summary(frames)), file=sys.stderr)


def road(method: str, image: Path) -> dict[str, Any]:
    """`warm` of a method, in a process of its own."""
    line = [sys.executable, "-m", "tools.trace", "--warm", method, str(image.resolve())]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def warm(method: str, image: str) -> dict[str, Any]:
    """One edit after another one with other words: frames of ours at the network and in all, and the parses of a text.

    "at the network" is the largest number of our frames on the stack when the denoiser is called.
    """
    import latentedit as le  # noqa: PLC0415 (the other traces import nothing before they begin)
    from latentedit.encoding.captions.change import Caption  # noqa: PLC0415

    model: Any = le.load("portraits")
    le.edit(model, image, add="a hat", method=method, progress=False)
    network, depth = type(model.pipeline.transformer).forward, 0
    network = getattr(network, "__wrapped__", network).__code__
    frames, texts = collections.Counter[CodeType](), collections.Counter[str]()

    def is_ours(code: CodeType) -> bool:
        return code.co_filename.startswith(tuple(SOURCES))

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal depth
        if event == "call" and frame.f_code is network:
            above, ours = frame.f_back, 0
            while above is not None:
                ours, above = ours + is_ours(above.f_code), above.f_back
            depth = max(depth, ours)
        elif event == "call" and is_ours(frame.f_code):
            frames[frame.f_code] += 1
            if frame.f_code is Caption.of.__wrapped__.__code__:
                texts[frame.f_locals["text"]] += 1

    sys.setprofile(count)
    try:
        le.edit(model, image, add="glasses", method=method, progress=False)
    finally:
        sys.setprofile(None)
    by_file = collections.Counter[str]()
    for code, number in frames.items():
        by_file[Path(code.co_filename).stem] += number
    return {
        "at the network": depth,
        "frames": frames.total(),
        "words": sum(by_file[name] for name in WORDS),
        "watching": sum(by_file[name] for name in WATCHING),
        "parses of a text": max(texts.values(), default=0),
    }


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
    imported = [module for module in sys.modules if module.split(".")[0] == "latentedit"]
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
    if sys.argv[1:2] == ["--warm"]:
        print(json.dumps(warm(*sys.argv[2:])))
        return
    if sys.argv[1:2] == ["road"]:
        for method in ROADS:
            print(method, road(method, ROOT / "docs/images/me.png"))
        return
    found = traced(sys.argv[1:], Path.cwd())
    for room, (functions, frames) in found.pop("rooms").items():
        print(f"{room:30} {functions:5} functions {frames:7} frames")
    for name, value in found.items():
        print(f"{name:30} {value:,}")


if __name__ == "__main__":
    main()
