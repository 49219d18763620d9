"""Command lines."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import strategies as st
from PIL import Image

from latentedit.core.errors import ModelError
from tools.tests.fuzz.judge import Target, run_command
from tools.tests.fuzz.texts import STEERING

_WORDS = st.sampled_from([
    "a.png", "nothing.png", "folder", "loop.png", "pipe", "m.yaml", "-o", "out.png", "--change", "=> glasses", "hat =>",
    "a => b => c", "--source-prompt", "a man", "--prompt", "--strength", "--strength=-1", "1e308", "nan",
    "--strengths=-1:1:3", "--strengths=0:0:2", "--seed", "--model", "--method", "eim", "sdedit", "--mask", "--json",
    "--quiet", "--device", "meta", "--dtype", "float8", "--captioner", "openai:", "~nobody/x", "a.png:x",
    "--sheet", "--view", "page.html", "--help", "--debug", "--batch", "-1", "--workers", "0", "--direction",
    "d.safetensors", "--rank", "--items", "--", "-", "", "@", "--auto-mask", "--no-auto-mask", STEERING, "\udcff.png",
    "A" * 300, "http://x", "--output", ".", "..", "/dev/full", "/proc/self/mem", "--data", "--retry",
])  # fmt: skip
_COMMANDS = st.sampled_from([
    ["edit"], ["sweep"], ["undo"], ["replay"], ["caption"], ["path"], ["discover"], ["transport"], ["keep"],
    ["models", "show"], ["models", "path"], ["models", "list"], ["models", "families"], ["models", "verify"],
    ["direction", "show"], ["direction", "make"], ["direction", "mean"], ["bench", "run", "m.yaml"],
    ["bench", "status"], ["bench", "report"], ["bench", "resume"], ["bench", "data", "m.yaml"],
    ["bench", "tune", "m.yaml"], ["bench", "methods"], ["reproduce", "nonsense"], ["nonsense"], ["--version"], [],
])  # fmt: skip


def _no_model(*_: object, **__: object) -> None:
    raise ModelError("no model is loaded in this test")


def _type(words: list[str], folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    (folder / "folder").mkdir()
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "pipe")
    (folder / "m.yaml").write_text("- {image: a.png, source_caption: a man, target_caption: a dog}\n")
    (folder / "d.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentedit.models.registry.load", _no_model)
        run_command(*words)


TARGETS = [
    Target(
        name="command lines",
        inputs=st.builds(lambda a, b: [*a, *b], _COMMANDS, st.lists(_WORDS, max_size=7)),
        act=_type,
    )
]
