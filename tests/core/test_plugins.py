"""Plugin registries, and errors that list similar names and packages to install."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

from latentedit.cli.commands import COMMANDS
from latentedit.core import errors, plugins
from latentedit.core.errors import FOLDERS, RegistryError
from latentedit.core.plugins import _PACKAGES, EDITORS, Registry


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.OutputError, OSError),
        (errors.MissingDependencyError, ImportError),
        (errors.UnsupportedDerivativeError, NotImplementedError),
        (errors.ConvergenceError, RuntimeError),
        (errors.CaptionError, RuntimeError),
        (errors.RegistryError, LookupError),
    ],
)
def test_errors_derive_from_ours_and_a_builtin(kind: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(kind, errors.LatentEditError)
    assert issubclass(kind, builtin)


def test_messages_are_one_line() -> None:
    assert str(errors.ConfigError("no\nsuch  thing\r\nas x")) == "no such  thing as x"
    assert str(errors.OutputError(13, "denied")) == "[Errno 13] denied"


def test_nearest_names_and_missing_packages() -> None:
    assert errors.nearest("portrait", ["portraits", "sd3"]) == "did you mean 'portraits'? known: portraits, sd3"
    assert errors.nearest("zzz", ["portraits"]) == "known: portraits"
    assert errors.did_you_mean("train", ["transport"]) == errors.did_you_mean("web", ["sweep"]) == ""
    assert plugins.require("json", "any").__name__ == "json"
    with pytest.raises(errors.MissingDependencyError):
        plugins.require("no_such_package", "web")


def test_what_a_hint_installs_exists() -> None:
    """Every folder has the package of the name, and every extra that the code names is one of it."""
    root = Path(__file__).parents[2]
    stated = {name: tomllib.loads((root / folder / "pyproject.toml").read_text()) for name, folder in FOLDERS.items()}
    assert {name: one["project"]["name"] for name, one in stated.items()} == {name: name for name in FOLDERS}
    code = "".join(file.read_text("utf-8") for name in FOLDERS for file in (root / FOLDERS[name]).glob("src/**/*.py"))
    requested = re.findall(r"to_install\(f?['\"]([\w-]+)\[(\w+)\]", code)
    requested += [("latentedit", extra) for extra in re.findall(r"require\(\"[\w.]+\", \"(\w+)\"\)", code)]
    extras = {name: one["project"].get("optional-dependencies", {}) for name, one in stated.items()}
    registered = {name for group in _PACKAGES.values() for names in group.values() for name in names.split()}
    assert registered <= FOLDERS.keys()
    assert len(requested) > 5
    assert [(name, extra) for name, extra in requested if extra not in extras[name]] == []
    assert "pip install '.[mcp]'" in errors.to_install("latentedit[mcp]")
    assert "#subdirectory=research/bench" in errors.to_install("latentedit-bench")
    assert errors.to_install("gguf", "accelerate") == "pip install gguf accelerate"


def make_registry(monkeypatch: pytest.MonkeyPatch, *targets: tuple[str, str]) -> Registry:
    installed = [importlib.metadata.EntryPoint(name=name, value=value, group="toys") for name, value in targets]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda: importlib.metadata.EntryPoints(installed))
    return Registry(group="toys", kind="toy")


def test_names_are_sorted_and_loadable(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = make_registry(monkeypatch, ("root", "math:sqrt"), ("pi", "math:pi"))
    assert registry.names() == ["pi", "root"]
    assert registry.load("root")(9) == 3


def test_unknown_names_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegistryError, match="flowedit"):
        EDITORS.load("flowedti")
    make_registry(monkeypatch)
    with pytest.raises(RegistryError):
        COMMANDS.load("bench")
    with pytest.raises(RegistryError):
        EDITORS.load("eim")


@pytest.mark.parametrize("value", ["math:nothing", "no_such_package:x"])
def test_errors_name_a_broken_entry_point(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    registry = make_registry(monkeypatch, ("broken", value))
    with pytest.raises(RegistryError, match=f"broken.*{value}"):
        registry.load("broken")
