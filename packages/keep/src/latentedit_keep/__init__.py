"""An editor's change on the original's own pixels: alignment, colours, detection, compositing. Needs no torch."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentedit_keep.api import KeepResult as KeepResult
    from latentedit_keep.api import keep as keep
    from latentedit_keep.api import kept as kept

__all__ = ["KeepResult", "keep", "kept"]


def __getattr__(name: str) -> Any:
    """Import on first use: other programs import only errors and files."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("latentedit_keep.api"), name)
