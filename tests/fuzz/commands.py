"""Command lines, and the environments in which they are typed."""

import os
import re
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from PIL import Image

from latentedit.cli import main
from latentedit.core.errors import ModelError
from tests.fuzz.judge import Target, check_printed, run_command
from tests.fuzz.texts import STEERING

_WORDS = st.sampled_from([
    "a.png", "nothing.png", "folder", "loop.png", "pipe", "m.yaml", "-o", "out.png", "--change", "=> glasses", "hat =>",
    "a => b => c", "--source-prompt", "a man", "--prompt", "--strength", "--strength=-1", "1e308", "nan",
    "--strengths=-1:1:3", "--strengths=0:0:2", "--seed", "--model", "--method", "eim", "sdedit", "--mask", "--json",
    "--quiet", "--device", "meta", "--dtype", "float8", "--captioner", "openai:", "~nobody/x", "--lora", "a.png:x",
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
    (folder / "m.yaml").write_text("- {picture: a.png, source_caption: a man, target_caption: a dog}\n")
    (folder / "d.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    before = Path.cwd()
    os.chdir(folder)
    try:
        with (
            mock.patch("latentedit.models.registry.load", _no_model),
            mock.patch("latentedit.models.registry.look_up", _no_model),
        ):
            run_command(*words)
    finally:
        os.chdir(before)


_ENVIRONMENTS = st.fixed_dictionaries(
    {
        "set": st.dictionaries(
            st.sampled_from([
                "HOME", "TMPDIR", "LANG", "LC_ALL", "COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR",
                "PYTHONIOENCODING", "HF_HOME", "OPENAI_BASE_URL", "OPENAI_API_KEY", "XDG_CACHE_HOME",
                "LATENTEDIT_APP_PASSWORD", "_LATENTEDIT_COMPLETE", "TZ",
            ]),
            st.sampled_from(["", "/nowhere", "/dev/null", "tr_TR.UTF-8", "C", "abc", "1", "-5", "dumb",
            "http://[::1", "9" * 50, "\x1b[31m", "utf-8"]),
            max_size=4,
        ),
        "closed": st.lists(st.sampled_from([0, 1, 2]), unique=True),
        "full": st.lists(st.sampled_from([1, 2]), unique=True, max_size=2),
        "gone": st.booleans(),
        "words": st.sampled_from([["--version"], ["--help"], ["edti"], ["models", "list"], ["edit", "nothing.png",
        "--change", "=> hat"]]),
    }
)  # fmt: skip


_COLOUR = re.compile("\x1b\\[[0-9;]*m")


def _environment(given: dict[str, Any], folder: Path) -> None:
    """The whole program, in a child of this process."""
    out, err = folder / "out", folder / "err"
    (folder / "gone").mkdir()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.environ.update(given["set"])
            os.chdir(folder / "gone")
            if given["gone"]:
                (folder / "gone").rmdir()
            for number, place in ((1, out), (2, err)):
                where = "/dev/full" if number in given["full"] else place
                os.dup2(os.open(where, os.O_WRONLY | os.O_CREAT), number)
            for number in given["closed"]:
                os.close(number)
            sys.stdout, sys.stderr = (
                None if number in given["closed"] else open(number, "w", closefd=False)  # noqa: SIM115
                for number in (1, 2)
            )
            sys.argv = ["latentedit", *given["words"]]
            main.main()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 0
        except BaseException:  # noqa: BLE001 (a child never comes back)
            code = 98
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = [place.read_text("utf-8", "replace") if place.exists() else "" for place in (out, err)]
    if given["set"].get("FORCE_COLOR"):  # colours were asked for
        said = [_COLOUR.sub("", text) for text in said]
    no_stderr = 2 in {*given["closed"], *given["full"]}  # so that no error line can be checked
    check_printed(1 if no_stderr and code == 2 else code, said[0], said[1])


TARGETS = [
    Target(
        name="command lines",
        inputs=st.builds(lambda a, b: [*a, *b], _COMMANDS, st.lists(_WORDS, max_size=7)),
        act=_type,
    ),
    Target(name="environments", inputs=_ENVIRONMENTS, act=_environment),
]
