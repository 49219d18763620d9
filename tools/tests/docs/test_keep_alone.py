"""Pages for users of keep alone run where nothing is installed but `latentedit[mcp]` and what it requires."""

import importlib.metadata
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
PAGES = ("keep", "check", "agents", "hosted-editor")
RUN = """
import sys
from pathlib import Path
sys.path.append(sys.argv[1])  # for `tools.running`, which imports the standard library alone
from tools import running
page, scope = Path(sys.argv[2]), {"__name__": "__main__"}
with running.scratch(page):
    for part in running.parsed(page.read_text(encoding="utf-8")):
        if isinstance(part, running.Block) and part.is_file:
            Path(part.title).write_text(part.text + "\\n", encoding="utf-8")
        elif isinstance(part, running.Block) and part.language == "console":
            running.console(part, page)
        elif isinstance(part, running.Block) and part.language == "python":
            running.python(part, page, scope)
"""
# Workers import the program.
GUARD = 'if __name__ == "__main__":\n    runpy.run_module("latentedit", run_name="__main__")\n'
pytestmark = [pytest.mark.nightly, pytest.mark.skipif(sys.platform == "win32", reason="pages need a shell")]


def required(line: str, found: dict[str, None]) -> dict[str, None]:
    """The installed distributions that one requires, with all that they require, added to those found."""
    need = Requirement(line)
    for extra in {*need.extras, ""}:
        if f"{need.name}[{extra}]" not in found:
            found[f"{need.name}[{extra}]"] = None
            for one in importlib.metadata.requires(need.name) or []:
                marker = Requirement(one).marker
                if marker is None or marker.evaluate({"extra": extra}):
                    required(one.partition(";")[0], found)
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with links to the files of these distributions; its ``bin`` has the program."""
    home = tmp_path_factory.mktemp("alone")
    venv.create(home, symlinks=True)
    (packages,) = home.glob("lib/python*/site-packages")
    others = {one.partition("[")[0] for one in required("latentedit[mcp]", {})} - {"latentedit"}
    for name in others:
        for file in importlib.metadata.files(name) or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (packages / top).exists():
                (packages / top).symlink_to(str(importlib.metadata.distribution(name).locate_file(top)))
    about = packages / "latentedit-0.1.0.dist-info"
    about.mkdir()
    for name in ("METADATA", "entry_points.txt"):
        text = importlib.metadata.distribution("latentedit").read_text(name)
        (about / name).write_text(str(text))
    (packages / "latentedit.pth").write_text(f"{ROOT / 'src'}\n")
    program = home / "bin" / "latentedit"
    program.write_text(f"#!{home / 'bin/python'}\nimport runpy\n\n{GUARD}")
    program.chmod(0o755)
    return home


@pytest.mark.parametrize("page", PAGES)
def test_the_page_runs(page: str, alone: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = os.pathsep.join([str(alone / "bin"), environment["PATH"]])
    line = [str(alone / "bin" / "python"), "-c", RUN, str(ROOT), str(ROOT / f"docs/tutorials/{page}.md")]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_models_are_not_there(alone: Path) -> None:
    names = ("torch", "diffusers", "transformers", "scipy", "jaxtyping", "safetensors", "matplotlib")
    code = f"import importlib.util as u; print([name for name in {names} if u.find_spec(name)])"
    done = subprocess.run([str(alone / "bin" / "python"), "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
