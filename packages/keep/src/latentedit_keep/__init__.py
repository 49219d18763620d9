"""Any editor's change on the original's own pixels: alignment, tones, what changed, and how it is put back.

Needs neither torch nor a model. Pictures are ``[height, width, 3]`` float32 in [0, 255]; matrices are 3 x 3 and take
centres of the original's pixels to those of the edited picture.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentedit_keep.api import KeepResult as KeepResult
    from latentedit_keep.api import keep as keep
    from latentedit_keep.api import kept as kept

__all__ = ["KeepResult", "keep", "kept"]


def __getattr__(name: str) -> Any:
    """Loaded when first used: errors and files are imported by programs that keep nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("latentedit_keep.api"), name)
