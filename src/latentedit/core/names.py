"""Public names, imported when they are first used, so that a package imports fast."""

import ast
import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from latentedit.core.errors import ConfigError, did_you_mean

F = TypeVar("F", bound=Callable[..., Any])
_OURS = {"layer": "site", "timestep": "level", "torch_dtype": "dtype"}  # arguments by their names elsewhere


def exports(package: str, **instead: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package, from what it imports under ``if TYPE_CHECKING:``.

    So type checkers and Python read one list of names. ``instead`` has names that people expect, and what to use.
    """
    tree = ast.parse(Path(str(sys.modules[package].__file__)).read_bytes())
    imports = [line for block in tree.body if isinstance(block, ast.If) for line in block.body]
    homes = {one.name: str(line.module) for line in imports if isinstance(line, ast.ImportFrom) for one in line.names}

    def find(name: str) -> Any:
        if homes.get(name) == package:
            return importlib.import_module(f"{package}.{name}")
        if name in homes:
            return getattr(importlib.import_module(homes[name]), name)
        hint = f". Use {instead[name]}" if name in instead else f": {did_you_mean(name, homes)}".rstrip(": ")
        raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")

    return find, lambda: sorted({*vars(sys.modules[package]), *homes}), sorted(homes)


def explaining(function: F) -> F:
    """Makes wrong arguments of a function a `ConfigError` that says what to type."""

    @functools.wraps(function)
    def checked(*given: Any, **named: Any) -> Any:
        try:
            inspect.signature(function).bind(*given, **named)
        except TypeError as error:
            meant = "".join(f"Give `{_OURS[name]}`, and see" for name in named if name in _OURS)
            raise ConfigError(f"{error}. {meant or 'See'} help(latentedit.{function.__name__})") from None
        return function(*given, **named)

    return cast("F", checked)
