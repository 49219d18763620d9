"""The program as a whole: it starts without torch, and maps errors to exit codes."""

import importlib.metadata
import shlex
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from PIL import Image

import latentedit
from latentedit.core.errors import ConfigError, RegistryError, to_install
from latentedit.core.plugins import Registry
from tests.commands import Command, Refused

HEAVY = ("torch", "diffusers", "transformers", "numpy", "PIL", "pytest")


@pytest.mark.nightly
def test_help_and_wrong_usage_import_nothing_heavy() -> None:
    requested = [
        ["--help"],
        ["edit", "--help"],
        ["models", "--help"],
        ["--version"],
        ["edit"],
        ["edit", "--prompt", "x"],
    ]
    typed = ["edit me.png --method ", "bench run --method ", "models show ", "cite flow"]
    code = (
        "import os, sys\nfrom latentedit.cli.main import run\n"
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
        ("edit me.png --combine ", {"sum", "inverse", "projection"}),
        ("sweep me.png --model portraits-", {"portraits-kontext", "portraits-unet"}),
        ("caption me.png --dtype b", {"bfloat16"}),
        ("caption me.png --text-encoders r", {"required"}),
        ("bench run --method flow", {"flowedit", "flowslider", "flowalign"}),
        ("rep", {"replay", "reproduce"}),
        ("models sh", {"show"}),
        ("edit some/image", set[str]()),  # the shell itself completes file names
    ],
)
def test_the_shell_completes_names(
    command: Command, monkeypatch: pytest.MonkeyPatch, typed: str, offered: set[str]
) -> None:
    wanted = {"_LATENTEDIT_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    for name, value in (wanted | {"_TYPER_COMPLETE_ARGS": f"latentedit {typed}"}).items():
        monkeypatch.setenv(name, value)
    printed = command().out
    assert {line.split("\t")[0] for line in printed.splitlines() if line and not line[0].isspace()} == offered


def stranger(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str, *, value: str = "strange.hello:hello") -> None:
    """A command of the name "hello", as another package would bring it; without the commands of the bench."""
    (folder / "strange").mkdir()
    (folder / "strange" / "__init__.py").touch()
    (folder / "strange" / "hello.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # else Python makes files there, which no command may
    for module in ("strange", "strange.hello"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    there = Registry.points

    def points(registry: Registry) -> dict[str, importlib.metadata.EntryPoint]:
        hello = importlib.metadata.EntryPoint(name="hello", value=value, group=registry.group)
        return {name: point for name, point in there(registry).items() if name != "bench"} | {"hello": hello}

    monkeypatch.setattr(Registry, "points", points)


def test_a_command_of_another_package(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger(monkeypatch, tmp_path, 'def hello(name: str) -> None:\n    """Greet."""\n    print("hello", name)\n')
    assert "Greet." in command("--help").out
    assert command("hello", "you", "--debug").out == "hello you\n"


@pytest.mark.parametrize(
    ("source", "value", "reason"),
    [
        ("raise OSError('no such library')\n", "strange.hello:hello", "no such library"),
        ("", "gone.away:hello", "No module named 'gone'"),
    ],
)
def test_a_broken_command_is_listed_and_breaks_no_other(
    refused: Refused,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    value: str,
    reason: str,
) -> None:
    stranger(monkeypatch, tmp_path, source, value=value)
    assert "hello" in command("--help").out
    assert command("--version").out == f"latentedit {latentedit.__version__}\n"
    assert reason in refused("hello", "you", "--loudly")
    with pytest.raises(RegistryError):
        command("--debug", "hello")


def test_a_command_of_a_package_that_is_not_installed(
    refused: Refused, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger(monkeypatch, tmp_path, "")
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


def test_a_path_in_the_home_folder(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shells leave the tilde alone behind ``--output=`` and in quotes; a word that has one elsewhere stays as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.new("RGB", (8, 8), "red").save(tmp_path / "me.png")
    outcome = command("keep", "~/me.png", tmp_path / "me.png", "--output=~/kept.png")
    assert outcome.out.startswith(f"{tmp_path / 'me.png'} + {tmp_path / 'me.png'} -> {tmp_path / 'kept.png'}\n")
    assert (tmp_path / "kept.png").is_file()
    assert "a~/me.png" in command("keep", "a~/me.png", tmp_path / "me.png").err


@pytest.mark.parametrize(
    ("error", "code", "fragment"),
    [
        (ConfigError("expected this;\n  got that"), 2, "expected this; got that"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (SystemExit(3), 3, ""),
        (SystemExit("it stopped"), 1, ""),
        (SystemExit(), 0, ""),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has"), 2, "--placement model"),
    ],
)
def test_errors_become_exit_codes(
    command: Command, image: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, fragment: str
) -> None:
    monkeypatch.setattr("latentedit.models.registry.load", Mock(side_effect=error))
    outcome = command("caption", image)
    assert (outcome.code, outcome.out) == (code, "")
    assert fragment in outcome.err
    monkeypatch.setattr("latentedit.models.registry.load", Mock(side_effect=ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        command("caption", image)


def program(
    code: str, *, shell: str = "", folder: Path | None = None, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """The program, in whose place some code runs; ``shell`` says where its streams go."""
    usual = "signal.signal(signal.SIGHUP, signal.SIG_DFL)"  # tests may run under nohup
    imported = "import os, signal\nfrom latentedit.cli import main\nrun = main.run"
    script = f"{imported}\n{usual}\ndef act(arguments):\n    {code}\nmain.run = act\n"
    line = f"{before}exec {shlex.quote(sys.executable)} -c {shlex.quote(script + 'main.main()')} {shell}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.slow
def test_a_warning_is_one_line_and_stated_once() -> None:
    warned = (
        r"import warnings; warnings.simplefilter('always'); [warnings.warn('it is\n slow') for _ in range(2)]; return 0"
    )
    assert program(warned).stderr == "warning: it is slow\n"


@pytest.mark.slow
def test_a_crash_is_no_list_of_failures() -> None:
    """L7: it ended with 1, as a run with failures does."""
    ended = program(r"raise ZeroDivisionError('\x1b[31m')")
    assert ended.returncode == 70
    assert ended.stderr.startswith("Traceback (most recent call last):\n  File ")
    assert ended.stderr.splitlines()[-3] == r"ZeroDivisionError: \x1b[31m"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "code", "text"),
    [("> /dev/full", 2, "error: "), ("| true", 0, ""), (">&-", 0, ""), ("<&- >&- 2>&-", 0, "")],
)
def test_work_is_done_though_nobody_can_be_notified(tmp_path: Path, shell: str, code: int, text: str) -> None:
    act = "open('made', 'w').write('it'); return max(run(['--version']) for _ in range(9))"
    ended = program(act, shell=shell, folder=tmp_path, before="set -o pipefail; ")
    assert (tmp_path / "made").read_text() == "it"
    assert ended.returncode == code
    assert ended.stderr.startswith(text)
    assert ended.stderr.count("\n") == bool(text)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_program_that_is_ended_leaves_nothing_half_written(tmp_path: Path, number: str, code: int) -> None:
    """L14."""
    written = "from latentedit_keep.base.files import atomic_file"
    act = f"{written}\n    with atomic_file('made') as file: os.kill(os.getpid(), signal.{number}); file.write(b'it')"
    ended = program(act, folder=tmp_path)
    assert ended.returncode == code
    assert number in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_folder_that_was_deleted_is_reported(tmp_path: Path) -> None:
    """L8: libraries end the process there."""
    ended = program("raise AssertionError", before=f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir ../gone; ")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
