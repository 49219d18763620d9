"""Public names, imported when they are first used, so that a package imports fast."""

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latentedit.core.errors import did_you_mean


def exports(package: str, **instead: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package, from what it imports under ``if TYPE_CHECKING:``.

    So type checkers and Python read one list of names. What is imported from a package there is a module of it.
    ``instead`` has names that people expect, and what to use.
    """
    homes = _homes(Path(str(sys.modules[package].__file__)))

    def find(name: str) -> Any:
        if name not in homes:
            hint = f". Use {instead[name]}" if name in instead else f": {did_you_mean(name, homes)}".rstrip(": ")
            raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")
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
