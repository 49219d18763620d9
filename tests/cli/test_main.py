"""The program: it starts without torch, and maps errors to exit codes."""

import contextlib
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import latentedit
from latentedit.cli.commands import COMMANDS
from latentedit.core.errors import RegistryError, to_install
from latentedit.core.plugins import Registry
from tests.commands import Command, Refused
from tests.installed import installed

HEAVY = ("torch", "diffusers", "transformers", "numpy", "PIL", "pytest")


@pytest.mark.nightly
def test_help_and_wrong_usage_import_neither_torch_nor_numpy() -> None:
    requested = [
        ["--help"],
        ["edit", "--help"],
        ["models", "--help"],
        ["--version"],
        ["edit"],
        ["edit", "--prompt", "x"],
    ]
    typed = ["edit me.png --method ", "bench run --method ", "models show ", "methods flow"]
    code = (
        "import os, sys\nfrom latentedit.cli.program import run\n"
        f"for arguments, typed in {[*((one, '') for one in requested), *(([], one) for one in typed)]}:\n"
        "    if typed:\n"
        "        os.environ['_LATENTEDIT_COMPLETE'] = 'complete_zsh'\n"
        "        os.environ['_TYPER_COMPLETE_ARGS'] = 'latentedit ' + typed\n"
        "    run(arguments)\n"
        f"    print('\\nHEAVY', sorted(set(sys.modules) & set({HEAVY})))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    report = [line for line in ended.stdout.splitlines() if line.startswith("HEAVY")]
    assert report == ["HEAVY []"] * (len(requested) + len(typed))


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("edit me.png --method flow", {"flowalign", "flowedit", "flowslider"}),
        ("sweep me.png --model portraits-", {"portraits-kontext", "portraits-unet"}),
        ("caption me.png --dtype b", {"bfloat16"}),
        ("bench run --method flowe", {"flowedit", "flowedit, local"}),
        ("rep", {"replay", "reproduce"}),
        ("models sh", {"show"}),
        ("edit some/image", set[str]()),  # the shell itself completes file names
    ],
)
def test_the_shell_completes_names(
    command: Command, environment: dict[str, str], typed: str, offered: set[str]
) -> None:
    environment |= {"_LATENTEDIT_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environment["_TYPER_COMPLETE_ARGS"] = f"latentedit {typed}"
    printed = command().out
    assert {line.split("\t")[0] for line in printed.splitlines() if line and not line[0].isspace()} == offered


@contextlib.contextmanager
def hello_command(folder: Path, source: str, *, value: str = "greeting.hello:hello") -> Iterator[None]:
    """Inside, a package with the command "hello" is installed."""
    (folder / "greeting").mkdir()
    (folder / "greeting" / "__init__.py").touch()
    (folder / "greeting" / "hello.py").write_text(source)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode  # a rejected command must write no file
    try:
        with installed(folder, {COMMANDS.group: {"hello": value}}):
            yield
    finally:
        sys.dont_write_bytecode = before
        for module in ("greeting", "greeting.hello"):
            sys.modules.pop(module, None)


def test_commands_of_other_packages_are_listed_and_run(command: Command, tmp_path: Path) -> None:
    with hello_command(tmp_path, 'def hello(name: str) -> None:\n    """Greet."""\n    print("hello", name)\n'):
        assert "Greet." in command("--help").out
        assert command("hello", "you", "--debug").out == "hello you\n"


@pytest.mark.parametrize(
    ("source", "value", "reason"),
    [
        ("raise OSError('no such library')\n", "greeting.hello:hello", "no such library"),
        ("", "gone.away:hello", "No module named 'gone'"),
    ],
)
def test_a_broken_command_is_listed_and_affects_no_other(
    refused: Refused, command: Command, tmp_path: Path, source: str, value: str, reason: str
) -> None:
    with hello_command(tmp_path, source, value=value):
        assert "hello" in command("--help").out
        assert command("--version").out == f"latentedit {latentedit.__version__}\n"
        assert reason in refused("hello", "you", "--loudly")
        with pytest.raises(RegistryError):
            command("--debug", "hello")


def test_the_command_of_a_missing_package_is_rejected_with_its_installation(
    refused: Refused, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = {name: point for name, point in COMMANDS.points().items() if name != "bench"}
    monkeypatch.setattr(Registry, "points", lambda _: without)
    assert to_install("latentedit-bench") in refused("bench", "run")
    assert " bench " not in command("--help").out


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("edit", "'IMAGE'"),
        ("edti", "'edit'"),
        ("edit me.png --sterngth 1", "--strength"),
        ("edit me.png --change hat =", "hat => NEW"),
        ("edit me.png --seed x\x1b[31m", "--seed"),
        ("edit me.png --\x1b[31m", "--\\x1b[31m"),
    ],
)
def test_wrong_usage_is_explained(refused: Refused, line: str, fragment: str) -> None:
    found = refused(*line.split())
    assert fragment in found
    assert "\x1b" not in found


def test_a_tilde_stands_for_the_home_folder(command: Command, tmp_path: Path, environment: dict[str, str]) -> None:
    """Shells do not expand it after ``--output=`` and in quotes; within a word it is not special."""
    environment["HOME"] = str(tmp_path)
    Image.new("RGB", (8, 8), "red").save(tmp_path / "me.png")
    outcome = command("keep", "~/me.png", tmp_path / "me.png", "--output=~/kept.png")
    assert outcome.out.startswith(f"{tmp_path / 'me.png'} + {tmp_path / 'me.png'} -> {tmp_path / 'kept.png'}\n")
    assert (tmp_path / "kept.png").is_file()
    assert "a~/me.png" in command("keep", "a~/me.png", tmp_path / "me.png").err


@pytest.mark.parametrize(
    ("error", "code", "fragment"),
    [
        (r"ConfigError('expected this;\n  got that')", 2, "expected this; got that"),
        ("KeyboardInterrupt", 130, "interrupted"),
        ("SystemExit(3)", 3, ""),
        ("SystemExit('it stopped')", 1, ""),
        ("SystemExit", 0, ""),
        ("torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB')", 2, "--dtype bfloat16"),
        ("ZeroDivisionError", None, ""),
    ],
)
def test_errors_become_exit_codes(
    command: Command, tmp_path: Path, error: str, code: int | None, fragment: str
) -> None:
    imports = "import torch\nfrom latentedit.core.errors import ConfigError\n"
    with hello_command(tmp_path, f'{imports}def hello() -> None:\n    """Fail."""\n    raise {error}\n'):
        if code is None:
            with pytest.raises(ZeroDivisionError):
                command("hello")
            return
        outcome = command("hello")
    assert (outcome.code, outcome.out) == (code, "")
    assert fragment in outcome.err


def program(
    code: str, *, shell: str = "", folder: Path | None = None, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """The program with some code in place of its commands; ``shell`` redirects its streams."""
    usual = "signal.signal(signal.SIGHUP, signal.SIG_DFL)"  # tests may run under nohup
    imported = "import os, signal\nfrom latentedit.cli import main, program\nrun = program.run"
    script = f"{imported}\n{usual}\ndef act(arguments):\n    {code}\nprogram.run = act\n"
    line = f"{before}exec {shlex.quote(sys.executable)} -c {shlex.quote(script + 'main.main()')} {shell}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, cwd=folder)


def test_a_warning_is_printed_once_on_one_line() -> None:
    warned = (
        r"import warnings; warnings.simplefilter('always'); [warnings.warn('it is\n slow') for _ in range(2)]; return 0"
    )
    assert program(warned).stderr == "warning: it is slow\n"


@pytest.mark.parametrize(
    ("shell", "code", "text"),
    [("> /dev/full", 2, "error: "), ("| true", 0, ""), (">&-", 0, ""), ("<&- >&- 2>&-", 0, "")],
)
def test_the_work_is_done_even_if_stdout_is_closed(tmp_path: Path, shell: str, code: int, text: str) -> None:
    act = "open('made', 'w').write('it'); return max(run(['--version']) for _ in range(9))"
    ended = program(act, shell=shell, folder=tmp_path, before="set -o pipefail; ")
    assert (tmp_path / "made").read_text() == "it"
    assert ended.returncode == code
    assert ended.stderr.startswith(text)
    assert ended.stderr.count("\n") == bool(text)
