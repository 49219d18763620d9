"""Public names, imported when they are first used, so that a package imports fast."""

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latentedit.core.errors import MissingDependencyError, suggestion_for
from latentedit.core.other_words import EXPORTED


def exports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package, from what it imports under ``if TYPE_CHECKING:``.

    So type checkers and Python read one list of names. The error for a name that another package
    exports gives its address.
    """
    source = Path(str(sys.modules[package].__file__)).read_bytes()
    module_of = dict[str, str]()
    for block in ast.parse(source).body:
        # The block under `if TYPE_CHECKING:` is the only conditional one of a package.
        if not isinstance(block, ast.If):
            continue
        for statement in block.body:
            if isinstance(statement, ast.ImportFrom):
                module_of |= dict.fromkeys((alias.name for alias in statement.names), str(statement.module))
    EXPORTED[package] = module_of

    def find(name: str) -> Any:
        if name not in module_of:
            hint = suggestion_for(name, module_of)
            raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")
        if module_of[name] == package:
            # A package exports its subpackages as modules.
            return importlib.import_module(f"{package}.{name}")
        try:
            module = importlib.import_module(module_of[name])
        except ModuleNotFoundError as error:
            raise _explain_missing_package(f"{package}.{name}", error) from error
        return getattr(module, name)

    return find, lambda: sorted({*vars(sys.modules[package]), *module_of}), sorted(module_of)


def _explain_missing_package(name: str, error: ModuleNotFoundError) -> ImportError:
    """Return the error for a name whose module needs a package that is not installed."""
    # Only an error needs this import, which takes a third of the time of `import latentedit`.
    from latentedit.core.plugins import explain_missing_models, has_models  # noqa: PLC0415

    if has_models():
        return error
    return MissingDependencyError(explain_missing_models(name))
