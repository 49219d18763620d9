"""Light imports, public names, and declared dependencies of every distribution."""

import ast
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import trove_classifiers

import latentedit

ROOT = Path(__file__).parent.parent
DISTRIBUTIONS = {"latentedit": ROOT} | {
    f"latentedit-{path.parent.name}": path.parent for path in ROOT.glob("[mr]*/*/src")
}
TOOLS = ("dev", "docs", "heic", "layers", "photographs")  # extras that are loaded by name, or not imported

UNDER_ANOTHER_NAME = {
    "markdown-it-py": "markdown_it",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
}


ROOMS = [f"latentedit.{name}" for name in latentedit.__all__ if (ROOT / "src/latentedit" / name).is_dir()]
PUBLIC = ["latentedit", *ROOMS]


def test_import_loads_neither_torch_nor_numpy() -> None:
    code = (
        f"import sys, {', '.join(PUBLIC)}\n"
        f"latentedit.__version__, [dir(one) for one in ({', '.join(PUBLIC)})]\n"
        "print(sorted({'torch', 'diffusers', 'transformers', 'numpy', 'pytest', 'typer'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("room", PUBLIC)
def test_public_names_exist(room: str) -> None:
    """No name is also another module, so that the order of imports does not matter."""
    module = importlib.import_module(room)
    for name in module.__all__:
        found = getattr(module, name)
        assert name in dir(module)
        submodule = Path(module.__file__ or "").parent / f"{name}.py"
        assert "__path__" not in vars(module) or not submodule.exists() or found is sys.modules[f"{room}.{name}"]


def test_a_public_name_has_one_address() -> None:
    names = [name for room in ["latentedit", *ROOMS] for name in importlib.import_module(room).__all__]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("file", sorted([*(ROOT / "examples").rglob("*.py"), *(ROOT / "docs").rglob("*.md")]), ids=str)
def test_examples_and_pages_import_public_modules_only(file: Path) -> None:
    """Import-linter does not see these files; `pyproject.toml` has the rule for packages."""
    named = re.findall(
        r"^ *(?:from|import) (latentedit(?:_keep)?(?:\.[\w.]+)?) ", file.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [one for one in named if one not in PUBLIC] == []


def project(name: str) -> dict[str, Any]:
    return tomllib.loads((DISTRIBUTIONS[name] / "pyproject.toml").read_text())["project"]


def modules(requirements: list[str]) -> set[str]:
    """Names under which requirements are imported."""
    names = [re.split(r"[^\w.-]", one)[0] for one in requirements]
    return {UNDER_ANOTHER_NAME.get(name, name.replace("-", "_")) for name in names}


def imported(name: str) -> set[str]:
    """Top-level modules that a distribution imports or requires, except its own and the standard library."""
    found: set[str] = set()
    for file in (DISTRIBUTIONS[name] / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Import(names=names):
                    found |= {one.name.split(".")[0] for one in names}
                case ast.ImportFrom(module=str(module)):
                    found.add(module.split(".")[0])
                case ast.Call(func=ast.Name(id="require"), args=[ast.Constant(value=str(module)), *_]):
                    found.add(module)
                case _:
                    pass
    return found - sys.stdlib_module_names - {name.replace("-", "_")}


@pytest.mark.slow_except("latentedit-models")
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_imports_and_declared_dependencies_agree(name: str) -> None:
    facts, library = project(name), project("latentedit")
    declared, used = modules(facts["dependencies"]), imported(name)
    optional = {extra: needs for extra, needs in facts.get("optional-dependencies", {}).items() if extra not in TOOLS}
    extras = {module for needs in optional.values() for module in modules(needs)}
    assert (declared | extras) - used - {name.replace("-", "_")} == set(), "an extra may take another one"
    above = bool(declared & {"latentedit", "latentedit_portraits"})
    of_library = modules([*library["dependencies"], *library["optional-dependencies"]["models"]])
    assert used - declared - extras - (of_library if above else set()) == set()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_metadata_of_distributions_agree(name: str) -> None:
    facts, folder = project(name), DISTRIBUTIONS[name]
    assert (facts["name"], facts["license"]) == (name, "Apache-2.0")
    assert latentedit.__version__ == importlib.metadata.version(name) == facts.get("version", latentedit.__version__)
    assert [(folder / file).read_bytes() for file in facts["license-files"]] == [(ROOT / "LICENSE").read_bytes()]
    assert set(facts["classifiers"]) <= trove_classifiers.classifiers
    typed = "Typing :: Typed" in facts["classifiers"]
    assert typed == (folder / "src" / name.replace("-", "_") / "py.typed").is_file()
    assert facts["requires-python"] == project("latentedit")["requires-python"]


def test_the_citation_names_the_version() -> None:
    assert f"\nversion: {latentedit.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
