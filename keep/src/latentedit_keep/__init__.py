"""An editor's change on the original's own pixels: alignment, colors, detection, compositing. Needs no torch."""

import importlib
from typing import TYPE_CHECKING, Any

from latentedit_keep.floor.errors import instead_of

if TYPE_CHECKING:
    from latentedit_keep.api import KeepResult, keep, wrap_pipeline
    from latentedit_keep.checking import CheckResult, check
    from latentedit_keep.undoing import undo

__all__ = ["CheckResult", "KeepResult", "check", "keep", "undo", "wrap_pipeline"]
_HOMES = {"CheckResult": "checking", "check": "checking", "undo": "undoing"}


def __getattr__(name: str) -> Any:
    """Import on first use: other programs import only errors and files."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{instead_of(name, __all__, {})}")
    return getattr(importlib.import_module(f"latentedit_keep.{_HOMES.get(name, 'api')}"), name)
