"""Names of plugins, and errors that say what is known, what is near and what to install."""

import importlib.metadata

import pytest

from latentedit.core import errors, plugins
from latentedit.core.errors import RegistryError
from latentedit.core.plugins import COMMANDS, EDITORS, Registry


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
def test_every_error_is_ours_and_what_a_caller_would_expect(kind: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(kind, errors.LatentEditError)
    assert issubclass(kind, builtin)


def test_a_message_is_one_line_for_any_it_quotes() -> None:
    assert str(errors.ConfigError("no\nsuch  thing\r\nas x")) == "no such  thing as x"
    assert str(errors.OutputError(13, "denied")) == "[Errno 13] denied"


def test_names_and_packages_that_are_missing() -> None:
    assert errors.nearest("portrait", ["portraits", "sd3"]) == "did you mean 'portraits'? known: portraits, sd3"
    assert errors.nearest("zzz", ["portraits"]) == "known: portraits"
    assert plugins.require("json", "any").__name__ == "json"
    with pytest.raises(errors.MissingDependencyError):
        plugins.require("no_such_package", "web")


def install(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> Registry:
    found = [importlib.metadata.EntryPoint(name=name, value=value, group="toys") for name, value in points]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: importlib.metadata.EntryPoints(found))
    return Registry(group="toys", kind="toy")


def test_names_are_sorted_and_load_what_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    toys = install(monkeypatch, ("root", "math:sqrt"), ("pi", "math:pi"))
    assert toys.names() == ["pi", "root"]
    assert toys.load("root")(9) == 3


def test_names_that_are_not_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegistryError, match="flowedit"):
        EDITORS.load("flowedti")
    install(monkeypatch)
    with pytest.raises(RegistryError):
        COMMANDS.load("bench")
    with pytest.raises(RegistryError):
        EDITORS.load("eim")


@pytest.mark.parametrize("value", ["math:nothing", "no_such_package:x"])
def test_a_broken_entry_point_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    toys = install(monkeypatch, ("broken", value))
    with pytest.raises(RegistryError, match=f"broken.*{value}"):
        toys.load("broken")
