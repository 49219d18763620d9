"""Public names: imported when they are first used, so that a package imports fast; and old names that still work."""

import ast
import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

_NONE: Mapping[str, str] = MappingProxyType({})


def exports(
    package: str, old: Mapping[str, str] = _NONE
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package, from what it imports under ``if TYPE_CHECKING:``.

    So type checkers and Python read one list of names. What is imported from a package there is a module of it. ``old``
    maps former names, which are not listed and give a FutureWarning, to the full names of their objects.
    """
    homes = _homes(Path(str(sys.modules[package].__file__)))

    def find(name: str) -> Any:
        if name in old:
            warnings.warn(f"{package}.{name} was moved; use {old[name]}", FutureWarning, stacklevel=2)
            home, _, attribute = old[name].rpartition(".")
            return getattr(importlib.import_module(home), attribute)
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(sorted(homes))}")
        home = importlib.import_module(homes[name])
        value = importlib.import_module(f"{homes[name]}.{name}") if hasattr(home, "__path__") else getattr(home, name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return find, names, sorted(homes)


def _homes(source: Path) -> dict[str, str]:
    """The module in which each name lives that a file imports under ``if TYPE_CHECKING:``."""
    blocks = (node.body for node in ast.parse(source.read_bytes()).body if isinstance(node, ast.If))
    imports = (line for block in blocks for line in block if isinstance(line, ast.ImportFrom))
    return {alias.name: str(line.module) for line in imports for alias in line.names}


T = TypeVar("T", bound=Callable[..., Any])

PARAMETERS = {
    "picture": "image",
    "to": "prompt",
    "caption": "source_prompt",
    "beside": "references",
    "anyway": "force",
    "local": "auto_mask",
    "mixing": "combine",
}
"""Old names and new ones."""


def accepts_old_names(function: T) -> T:
    """Let a function, or the constructor of a class, take the old names of `PARAMETERS` with a FutureWarning."""
    if isinstance(function, type):
        cls: Any = function
        cls.__init__ = accepts_old_names(cls.__init__)
        return cls

    @functools.wraps(function)
    def with_new_names(*args: Any, **given: Any) -> Any:
        for old in [name for name in PARAMETERS if name in given]:
            new = PARAMETERS[old]
            if new in given:
                from latentedit.core.errors import ConfigError  # noqa: PLC0415  # not needed to import a package

                raise ConfigError(f"`{new}` and its old name `{old}` are both given. Leave out `{old}`")
            warnings.warn(
                f"`{old}` was renamed to `{new}`; the old name works in this version only", FutureWarning, stacklevel=2
            )
            given[new] = given.pop(old)
        return function(*args, **given)

    result: Any = with_new_names
    return result
