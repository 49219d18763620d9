"""Completion by the Tab key, as the shells ask for it, and what it costs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "diffusers", "transformers", "numpy", "PIL")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program under its own name, as the shell runs it."""
    place = tmp_path_factory.mktemp("bin") / "latentedit"
    place.write_text(f"#!{sys.executable}\nfrom latentedit.cli.main import main\n\nmain()\n")
    place.chmod(0o755)
    return place


def printed(program: Path, *words: str, home: Path, **told: str) -> str:
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    shells = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(home)}
    env = os.environ | shells | told | {"PATH": path}
    return subprocess.run(words, capture_output=True, text=True, check=True, env=env).stdout


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["edit", "me.png", "--method", "flow"], ["flowalign", "flowedit", "flowslider"]),
        (["edit", "some/picture"], [""]),
    ],
)
def test_bash_with_the_script_that_it_is_given(
    program: Path, tmp_path: Path, typed: list[str], offered: list[str]
) -> None:
    """Nothing where a file is expected, so that the shell completes files itself."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    script = printed(program, str(program), "--show-completion", "bash", home=tmp_path)
    words = " ".join(f"'{word}'" for word in typed)
    asked = f"COMP_WORDS=(latentedit {words}); COMP_CWORD={len(typed)}; _latentedit_completion latentedit"
    lines = f"{script}\n{asked}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    assert printed(program, bash, "--norc", "-c", lines, home=tmp_path).split("\n")[:-1] == offered


@pytest.mark.nightly
def test_nothing_heavy_is_imported() -> None:
    typed = ["edit me.png --method ", "bench run --method ", "models show ", "cite flow"]
    code = (
        "import os, sys\nfrom latentedit.cli.main import run\n"
        f"for typed in {typed}:\n"
        "    os.environ['_TYPER_COMPLETE_ARGS'] = f'latentedit {typed}'\n"
        "    run([])\n"
        f"    print('HEAVY', sorted(set(sys.modules) & set({HEAVY})))"
    )
    env = os.environ | {"_LATENTEDIT_COMPLETE": "complete_zsh"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    told = [line for line in ended.stdout.splitlines() if line.startswith(("_arguments", "HEAVY"))]
    assert [line.split("(")[0].split()[0] for line in told] == ["_arguments", "HEAVY"] * len(typed), ended.stderr
    assert set(told[1::2]) == {"HEAVY []"}
