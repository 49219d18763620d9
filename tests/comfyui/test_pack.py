"""How the pack gets into ComfyUI: a clone of the repository, its folder alone, and what the clone does elsewhere."""

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.comfyui import PACK

ROOT = PACK.parent
# ComfyUI loads a folder of custom_nodes like this, by a name with separators. This environment's packages are hidden.
LOAD = """
import importlib.util, pathlib, sys
sys.path = [place for place in sys.path if not (pathlib.Path(place) / "latentedit").is_dir()]
folder, = sys.argv[1:]
spec = importlib.util.spec_from_file_location(folder.replace(".", "_x_"), folder + "/__init__.py")
sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[spec.name])
import latentedit.keeping
print(sys.modules[spec.name].comfy_entrypoint.__module__.removeprefix(spec.name))
print(sys.modules[spec.name].WEB_DIRECTORY)
print(latentedit.__file__)
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a clone that the pack needs, in a folder custom_nodes."""
    folder = tmp_path_factory.mktemp("custom_nodes") / "latentedit"
    unwritten = shutil.ignore_patterns("__pycache__", "carried", "*.jpg")
    shutil.copytree(PACK, folder / "comfyui", ignore=unwritten)
    shutil.copy(PACK / "example_workflows/check_panel.jpg", folder / "comfyui/example_workflows")
    shutil.copytree(ROOT / "src", folder / "src", ignore=unwritten)
    shutil.copy(ROOT / "__init__.py", folder)
    shutil.copy(ROOT / "LICENSE", folder)
    return folder


def run(script: str, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_clone_is_a_pack_with_its_own_keep(clone: Path) -> None:
    for _ in range(2):  # a server starts more than once
        made = run(LOAD, str(clone), folder=clone.parents[1])
        module, web, keep = made.stdout.split()
        assert module == ".comfyui"
        assert (clone / web / "docs/LatentEdit_Keep.md").is_file()
        assert (clone / web / "docs/check_panel.jpg").is_file()
        assert Path(keep) == clone / "src/latentedit/__init__.py"
        (facts,) = importlib.metadata.distributions(path=[str(clone / "comfyui/carried")])
        assert (facts.name, facts.version) == ("latentedit", importlib.metadata.version("latentedit"))


def test_the_folder_of_the_pack_alone_names_the_command(clone: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(clone / "comfyui", tmp_path / "comfyui", ignore=shutil.ignore_patterns("carried"))
    *_, error = run(LOAD, str(alone), folder=tmp_path).stderr.strip().splitlines()
    assert error.startswith("ImportError")
    assert "comfyui/build.py" in error


def test_in_the_folder_above_a_clone_the_installed_library_is_imported(clone: Path) -> None:
    script = "import latentedit.core.errors as errors; print(errors.__file__)"
    made = run(script, folder=clone.parent)
    assert Path(made.stdout.strip()) == ROOT / "src/latentedit/core/errors.py"
    without = (
        "import pathlib, sys; sys.path = [one for one in sys.path if not pathlib.Path(one, 'latentedit/core').is_dir()]"
    )
    assert "ModuleNotFoundError: latentedit is not installed" in run(f"{without}; {script}", folder=clone.parent).stderr


def test_a_clone_needs_what_the_pack_needs() -> None:
    here, there = ((folder / "requirements.txt").read_text(encoding="utf-8") for folder in (ROOT, PACK))
    assert here.split("\n", 1)[1] == there


def test_pytest_names_tests_after_their_folder_whatever_that_of_the_clone_is() -> None:
    assert __name__ == "tests.comfyui.test_pack"
    assert not [name for name in sys.modules if name.startswith(f"{ROOT.name}.tests")]
