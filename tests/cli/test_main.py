"""The program as a whole: it starts without torch, and maps errors to exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

import latentedit
from latentedit.core.errors import ConfigError
from tests.cli.conftest import Command

HEAVY = ("torch", "diffusers", "transformers", "numpy", "PIL", "pytest")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["edit", "--help"], ["models", "--help"], ["--version"], ["edit"]])
def test_help_and_wrong_usage_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom latentedit.cli.main import run\n"
        f"run({arguments!r})\n"
        f"print('HEAVY', sorted({HEAVY!r} & sys.modules.keys()))"
    ).replace(repr(HEAVY), repr(set(HEAVY)))
    assert python(code).stdout.splitlines()[-1] == "HEAVY []"


def test_wrong_input_of_the_program_itself(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "latentedit.cli.main", "edit", str(tmp_path / "no.png"), "--to", "a smile"]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("latentedit: expected ")
    assert ended.stderr.count("\n") == 1


def test_version(command: Command) -> None:
    outcome = command("--version")
    assert (outcome.code, outcome.out) == (0, f"latentedit {latentedit.__version__}\n")


@pytest.mark.parametrize("arguments", [["edit"], ["edti"], ["edit", "me.png"], ["edit", "me.png", "--sterngth", "1"]])
def test_wrong_usage_is_2(command: Command, arguments: list[str]) -> None:
    outcome = command(*arguments)
    assert outcome.code == 2
    assert outcome.err
    assert outcome.out == ""


def test_no_arguments_show_the_help(command: Command) -> None:
    outcome = command()
    assert "Usage" in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("expected this;\n  got that"), 2, "latentedit: expected this; got that\n"),
        (KeyboardInterrupt(), 130, "latentedit: interrupted\n"),
    ],
)
def test_errors_become_exit_codes(
    command: Command,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    line: str,
) -> None:
    def load(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("latentedit.api.verbs.load", load)
    outcome = command("caption", picture)
    assert (outcome.code, outcome.out, outcome.err) == (code, "", line)


def test_other_errors_keep_their_traceback(command: Command, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("latentedit.api.verbs.load", load)
    with pytest.raises(ZeroDivisionError):
        command("caption", picture)
