"""Public names, imported when they are first used, so that a package imports fast."""

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latentedit.core.errors import instead_of
from latentedit.core.other_words import EXPORTED


def exports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package, from what it imports under ``if TYPE_CHECKING:``.

    So type checkers and Python read one list of names. A name that another room exports is answered with its address.
    """
    tree = ast.parse(Path(str(sys.modules[package].__file__)).read_bytes())
    imports = [line for block in tree.body if isinstance(block, ast.If) for line in block.body]
    homes = {one.name: str(line.module) for line in imports if isinstance(line, ast.ImportFrom) for one in line.names}
    EXPORTED[package] = homes

    def find(name: str) -> Any:
        if homes.get(name) == package:
            return importlib.import_module(f"{package}.{name}")
        if name in homes:
            return getattr(importlib.import_module(homes[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}{instead_of(name, homes)}")

    return find, lambda: sorted({*vars(sys.modules[package]), *homes}), sorted(homes)
